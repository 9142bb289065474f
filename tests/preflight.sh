#!/bin/sh
# Says at once, before anything is changed, why this machine cannot run the lab.
set -u

refuse() {
    echo "preflight: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || refuse "network namespaces and package roots need root: run make as root"
command -v apt-get >/dev/null || refuse "apt-get is missing: the set-up is written for Debian 12"
command -v unshare >/dev/null || refuse "unshare is missing: install util-linux"
unshare --net --mount --pid --fork true 2>/dev/null || refuse "this machine does not allow network, mount and PID namespaces (a container without CAP_SYS_ADMIN?)"
grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || refuse "the kernel has no overlayfs"

cache=${AVALANCHE_CACHE:-/var/cache/avalanche-lab}
parent=$cache
while [ ! -d "$parent" ]; do parent=$(dirname "$parent"); done
free_mb=$(df -Pm "$parent" | awk 'NR == 2 { print $4 }')
if [ -d "$cache" ]; then need_mb=3000; else need_mb=8000; fi
[ "$free_mb" -ge "$need_mb" ] || refuse "$parent has $free_mb MB free, $need_mb MB are needed: make room or set AVALANCHE_CACHE"
