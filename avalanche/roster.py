"""What service files say of the cluster: hosts, their cards, the networks these are in, and what DHCP gives them.

A ``Roster`` is made from the inventory in one place, ``roster_of``, which refuses what no file format can carry; so a
template, ours or a site's, may insert any value as it is. Everything in it is sorted: the same inventory gives the
same files, byte for byte.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from avalanche.cluster import Cluster, Host, Setting
from avalanche.config import BOOT_FILE, DhcpConfig
from avalanche.errors import ClusterError
from avalanche.names import check_host_name, check_label, check_title, parse_ip, parse_mac
from avalanche.network import Network

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

KICKSTARTABLE, FILENAME, NEXT_SERVER = "kickstartable", "dhcp_filename", "dhcp_nextserver"
ROUTERS, SERVERS = "Kickstart_PrivateGateway", "Kickstart_PrivateDNSServers"
"""Rocks' names of the attributes that DHCP goes by."""
_NO = ("no", "false", "0", "off")

NO_DHCP = DhcpConfig()
NO_KEYS: Mapping[str, tuple[str, ...]] = {}
_KEY = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]{2,60} [A-Za-z0-9+/]{16,4096}={0,2}")

ETHERNET = 17
"""Characters of an Ethernet MAC. InfiniBand's are longer, and DHCP knows its hosts by other means."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A network, as its services see it.

    Attributes:
        routers, servers: the gateway and the name servers that DHCP tells, as far as they are known.
        pools: first and last addresses for cards that nobody registered; without any they get no lease.
        served: whether DHCP is for this network.
    """

    name: str
    subnet: Subnet
    zone: str | None = None
    mtu: int = 1500
    routers: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    pools: tuple[tuple[str, str], ...] = ()
    served: bool = False

    @property
    def address(self) -> str:
        """The network's own address."""
        return str(self.subnet.network_address)

    @property
    def netmask(self) -> str:
        """The mask, written as an address."""
        return str(self.subnet.netmask)

    @property
    def broadcast(self) -> str:
        """The address of everybody."""
        return str(self.subnet.broadcast_address)


@dataclass(frozen=True, slots=True)
class Card:
    """A network card, as far as it is known: ``segment`` is its network, ``name`` what the host is called there."""

    name: str
    mac: str | None = None
    ip: str | None = None
    device: str | None = None
    segment: str | None = None

    def __post_init__(self) -> None:
        check_host_name(self.name)
        if self.mac is not None and parse_mac(self.mac) != self.mac:
            raise ClusterError(f"{self.name}: {self.mac!r} is not a MAC in lower case with colons")
        if self.ip is not None and parse_ip(self.ip) != self.ip:
            raise ClusterError(f"{self.name}: {self.ip!r} is not an IP address in its canonical form")


@dataclass(frozen=True, slots=True)
class Entry:
    """A host, its cards in the order in which they were added, and what it boots over the network.

    Attributes:
        boots: whether DHCP tells it a boot file at all (Rocks' attribute ``kickstartable``).
        filename, next_server: its own boot file and server, in place of what its kind of firmware gets.
        keys: its public SSH keys: type and base64, without a comment.
    """

    name: str
    appliance: str
    rack: int
    rank: int
    membership: str = ""
    aliases: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    boots: bool = True
    filename: str | None = None
    next_server: str | None = None
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            check_host_name(name)
        check_label("appliance", self.appliance)
        if self.membership:
            check_title("membership", self.membership)
        if self.filename is not None and not BOOT_FILE.fullmatch(self.filename):
            raise ClusterError(
                f"{self.name}: attribute dhcp_filename {self.filename[:40]!r} is not a boot file's name or address:"
                " letters, digits and ./:_-@%+=~?&, at most 127; set it again: avalanche attr set dhcp_filename"
            )
        if self.next_server is not None:
            try:
                ipaddress.IPv4Address(self.next_server)
            except ValueError:
                raise ClusterError(
                    f"{self.name}: attribute dhcp_nextserver {self.next_server[:40]!r} is not an IPv4 address;"
                    " set it again: avalanche attr set dhcp_nextserver"
                ) from None

        for key in self.keys:
            if not _KEY.fullmatch(key):
                raise ClusterError(f"{self.name}: {key[:40]!r} is not a public SSH key: its type and its base64")

    @property
    def tag(self) -> str | None:
        """A word for what this host boots, when it is not what all boot: hosts with the same have the same."""
        if not self.boots:
            return "noboot"
        if self.filename is None and self.next_server is None:
            return None
        own = f"{self.filename or ''} {self.next_server or ''}"
        return "boot-" + hashlib.sha256(own.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address that belongs to a host, whichever of these cards it asks with."""

    host: Entry
    segment: Segment
    ip: str
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """An address and its names, the whole one first."""

    host: Entry
    card: Card
    segment: Segment | None
    ip: str
    names: tuple[str, ...]


def _place(named: Named) -> tuple[bool, str, int, int]:
    address = ipaddress.ip_address(named.ip)
    segment = named.segment
    return (segment is None or not segment.served, segment.name if segment else "~", address.version, int(address))


@dataclass(frozen=True)
class Roster:
    """Everything service files are made from.

    Args:
        segments, hosts: in any order; they are kept sorted.
        local: what a site adds to /etc/hosts.
    """

    segments: tuple[Segment, ...]
    hosts: tuple[Entry, ...]
    dhcp: DhcpConfig = NO_DHCP
    local: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(sorted(self.segments, key=lambda one: one.name)))
        object.__setattr__(self, "hosts", tuple(sorted(self.hosts, key=lambda one: (one.rack, one.rank, one.name))))

    def __repr__(self) -> str:
        return f"<Roster {len(self.hosts)} hosts, {len(self.segments)} networks>"

    @cached_property
    def by_name(self) -> dict[str, Segment]:
        """The networks by name."""
        return {segment.name: segment for segment in self.segments}

    @cached_property
    def served(self) -> tuple[Segment, ...]:
        """The networks DHCP is for."""
        return tuple(segment for segment in self.segments if segment.served)

    @cached_property
    def reservations(self) -> tuple[Reservation, ...]:
        """The addresses DHCP keeps for hosts, as Rocks does it: a host's cards in a network, and its cards in none,
        all get the first address it has there, because any of them may be the one that boots.
        """
        found = []
        for host in self.hosts:
            loose = [card.mac for card in host.cards if card.segment is None and card.ip is None and card.mac]
            for segment in self.served:
                mine = [card for card in host.cards if card.segment == segment.name]
                ip = next((card.ip for card in mine if card.ip), None)
                macs = [card.mac for card in mine if card.mac] + loose
                # A card belongs to one address, or two networks would fight for it.
                loose = [] if ip else loose
                macs = [mac for mac in macs if len(mac) == ETHERNET]
                if ip and macs:
                    found.append(Reservation(host, segment, ip, tuple(sorted(set(macs)))))
        return tuple(found)

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """Every address with its names: networks with DHCP first, then by network and address.

        The first address of a host has its short name and its aliases; another one has a short name only when the host
        has a name of its own there that no address before it has, so that a short name means one address.
        """
        found = []
        for host in self.hosts:
            first, taken = True, {host.name, *host.aliases}
            for card in host.cards:
                if card.ip is None:
                    continue
                segment = self.by_name.get(card.segment or "")
                full = [f"{card.name}.{segment.zone}"] if segment is not None and segment.zone else []
                short = [card.name] if first or not full or card.name not in taken else []
                taken.add(card.name)
                names = (*full, *short, *(host.aliases if first else ()))
                found.append(Named(host, card, segment, card.ip, names))
                first = False
        return tuple(sorted(found, key=_place))

    @cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """All names and addresses of each host that has an address."""
        found: dict[str, dict[str, None]] = {}
        for one in self.named:
            found.setdefault(one.host.name, {one.host.name: None}).update(dict.fromkeys((*one.names, one.ip)))
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def own_boots(self) -> tuple[Entry, ...]:
        """One host for each boot file and server that is not everybody's."""
        found = {host.tag: host for host in self.hosts if host.boots and host.tag}
        return tuple(found[tag] for tag in sorted(found))


def roster_of(
    cluster: Cluster, dhcp: DhcpConfig, *, keys: Mapping[str, tuple[str, ...]] = NO_KEYS, local: str = ""
) -> Roster:
    """Put together what service files say of an inventory.

    Args:
        keys: public SSH keys of hosts, by name.
        local: what a site adds to /etc/hosts.

    Raises:
        ClusterError: an attribute or a pool cannot be written into a service's file; names it, and what to do.
    """
    segments = _segments(cluster, dhcp)
    wants = bool(_boot_settings(cluster))
    hosts = [
        _entry(cluster, segments, host, keys.get(host.name, ()), wants_attributes=wants)
        for host in cluster.hosts.values()
    ]
    return Roster(segments, tuple(hosts), dhcp, local)


class Rosters:
    """Rosters of an inventory that goes on changing: of hosts that stay as they are, nothing is made again.

    Snapshots of the inventory share these hosts (renewal.py).
    """

    def __init__(self, dhcp: DhcpConfig) -> None:
        self._dhcp = dhcp
        self._terms: tuple[object, ...] = ()
        self._entries: dict[str, tuple[Host, Entry]] = {}

    def __repr__(self) -> str:
        return f"<Rosters {len(self._entries)} hosts known>"

    def of(self, cluster: Cluster) -> Roster:
        """What ``roster_of`` says, without keys. Raises as it does."""
        segments, wanted = _segments(cluster, self._dhcp), _boot_settings(cluster)
        # Beside the host itself, an entry depends on these.
        before = self._entries if self._terms == (segments, wanted) else {}
        self._terms, self._entries = (segments, wanted), {}
        for name, host in cluster.hosts.items():
            found = before.get(name)
            if found is None or found[0] is not host:
                found = host, _entry(cluster, segments, host, (), wants_attributes=bool(wanted))
            self._entries[name] = found
        return Roster(segments, tuple(entry for _, entry in self._entries.values()), self._dhcp)


def _segments(cluster: Cluster, dhcp: DhcpConfig) -> tuple[Segment, ...]:
    told = {setting.name: setting.value for setting in cluster.settings if setting.scope == "global"}
    segments = tuple(_segment(network, dhcp, told) for network in cluster.networks.values())
    _check_pools(dhcp, segments)
    return segments


def _boot_settings(cluster: Cluster) -> tuple[Setting, ...]:
    """The attributes that say what hosts boot."""
    return tuple(one for one in cluster.settings if one.name in (KICKSTARTABLE, FILENAME, NEXT_SERVER))


def _segment(network: Network, dhcp: DhcpConfig, told: Mapping[str, str]) -> Segment:
    served = network.name in dhcp.networks and isinstance(network.addresses, ipaddress.IPv4Network)
    routers = _addresses(told, ROUTERS)
    return Segment(
        network.name,
        network.addresses,
        network.zone,
        network.mtu,
        # A gateway is of use in its own network only.
        routers=tuple(router for router in routers if ipaddress.IPv4Address(router) in network.addresses),
        servers=_addresses(told, SERVERS),
        pools=tuple(pool for pool in _pools(dhcp) if ipaddress.IPv4Address(pool[0]) in network.addresses),
        served=served,
    )


def _addresses(told: Mapping[str, str], name: str) -> tuple[str, ...]:
    words = told.get(name, "").replace(",", " ").split()
    try:
        return tuple(str(ipaddress.IPv4Address(word)) for word in words)
    except ValueError:
        raise ClusterError(
            f"attribute {name} {told[name][:40]!r} is not a list of IPv4 addresses;"
            f" set it again: avalanche attr set {name} ADDRESS"
        ) from None


def _pools(dhcp: DhcpConfig) -> list[tuple[str, str]]:
    return [(first, last) for first, _, last in (pool.partition("-") for pool in dhcp.pools)]


def _check_pools(dhcp: DhcpConfig, segments: Iterable[Segment]) -> None:
    inside = {pool for segment in segments if segment.served for pool in segment.pools}
    subnets = [segment.subnet for segment in segments if segment.served]
    for pool in _pools(dhcp):
        first, last = (ipaddress.IPv4Address(address) for address in pool)
        if pool not in inside or not any(first in subnet and last in subnet for subnet in subnets):
            raise ClusterError(
                f"dhcp.pools: {first}-{last} is not within one of the networks {', '.join(dhcp.networks)};"
                " see: avalanche network list"
            )


def _entry(
    cluster: Cluster, segments: Sequence[Segment], host: Host, keys: tuple[str, ...], *, wants_attributes: bool
) -> Entry:
    boots, filename, next_server = True, None, None
    if wants_attributes:
        boots = (cluster.strongest(host, KICKSTARTABLE) or "").lower() not in _NO
        filename, next_server = cluster.strongest(host, FILENAME) or None, cluster.strongest(host, NEXT_SERVER) or None
    cards = []
    for card in host.interfaces:
        segment = card.network or (segment_of(segments, card.ip) if card.ip else None)
        cards.append(Card(card.name or host.name, card.mac, card.ip, card.device, segment))
    return Entry(
        host.name, host.appliance, host.rack, host.rank, host.membership, tuple(sorted(host.aliases)), tuple(cards),
        boots, filename, next_server, keys,
    )  # fmt: skip


def segment_of(segments: Iterable[Segment], ip: str) -> str | None:
    """The name of the smallest network an address is in."""
    address = ipaddress.ip_address(ip)
    inside = [segment for segment in segments if address in segment.subnet]
    return max(inside, key=lambda segment: segment.subnet.prefixlen).name if inside else None
