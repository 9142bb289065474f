"""Networks of the cluster: what Rocks calls subnets. A network has a name, addresses, a DNS zone and an MTU."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from avalanche.errors import ClusterError

Addresses = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ZONE = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_SHORTEST_MTU, _LONGEST_MTU = 576, 65520  # RFC 791's least datagram; what IP over InfiniBand may have


@dataclass(frozen=True, slots=True)
class Network:
    """A network that hosts have cards in.

    Attributes:
        zone: the DNS domain of its hosts; None: its name is used nowhere.
        servedns: whether this frontend answers for the zone.

    Raises:
        ClusterError: a field is out of range.
    """

    name: str
    addresses: Addresses
    zone: str | None = None
    mtu: int = 1500
    servedns: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ClusterError(f"network {self.name!r} is not a name of at most 32 of a-z, 0-9, '_' and '-'")
        if self.zone is not None and (len(self.zone) > 253 or not _ZONE.fullmatch(self.zone)):
            raise ClusterError(f"zone {self.zone!r} is not a DNS domain")
        if not _SHORTEST_MTU <= self.mtu <= _LONGEST_MTU:
            raise ClusterError(f"an MTU is from {_SHORTEST_MTU} to {_LONGEST_MTU}, not {self.mtu}")

    @property
    def subnet(self) -> str:
        """The network's own address."""
        return str(self.addresses.network_address)

    @property
    def netmask(self) -> str:
        """The mask, written as an address."""
        return str(self.addresses.netmask)

    def __contains__(self, address: str) -> bool:
        return ipaddress.ip_address(address) in self.addresses

    def has_place_for(self, address: str) -> bool:
        """Whether one host may have an address of it: not its own, nor that of all its hosts (RFC 3021, RFC 6164)."""
        found, network = ipaddress.ip_address(address), self.addresses
        if network.num_addresses <= 2 or isinstance(network, ipaddress.IPv6Network):
            return found in network
        return found in network and found not in (network.network_address, network.broadcast_address)


def parse_addresses(subnet: str, netmask: str | None = None) -> Addresses:
    """Read ``10.1.0.0/16``, or ``10.1.0.0`` with a mask of its own (``255.255.0.0`` or ``16``).

    Raises:
        ClusterError: it is not a network; says which one it may be.
    """
    text = subnet if netmask is None else f"{subnet}/{netmask}"
    if "/" not in text:
        raise ClusterError(f"{text!r} has no netmask; write 10.1.0.0/16")
    try:
        return _network_of(text)
    except ValueError:
        pass
    try:
        meant = _network_of(text, strict=False)
    except ValueError:
        raise ClusterError(f"{text!r} is not a network; write 10.1.0.0/16") from None
    raise ClusterError(f"{text!r} is an address inside a network; do you mean {meant}?")


def _network_of(text: str, *, strict: bool = True) -> Addresses:
    if ":" in text and text.rpartition("/")[2].count(":"):  # a mask that a table holds as an address
        address, _, mask = text.rpartition("/")
        text = f"{address}/{int(ipaddress.IPv6Address(mask)).bit_count()}"
    return ipaddress.ip_network(text, strict=strict)
