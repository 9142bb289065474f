"""What DHCP servers write about clients, line by line: dnsmasq's and ISC dhcpd's logs, Kea's log and lease file.

A client's own words stand in such lines, too. So a line counts only when it begins as the server itself begins it;
whatever else it says is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from avalanche.ethers import Sighting

MAX_LINE = 4096
"""Characters of a line that are looked at."""

_MAC = r"(?P<mac>[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5})"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_KIND = r"(?P<kind>DISCOVER|OFFER|REQUEST|DECLINE|ACK|NAK|RELEASE|INFORM)"
_ANSWERS = ("OFFER", "ACK", "NAK")

# Nov 21 15:01:00 dnsmasq-dhcp[315]: 1971467390 DHCPDISCOVER(eth0) 10.1.3.7 02:00:0a:01:ff:fe no address available
_DNSMASQ = re.compile(
    rf"(?:.{{0,80}}? )?dnsmasq-dhcp\[[0-9]+\]: (?:[0-9]+ )?(?P<what>DHCP{_KIND}|BOOTP)"
    rf"\((?P<interface>[^)\s]{{1,32}})\) (?:(?P<address>{_IPV4}) )?{_MAC}(?: (?P<rest>.*))?"
)
# Nov 21 15:01:00 frontend dhcpd[815]: DHCPDISCOVER from 02:00:0a:01:ff:fe (n17) via eth0: network 10.1.0.0/16: ...
_DHCPD = re.compile(
    rf"(?:.{{0,80}}? )?dhcpd(?:\[[0-9]+\])?: (?P<what>DHCP{_KIND}|BOOTREQUEST)"
    rf"(?: for (?P<address>{_IPV4})(?: \([^)]*\))?)? from {_MAC}(?: \([^)]*\))? via (?P<via>[^\s:]{{1,32}})"
)
# ... INFO  [kea-dhcp4.leases/318.1404] DHCP4_LEASE_ADVERT [hwtype=1 02:...], cid=[...], tid=0x9b6b3653: lease 10.1.3.1
_KEA = re.compile(
    r"[0-9-]{10} [0-9:.]+ +[A-Z]+ +\[kea-dhcp4\.[a-z0-9-]+/[0-9.]+\] "
    r"(?P<id>DHCP4_LEASE_ADVERT|DHCP4_LEASE_ALLOC|DHCP4_LEASE_OFFER|ALLOC_ENGINE_V4_ALLOC_FAIL[A-Z_]*) "
    rf"\[hwtype=1 {_MAC}\],.{{0,600}}?tid=0x[0-9a-f]+:(?: lease (?P<address>{_IPV4}))?"
)
# address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context
_KEA_LEASE = re.compile(rf"(?P<address>{_IPV4}),{_MAC},[^,]*,(?P<life>[0-9]+),[0-9]+,[0-9]+,[01],[01],[^,]*,0,.*")


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How a server's log is read: ``parse`` makes a sighting of a line that tells of a client, None of any other."""

    name: str
    parse: Callable[[str, float], Sighting | None]


def parse_dnsmasq(line: str, at: float) -> Sighting | None:
    """Read a line of dnsmasq's log, with or without ``log-dhcp``."""
    match = _DNSMASQ.fullmatch(line[:MAX_LINE].rstrip("\n"))
    if match is None:
        return None
    kind = "BOOTREQUEST" if match["what"] == "BOOTP" else match["kind"]
    return Sighting(
        at=at, source="dnsmasq", kind=kind, mac=match["mac"].lower(), interface=match["interface"],
        address=match["address"], is_answer=kind in _ANSWERS, server="dnsmasq" if kind in _ANSWERS else None,
    )  # fmt: skip


def parse_dhcpd(line: str, at: float) -> Sighting | None:
    """Read a line of ISC dhcpd's log; behind ``via`` stands the interface, or the relay's address."""
    match = _DHCPD.match(line[:MAX_LINE])
    if match is None:
        return None
    is_relayed = re.fullmatch(_IPV4, match["via"]) is not None
    return Sighting(
        at=at, source="dhcpd", kind=match["kind"] or "BOOTREQUEST", mac=match["mac"].lower(),
        interface="" if is_relayed else match["via"], relay=match["via"] if is_relayed else None,
        address=match["address"],
    )  # fmt: skip


def parse_kea(line: str, at: float) -> Sighting | None:
    """Read a line of Kea's log (at its default severity, INFO) or of its memfile of leases."""
    line = line[:MAX_LINE].rstrip("\n")
    match = _KEA.match(line)
    if match is not None:
        kind = "LEASE" if match["id"] == "DHCP4_LEASE_ALLOC" else "DISCOVER"
        return Sighting(at=at, source="kea", kind=kind, mac=match["mac"].lower(), address=match["address"])
    match = _KEA_LEASE.fullmatch(line)
    if match is not None and int(match["life"]) > 0:
        return Sighting(at=at, source="kea", kind="LEASE", mac=match["mac"].lower(), address=match["address"])
    return None


LOG_FORMATS = {
    found.name: found
    for found in (LogFormat("dnsmasq", parse_dnsmasq), LogFormat("dhcpd", parse_dhcpd), LogFormat("kea", parse_kea))
}
"""The servers whose logs are understood."""
