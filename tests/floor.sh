#!/bin/sh
# Runs the agent's tests under a real Python of another Debian release: floor.sh SUITE VERSION [root]
#
# The agent runs on the Python of the installer image: 3.9 in EL 9, 3.12 in EL 10. Linters alone miss what a
# real interpreter finds, so its tests run under the oldest and the newest Python it promises. With "root", only what
# they run in is made.
set -eu
suite=$1 version=$2
cd "$(dirname "$0")/.."
cache=${AVALANCHE_CACHE:-/var/cache/avalanche-lab}
venv=$PWD/.venv
libraries=lib/x86_64-linux-gnu

wheels="pytest pytest-asyncio pytest-xdist hypothesis h11 requests libtorrent>=2.1"   # requests: pykickstart imports it
programs=python3,libstdc++6,bash,dash,coreutils,findutils,grep,sed,util-linux,mount,openssl
[ "$version" != 3.9 ] || programs=$programs,python3-distutils   # pip needs it there
key=$(printf '%s ' "$suite" "$wheels" "$programs" | sha256sum | cut -c1-16)
root=$cache/python-$version-$key

make_root() {
    echo "Making a Python $version root ($suite)"
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/.python-$version.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    new=$scratch/root
    mmdebstrap --quiet --variant=extract --include="$programs" "$suite" "$new" 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
    # pip chooses by the Python it runs on, so it runs on this one; started from outside, where the machine's pip settings are.
    mkdir "$scratch/pip"
    ln -s "$venv"/lib/python3*/site-packages/pip "$scratch/pip/pip"
    # shellcheck disable=SC2086  # a list of names
    PYTHONHOME=$new/usr PYTHONPATH=$scratch/pip PYTHONDONTWRITEBYTECODE=1 \
        "$new/$libraries/ld-linux-x86-64.so.2" --library-path "$new/$libraries:$new/usr/$libraries" "$new/usr/bin/python$version" -m pip \
        install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --target "$new/opt/site" $wheels
    # Published as source only, and pure Python: built by our own.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --upgrade \
        --target "$new/opt/site" pykickstart
    mkdir -p "$new/src" "$new/proc" "$new/dev" "$new/tmp" "$new/run"
    chmod 755 "$new"
    mv -T "$new" "$root" 2>/dev/null || [ -d "$root" ]
    rm -rf "$scratch"
    trap - EXIT
}

[ -d "$root" ] || make_root
[ "${3-}" != root ] || exit 0
tests=$("$venv/bin/python" tests/floor.py --tests)
echo "Python $version: $tests"
# A private mount namespace: nothing of this is left behind, whatever happens.
# shellcheck disable=SC2016,SC2086
exec unshare --mount --pid --fork --net --kill-child sh -eu -c '
    root=$1; shift
    ip link set lo up
    mount --bind . "$root/src"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
    mount -t proc proc "$root/proc"
    cd /
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/tmp \
        PYTHONPATH=/src:/opt/site PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
        sh -c "cd /src && exec python3 -m pytest -q -n 3 --dist worksteal -p no:cacheprovider --hypothesis-profile=floor $*"
' floor "$root" $tests
