"""Which name, rack, rank and address the next host gets: Rocks' rules (insert-ethers), as functions of what is taken.

* name: ``BASENAME-RACK-RANK``, or the one the operator gave;
* rank: the one the operator gave, else one above the highest of the same membership in the same rack;
* address: the first free one from the top of the network down (from the address below the broadcast address), or from
  ``base`` on in steps of ``increment``; never a reserved one, never one outside the network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from avalanche.errors import ClusterError, DuplicateHost


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator says about the hosts that are to come.

    Attributes:
        membership, basename: the group they join, and the first part of their names.
        rack, rank: where counting starts; ``rank`` None: above the highest there is.
        per_rack: so many ranks, then the next rack begins; None: one rack takes all.
        hostname, address: exactly one host's name and address.
        network: where addresses come from; None: hosts get none.
        base: the first address to try; None: the top of the network, or its bottom when ``increment`` is positive.
        reserved: ranges (first, last) that belong to others: pools of a DHCP server, routers.

    Raises:
        ClusterError: the values contradict each other.
    """

    membership: str
    basename: str
    rack: int = 0
    rank: int | None = None
    per_rack: int | None = None
    hostname: str | None = None
    address: str | None = None
    network: ipaddress.IPv4Network | None = None
    base: str | None = None
    increment: int = -1
    reserved: tuple[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address], ...] = ()

    def __post_init__(self) -> None:
        if self.increment == 0:
            raise ClusterError("--inc 0 never comes to another address; Rocks' step is -1")
        if self.per_rack is not None and self.per_rack < 1:
            raise ClusterError("a rack has room for at least one host")
        for what, text in (("--baseip", self.base), ("--ipaddr", self.address)):
            if text is not None:
                self._check_inside(what, text)

    def _check_inside(self, what: str, text: str) -> None:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            raise ClusterError(f"{what} {text!r} is not an IPv4 address") from None
        if self.network is not None and not _low(self.network) <= int(address) <= _high(self.network):
            raise ClusterError(f"{what} {text} is no host's address in {self.network}")


@dataclass(frozen=True, slots=True)
class Allotment:
    """What a host gets; ``address`` is None where the network is."""

    name: str
    rack: int
    rank: int
    address: str | None


class Census:
    """What is taken, kept up to date while hosts are added.

    Args:
        names: names that no host may get, and what has each: ``a host``, ``an alias of compute-0-0``, ``an appliance``.
        addresses, macs: IPv4 addresses and cards in use, and who has each.
        ranks: the highest rank of each membership in each rack.
    """

    def __init__(
        self,
        *,
        names: Mapping[str, str],
        addresses: Mapping[str, str],
        macs: Mapping[str, str],
        ranks: Mapping[tuple[str, int], int],
    ) -> None:
        self._names = dict(names)
        self._macs = dict(macs)
        self._addresses = {int(ipaddress.IPv4Address(text)): owner for text, owner in addresses.items()}
        self._ranks = dict(ranks)

    def __repr__(self) -> str:
        return f"<Census {len(self._names)} names, {len(self._addresses)} addresses>"

    def copy(self) -> Census:
        """A census to plan with."""
        found = Census(names=self._names, addresses={}, macs=self._macs, ranks=self._ranks)
        found._addresses = dict(self._addresses)
        return found

    @property
    def macs(self) -> Mapping[str, str]:
        """The cards in use, and who has each."""
        return self._macs

    def check_mac(self, mac: str) -> None:
        """See that nobody has a card.

        Raises:
            DuplicateHost: somebody has; says who.
        """
        if mac in self._macs:
            raise DuplicateHost(f"MAC {mac} belongs to {self._macs[mac]}")

    def add(self, membership: str, given: Allotment, *, mac: str | None = None) -> None:
        """Note what a new host got."""
        self._names[given.name] = "a host"
        if mac is not None:
            self._macs[mac] = given.name
        if given.address is not None:
            self._addresses[int(ipaddress.IPv4Address(given.address))] = given.name
        place = (membership, given.rack)
        self._ranks[place] = max(given.rank, self._ranks.get(place, -1))

    def allot(self, wanted: Wanted) -> Allotment:
        """Say what the next host gets. Nothing is noted: ``add`` does that when the host is there.

        Raises:
            DuplicateHost: the name or address that the operator gave is taken; says by what.
            ClusterError: no address is left.
        """
        name, rack, rank = self._place(wanted)
        return Allotment(name, rack, rank, self._address(wanted))

    def _place(self, wanted: Wanted) -> tuple[str, int, int]:
        rack = wanted.rack
        rank = wanted.rank if wanted.rank is not None else self._next_rank(wanted.membership, rack)
        if wanted.hostname is not None:
            self._check_name(wanted.hostname)
            return wanted.hostname, rack, rank
        if wanted.rank is not None:
            name = f"{wanted.basename}-{rack}-{rank}"
            self._check_name(name)
            return name, rack, rank
        while True:
            if wanted.per_rack is not None and rank >= wanted.per_rack:
                rack += 1
                rank = self._next_rank(wanted.membership, rack)
                continue
            # Ranks count per membership, names are unique: another membership may have the same basename.
            name = f"{wanted.basename}-{rack}-{rank}"
            if name not in self._names:
                return name, rack, rank
            rank += 1

    def _next_rank(self, membership: str, rack: int) -> int:
        return self._ranks.get((membership, rack), -1) + 1

    def _check_name(self, name: str) -> None:
        if name in self._names:
            raise DuplicateHost(f"{name} is taken: it is {self._names[name]}")

    def _address(self, wanted: Wanted) -> str | None:
        if wanted.address is not None:
            owner = self._addresses.get(int(ipaddress.IPv4Address(wanted.address)))
            if owner is not None:
                raise DuplicateHost(f"address {wanted.address} belongs to {owner}")
            return wanted.address
        network = wanted.network
        if network is None:
            return None
        low, high, step = _low(network), _high(network), wanted.increment
        at = start = int(ipaddress.IPv4Address(wanted.base)) if wanted.base else (high if step < 0 else low)
        reserved = [(int(first), int(last)) for first, last in wanted.reserved]
        while low <= at <= high:
            pool = next(((first, last) for first, last in reserved if first <= at <= last), None)
            if pool is not None:
                at += _steps_out(at, pool, step) * step
            elif at in self._addresses:
                at += step
            else:
                return str(ipaddress.IPv4Address(at))
        raise ClusterError(
            f"no address is free in {network} from {ipaddress.IPv4Address(start)} on in steps of {step}: "
            "remove hosts, or give --baseip and --inc, or a larger network"
        )


def _steps_out(at: int, pool: tuple[int, int], step: int) -> int:
    """How many steps lead out of a range."""
    distance = at - pool[0] if step < 0 else pool[1] - at
    return distance // abs(step) + 1


def _low(network: ipaddress.IPv4Network) -> int:
    return int(network.network_address) + (1 if network.prefixlen < 31 else 0)


def _high(network: ipaddress.IPv4Network) -> int:
    return int(network.broadcast_address) - (1 if network.prefixlen < 31 else 0)


def parse_ranges(texts: Iterable[str]) -> tuple[tuple[ipaddress.IPv4Address, ipaddress.IPv4Address], ...]:
    """Read ranges of addresses, like ``10.1.0.100-10.1.0.199``, or a single one.

    Raises:
        ClusterError: one is none.
    """
    found = []
    for text in texts:
        first, _, last = text.partition("-")
        try:
            pair = ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address((last or first).strip())
        except ValueError:
            raise ClusterError(f"{text!r} is not a range of addresses like 10.1.0.100-10.1.0.199") from None
        if pair[0] > pair[1]:
            raise ClusterError(f"{text!r} ends before it begins")
        found.append(pair)
    return tuple(found)
