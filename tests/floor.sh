#!/bin/sh
# Runs the agent's tests under a real Python of another Debian release: floor.sh SUITE VERSION
#
# The agent runs on the Python of the installer image: 3.9 in EL 9, 3.12 in EL 10. Linters alone miss what a
# real interpreter finds, so its tests run under the oldest and the newest Python it promises.
set -eu
suite=$1 version=$2
cd "$(dirname "$0")/.."
cache=${AVALANCHE_CACHE:-/var/cache/avalanche-lab}
venv=$PWD/.venv

# What the agent's tests import, at the versions Python 3.9 still gets. pip judges markers by the Python it runs on, so what
# older ones need besides (the backports) is named.
wheels="pytest<9 pytest-asyncio<1.3 hypothesis<6.142 h11 jinja2 markupsafe requests \
    exceptiongroup tomli typing-extensions backports-asyncio-runner"   # requests: pykickstart imports it
programs=python3,bash,dash,coreutils,findutils,grep,sed,util-linux,mount,openssl
key=$(printf '%s ' "$suite" "$version" "$wheels" "$programs" | sha256sum | cut -c1-16)
root=$cache/python-$version-$key
if [ ! -d "$root" ]; then
    echo "Making a Python $version root ($suite)"
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/.python-$version.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    mmdebstrap --quiet --variant=extract --include="$programs" "$suite" "$scratch/root" 2>"$scratch/log" ||
        { cat "$scratch/log" >&2; exit 1; }
    # shellcheck disable=SC2086  # a list of names
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --python-version "$version" \
        --implementation cp --target "$scratch/root/opt/site" $wheels
    # Published as source only, and pure Python.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --upgrade --target "$scratch/root/opt/site" pykickstart
    mkdir -p "$scratch/root/src" "$scratch/root/proc" "$scratch/root/dev" "$scratch/root/tmp" "$scratch/root/run"
    chmod 755 "$scratch" "$scratch/root"
    mv -T "$scratch/root" "$root" 2>/dev/null || [ -d "$root" ]
    rm -rf "$scratch"
    trap - EXIT
fi

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
        sh -c "cd /src && exec python3 -m pytest -q -p no:cacheprovider $*"
' floor "$root" $tests
