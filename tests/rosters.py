"""Rosters for tests, and hypothesis's: anything the inventory may hold."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from avalanche.config import DhcpConfig
from avalanche.errors import ClusterError
from avalanche.names import check_host_name
from avalanche.roster import Card, Entry, Roster, Segment

DHCP = DhcpConfig(
    interfaces=("eth1",), bios="pxelinux.0", efi="grub.efi", http="http://10.1.1.1/grub.efi", ipxe="http://10.1.1.1/s"
)
PRIVATE = Segment(
    "private",
    ipaddress.ip_network("10.1.0.0/16"),
    zone="local",
    routers=("10.1.1.1",),
    servers=("10.1.1.1", "10.1.1.2"),
    served=True,
)
PUBLIC = Segment("public", ipaddress.ip_network("192.0.2.0/24"), zone="example.org")
SIXTH = Segment("sixth", ipaddress.ip_network("2001:db8::/32"), zone="six.local", mtu=9000)
SEGMENTS = (PRIVATE, PUBLIC, SIXTH)
FIRSTS = {"private": "10.1.0.0", "public": "192.0.2.0", "sixth": "2001:db8::"}


def entry(number: int, **fields: Any) -> Entry:
    """A host with one card in the private network."""
    name = f"compute-0-{number}"
    card = Card(name, f"52:54:00:00:00:{number:02x}", f"10.1.255.{254 - number}", "eth0", "private")
    return Entry(name, "compute", 0, number, "Compute", **{"cards": (card,), **fields})


def roster(*hosts: Entry, dhcp: DhcpConfig = DHCP, **fields: Any) -> Roster:
    """A roster of hosts in the usual networks."""
    return Roster(SEGMENTS, hosts, dhcp, **fields)


def _is_host_name(text: str) -> bool:
    try:
        check_host_name(text)
    except ClusterError:
        return False
    return True


# Words that mean something else in one of the formats are tried more often than chance would.
names = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
    st.sampled_from(
        ("ignore", "infinite", "12h", "1d", "host", "group", "null", "true", "all", "if", "net", "set", "id")
    ),
).filter(_is_host_name)
labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
titles = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,12}[A-Za-z0-9])?", fullmatch=True)
boot_files = st.from_regex(r"[A-Za-z0-9_./:@%+=~?&-]{1,40}", fullmatch=True)


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    """Any roster: names, MACs and addresses are unique, as the database keeps them."""
    all_names = draw(st.lists(names, max_size=8, unique=True))
    hosts: list[Entry] = []
    number = 0
    while all_names:
        name, *aliases = (all_names.pop() for _ in range(min(len(all_names), draw(st.integers(1, 3)))))
        cards = []
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            where = draw(st.sampled_from(("private", "private", *FIRSTS, None)))
            ip = str(ipaddress.ip_address(FIRSTS[where]) + number) if where and draw(st.integers(0, 3)) else None
            mac = f"02:00:00:00:00:{number:02x}" + draw(st.sampled_from(("", "", "", ":00" * 14)))
            own = draw(st.booleans()) and where == "public"
            cards.append(Card(f"{name}-x" if own else name, mac if draw(st.integers(0, 3)) else None, ip, None, where))
        boots = draw(st.booleans())
        hosts.append(
            Entry(
                name,
                draw(labels),
                draw(st.integers(0, 3)),
                draw(st.integers(0, 99)),
                draw(titles),
                tuple(sorted(aliases)),
                tuple(cards),
                boots,
                draw(st.none() | boot_files),
                draw(st.none() | st.just("10.1.7.7")),
            )
        )
    return Roster(SEGMENTS, tuple(hosts), DHCP)
