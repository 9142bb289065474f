#!/bin/sh
# Installs system packages. No service of theirs starts, now or when the machine does: a DHCP server that nobody asked
# for is a danger to the network it is in.
set -eu

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# Another program may be installing, too.
wait=DPkg::Lock::Timeout=600
apt-get -qq -o "$wait" update
DEBIAN_FRONTEND=noninteractive apt-get -qq -o "$wait" install -y --no-install-recommends "$@" >/dev/null
for package in "$@"; do
    case $package in
    isc-dhcp-server | kea-dhcp4-server) update-rc.d "$package" disable >/dev/null 2>&1 || true ;;
    esac
done
