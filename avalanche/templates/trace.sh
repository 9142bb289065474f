# Tells where a script failed, in its author's words: $avalanche_shift turns its lines into lines of the node file.
set -Eeuo pipefail
avalanche_shift=0 avalanche_said=
avalanche_tell() {
  [ -z "$avalanche_said" ] || return 0
  avalanche_said="$avalanche_file:$2: the script failed with status $1"
  echo "$avalanche_said" >&2
  [ -s "$avalanche_failed" ] || echo "$avalanche_said" > "$avalanche_failed" || :
}
trap 'avalanche_tell $? $((LINENO + avalanche_shift))' ERR
trap 'avalanche_status=$?; [ $avalanche_status -eq 0 ] || avalanche_tell $avalanche_status $avalanche_line' EXIT
