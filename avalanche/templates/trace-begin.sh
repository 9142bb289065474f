# Sourced by every script below, with its node file and line.
avalanche_file=$1 avalanche_line=$2 avalanche_lax=${3-} avalanche_logs=${BASH_SOURCE[0]%/*}
avalanche_failed=$avalanche_logs/failed avalanche_lapses=$avalanche_logs/lapses avalanche_originals=$avalanche_logs/originals
