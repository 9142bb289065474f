# Tells where a script failed, in its author's words: $avalanche_shift turns its lines into lines of the node file.
set -E
avalanche_shift=0 avalanche_said=
avalanche_tell() {
  if [ -n "$avalanche_lax" ]; then
    echo "$avalanche_file:$2: a command failed with status $1" | tee -a "$avalanche_lapses" >&2
    return 0
  fi
  [ -z "$avalanche_said" ] || return 0
  avalanche_said="$avalanche_file:$2: the script failed with status $1"
  echo "$avalanche_said" >&2
  [ -s "$avalanche_failed" ] || echo "$avalanche_said" > "$avalanche_failed" || :
}
avalanche_end() {
  [ "$1" -eq 0 ] || avalanche_tell "$1" "$avalanche_line"
  [ -z "$avalanche_lax" ] || exit 0
}
# Before the first script writes a file, what the packages brought is kept, once.
avalanche_keep() {
  local kept="$avalanche_originals$1"
  if [ -z "$avalanche_originals" ] || [ -e "$kept" ] || [ -e "$kept.new" ]; then return 0; fi
  (umask 077; mkdir -p "${kept%/*}")
  if [ -f "$1" ]; then cp -p "$1" "$kept"; else : > "$kept.new"; fi
}
# The installer's image has no base64, the smallest system no python3.
avalanche_decode() {
  if command -v base64 > /dev/null; then base64 -d; else
    /usr/bin/python3 -c 'import base64, sys; sys.stdout.buffer.write(base64.b64decode(sys.stdin.read()))'
  fi
}
[ -n "$avalanche_lax" ] || set -euo pipefail
trap 'avalanche_tell $? $((LINENO + avalanche_shift))' ERR
trap 'avalanche_end $?' EXIT
