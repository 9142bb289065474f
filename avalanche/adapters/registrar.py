"""Registering machines as hosts: name, rank, address, card, order and first events in one transaction.

A transaction begins by waiting for other writers, so what it reads of the inventory holds until it commits; uniqueness
constraints stand behind that. An end at any point leaves a host that is registered completely, or not at all.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseUnavailable, Transaction
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.sightings import forget_sightings
from avalanche.allotment import Allotment, Census, Wanted
from avalanche.cluster import Cluster, Host, Interface, check_host
from avalanche.errors import AvalancheError, ClusterError
from avalanche.ethers import Known, NewHost, Sighting
from avalanche.messages import Scalar
from avalanche.orders import Order

T = TypeVar("T")
Outcome = NewHost | ClusterError
"""What became of a machine."""
Generations = Callable[[Cluster, Host], str]
"""Says from which generation a host would be installed; raises AvalancheError when it could not be."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the orders of new hosts permit: ``seconds`` of life, ``attempts``, and how packages travel."""

    seconds: float
    attempts: int
    plane: str


class Registrar:
    """Registers, replaces and removes hosts. Use it from one thread.

    Args:
        wanted: what the operator says about new hosts; ``next_rack`` changes it.
        generation_of: None: no host gets an order.
        reserved: addresses that no host may get, such as the frontend's.
        plugins: how many plugins are to be told of a new host.
    """

    def __init__(
        self,
        database: Database,
        wanted: Wanted,
        *,
        network: str | None,
        generation_of: Generations | None,
        terms: Terms,
        reserved: tuple[str, ...] = (),
        plugins: int = 0,
    ) -> None:
        self.wanted = wanted
        self._database = database
        self._network = network
        self._generation_of = generation_of
        self._terms = terms
        self._reserved = reserved
        self._plugins = plugins
        self._cluster: Cluster | None = None
        self._census: Census | None = None
        self._revision = -1

    def __repr__(self) -> str:
        return f"<Registrar {self.wanted.membership} in {self._database.name}>"

    def register(self, seen: Sequence[Sighting], *, now: float, address: str | None = None) -> list[Outcome]:
        """Make hosts of machines, in this order; what is wrong with one is its outcome and touches no other.

        Args:
            address: the address the only one gets, in place of one that is counted out.

        Raises:
            DatabaseUnavailable: nothing was stored; the same call may succeed later.
        """
        assert address is None or len(seen) == 1
        wanted = self.wanted if address is None else replace(self.wanted, address=address)

        def work(transaction: Transaction) -> tuple[list[Outcome], Census, int]:
            cluster, census = self._fresh(transaction)
            book = census.copy()
            plans = [self._plan(cluster, book, wanted, one) for one in seen]
            transaction.add_hosts([plan for plan in plans if isinstance(plan, Host)])
            outcomes = [
                self._installed(transaction, cluster, plan, now) if isinstance(plan, Host) else plan for plan in plans
            ]
            self._tell(transaction, seen, outcomes, "registered")
            return outcomes, book, transaction.revision()

        # Kept only now that it is stored: what a transaction saw that was undone may come again with other content.
        outcomes, self._census, self._revision = self._run(work)
        return outcomes

    def replace(self, name: str, seen: Sighting, *, now: float) -> NewHost:
        """Give a host the card of another machine: it keeps its name, place, addresses and attributes.

        Its live order is cancelled; the new machine gets one of its own.

        Raises:
            UnknownHost, ClusterError: there is no such host, or it is locked.
            DuplicateHost: the MAC is another host's.
            DatabaseUnavailable: as ``register``.
        """
        assert seen.mac is not None, "ethers.py takes nobody without a MAC"

        def work(transaction: Transaction) -> NewHost:
            cluster, _ = self._fresh(transaction)
            before = cluster.host(name)
            host = transaction.change_hosts(
                [(before, replace(before, interfaces=_other_card(before, str(seen.mac))))], action="host replace"
            )[0]
            for old in orderbook.orders_of(transaction, name):
                if old.state(now) == "live":
                    orderbook.save_order(transaction, old, old.cancel(now))
            found = self._installed(transaction, cluster, host, now)
            self._tell(transaction, [seen], [found], f"new machine in place of {before.mac or 'an unknown one'}")
            return found

        return self._run(work)

    def known(self) -> dict[str, Known]:
        """Who is registered, by MAC.

        Raises:
            DatabaseUnavailable: it cannot be read now.
        """
        cluster, census = self._run(self._fresh, writes=False)
        locks = {host.name: host.lock for host in cluster.hosts.values() if host.lock is not None}
        found: dict[str, Known] = {}
        for mac, name in census.macs.items():
            lock = locks.get(name)
            found[mac] = Known(name, "" if lock is None else f"{lock.by}: {lock.why}" if lock.why else lock.by)
        return found

    def check(self) -> str:
        """See whether the next host could be registered and installed; returns its name.

        Raises:
            ClusterError: it could not be registered.
            AvalancheError: it could not be installed: no generation, a profile that does not compile, a package that
                cannot be had.
        """
        cluster, census = self._run(self._fresh, writes=False)
        given = census.allot(self.wanted)
        host = check_host(self._host(cluster, None, given))
        if self._generation_of is not None and _is_kickstartable(cluster, host):
            self._generation_of(cluster, host)
        return given.name

    def peek(self) -> str:
        """What the next host will be called, as far as is known without asking the database."""
        try:
            return self._census.allot(self.wanted).name if self._census is not None else ""
        except ClusterError as error:
            return f"nobody: {error}"

    def next_rack(self) -> int:
        """Go on in the next rack; returns its number."""
        self.wanted = replace(self.wanted, rack=self.wanted.rack + 1, rank=None)
        return self.wanted.rack

    # --- parts of a registration ---

    def _fresh(self, transaction: Transaction) -> tuple[Cluster, Census]:
        """The inventory and what is taken of it, as this transaction sees them."""
        revision = transaction.revision()
        if self._cluster is None or self._census is None or revision != self._revision:
            self._cluster = transaction.cluster(self._cluster)
            self._census = census_of(self._cluster, self._reserved)
            self._revision = revision
        return self._cluster, self._census

    def _run(self, work: Callable[[Transaction], T], *, writes: bool = True) -> T:
        try:
            return self._database.run(work, writes=writes)
        except BaseException:
            # What was counted may not have been stored.
            self._revision = -1
            raise

    def _plan(self, cluster: Cluster, book: Census, wanted: Wanted, seen: Sighting) -> Host | ClusterError:
        """What a machine becomes, noted in the book; or why it cannot become a host."""
        assert seen.mac is not None, "ethers.py takes nobody without a MAC"
        try:
            book.check_mac(seen.mac)
            given = book.allot(wanted)
            host = check_host(self._host(cluster, seen.mac, given))
        except ClusterError as error:
            return error
        book.add(wanted.membership, given, mac=seen.mac)
        return host

    def _host(self, cluster: Cluster, mac: str | None, given: Allotment) -> Host:
        membership = cluster.membership(self.wanted.membership)
        appliance = cluster.appliance(membership.appliance)
        network = self._network if given.address else None
        return Host(
            name=given.name,
            appliance=appliance.name,
            rack=given.rack,
            rank=given.rank,
            interfaces=(Interface(mac, given.address, network=network),) if mac or given.address else (),
            membership=membership.name,
            os=appliance.os,
        )

    def _installed(self, transaction: Transaction, cluster: Cluster, host: Host, now: float) -> NewHost:
        """Permit a stored host to be installed; or say why it is not, which is no reason not to register it."""
        mac = next(card.mac for card in host.interfaces if card.mac)
        found = NewHost(host.name, mac, host.address, now, host.membership, host.rack, host.rank)
        if self._generation_of is None or not _is_kickstartable(cluster, host):
            return found
        try:
            generation = self._generation_of(cluster, host)
        except DatabaseUnavailable:
            raise
        except AvalancheError as error:
            return replace(found, why=f"no order: {error}")
        terms = self._terms
        order = Order(
            secrets.token_hex(8), host.name, generation, terms.plane, now, now + terms.seconds, terms.attempts
        )
        orderbook.add_order(transaction, order, now)
        return replace(found, order=order.id)

    def _tell(self, transaction: Transaction, seen: Sequence[Sighting], outcomes: Sequence[Outcome], text: str) -> None:
        """Begin new hosts' timelines with what was seen of them first, and forget the strangers."""
        events = []
        told_to: dict[str, Scalar] = {"plugins": self._plugins} if self._plugins else {}
        for one, host in zip(seen, outcomes, strict=True):
            if not isinstance(host, NewHost):
                continue
            facts = {name: getattr(one, name) for name in ("mac", "source", "interface", "vendor", "uuid", "firmware")}
            data = {name: value for name, value in facts.items() if value}
            events.append(TimelineEvent(host.name, one.at, "dhcp", "ok", f"{one.kind} of {one.mac}", data=data))
            told = ", ".join(filter(None, [text, host.address, f"order {host.order}" if host.order else host.why]))
            outcome = "failed" if host.why else "ok"
            events.append(TimelineEvent(host.name, host.at, "register", outcome, told, host.order, data=told_to))
        orderbook.add_events(transaction, events)
        forget_sightings(transaction, [host.mac for host in outcomes if isinstance(host, NewHost)])


def census_of(cluster: Cluster, reserved: tuple[str, ...] = ()) -> Census:
    """What is taken in an inventory, and of addresses also what is ``reserved``."""
    names = dict.fromkeys(cluster.appliances, "an appliance")
    addresses = {text: "this frontend" for text in reserved if _is_ipv4(text)}
    macs: dict[str, str] = {}
    ranks: dict[tuple[str, int], int] = {}
    for host in cluster.hosts.values():
        names[host.name] = "a host"
        names |= dict.fromkeys(host.aliases, f"an alias of {host.name}")
        addresses |= {card.ip: host.name for card in host.interfaces if card.ip and _is_ipv4(card.ip)}
        macs |= {card.mac: host.name for card in host.interfaces if card.mac}
        place = (host.membership, host.rack)
        ranks[place] = max(host.rank, ranks.get(place, -1))
    return Census(names=names, addresses=addresses, macs=macs, ranks=ranks)


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


def _is_kickstartable(cluster: Cluster, host: Host) -> bool:
    """Rocks' attribute: switches and power units are hosts that are never installed."""
    attributes = cluster.attributes(host, {"distribution": ""})
    return "kickstartable" not in attributes or attributes["kickstartable"].lower() not in ("no", "false", "0", "off")


def _other_card(host: Host, mac: str) -> tuple[Interface, ...]:
    """A host's interfaces with another machine's card in the first; the others' cards are not known any more."""
    if not host.interfaces:
        raise ClusterError(f"{host.name} has no interface that a new machine could take: avalanche host remove, add")
    boot = next((number for number, card in enumerate(host.interfaces) if card.mac), 0)
    changed = [replace(card, mac=mac if number == boot else None) for number, card in enumerate(host.interfaces)
               if number == boot or card.ip or card.device]  # fmt: skip
    return tuple(changed)
