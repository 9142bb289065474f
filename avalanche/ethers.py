"""How hardware enters the cluster: what insert-ethers makes of every packet it sees, as an automaton without a clock.

``see`` takes a sighting and answers with a verdict: taken, or ignored and why, in one line. Who is taken waits in a
queue; ``candidates`` says who is registered next, ``registered`` and ``refused`` how that ended, ``progress`` how a new
host gets on. In *ordered* mode a host is registered only when the one before it has asked for its kickstart, so that
names follow the order in which an operator switches machines on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from avalanche.dhcp import ARCHITECTURES, HARDWARE, Packet

Mode = Literal["parallel", "ordered", "record"]
MODES: tuple[Mode, ...] = ("parallel", "ordered", "record")

REASONS = {
    "taken": "it is new and gets registered",
    "queued": "it is new; in ordered mode it waits until the host before it has asked for its kickstart",
    "pending": "it was taken before and its registration is under way",
    "known": "its MAC belongs to a registered host",
    "recorded": "record-only mode: noted, not registered",
    "answer": "a DHCP server's answer",
    "kind": "not the first packet of a machine without an address (REQUEST, INFORM, RELEASE, ...)",
    "interface": "it came in elsewhere than on a declared interface",
    "relay": "a relay agent outside the network passed it on",
    "client": "not an installer's, and only installers were asked for (--installers)",
    "hardware": "not from an Ethernet card",
    "mac": "a MAC of nobody or of many",
    "garbage": "no DHCP packet, or a broken one",
    "paused": "the operator has paused registration",
    "enough": "as many hosts as asked for are registered",
    "full": "too many machines wait already",
    "refused": "it was to be registered and could not be; says why",
    "asked": "it asked the frontend for a kickstart and is no host",
}
"""Every code a verdict may have, and what it means; docs/insert-ethers.md lists them."""

FIRST_PACKETS = ("DISCOVER", "BOOTREQUEST", "LEASE", "KICKSTART", "LISTED")
"""What makes an unknown machine a candidate. The last three are no packets: a server's word that it leased an address,
a request for a kickstart, a line in a list of MACs."""
MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet or request, as a source tells of it.

    Attributes:
        at: seconds since 1970.
        source: ``observer``, ``dnsmasq``, ``kea``, ``frontend`` or ``list``.
        kind: the packet's kind, or LEASE, KICKSTART, LISTED; "" when it could not be read.
        interface: where it came in; "" when the source does not know.
        address: the address it asks for, has, or was leased.
        relay: the relay agent that passed it on, or the link it says that the machine is on.
        server: for an answer, who answers.
        problem: why it could not be read.
        status: for a kickstart request, the HTTP status it was answered with.
    """

    at: float
    source: str
    kind: str
    mac: str | None = None
    interface: str = ""
    address: str | None = None
    relay: str | None = None
    server: str | None = None
    vendor: str = ""
    hostname: str = ""
    uuid: str = ""
    firmware: str = ""
    circuit: str = ""
    hardware: int = 1
    is_answer: bool = False
    is_installer: bool = False
    problem: str = ""
    status: int | None = None


def sighting_of(packet: Packet, *, at: float, interface: str) -> Sighting:
    """What the observer saw."""
    classes = [word for word in (packet.vendor, *packet.user_classes) if word]
    return Sighting(
        at=at,
        source="observer",
        kind=packet.kind,
        mac=packet.mac,
        interface=interface,
        address=packet.offered if packet.is_reply else packet.requested or packet.client,
        relay=packet.link if packet.relay else None,
        server=packet.server_id or packet.source if packet.is_reply else None,
        vendor=" ".join(classes),
        hostname=packet.hostname,
        uuid=packet.uuid,
        firmware=", ".join(ARCHITECTURES.get(number, str(number)) for number in packet.architectures),
        circuit=packet.circuit,
        hardware=packet.hardware,
        is_answer=packet.is_reply,
        is_installer=packet.is_installer,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a sighting: ``code`` is one of ``REASONS``, ``text`` says it for this one."""

    code: str
    text: str

    @property
    def is_taken(self) -> bool:
        """Whether it leads to a registration."""
        return self.code in ("taken", "queued")


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom insert-ethers takes.

    Attributes:
        interfaces: the declared interfaces; empty: every one.
        network: relays must stand in it.
        installers: take only what says that it is firmware or an installer.
        count: so many hosts, then no more; None: no end.
    """

    mode: Mode = "parallel"
    interfaces: frozenset[str] = frozenset()
    network: IPv4Network | None = None
    installers: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True)
class NewHost:
    """A host that this run registered, and how far it is.

    Attributes:
        status: the HTTP status of its last request for a kickstart; None while it has not asked.
        stage: the last stage its timeline tells, ``registered`` at first.
        why: why it has no order, or what its last failure said.
    """

    name: str
    mac: str
    address: str | None
    at: float
    membership: str = ""
    rack: int = 0
    rank: int = 0
    order: str | None = None
    status: int | None = None
    stage: str = "registered"
    outcome: str = "ok"
    why: str = ""

    @property
    def mark(self) -> str:
        """Rocks' mark: ``( )`` has not asked for its kickstart, ``(*)`` got it, ``(503)`` got another answer."""
        return "( )" if self.status is None else "(*)" if self.status == 200 else f"({self.status})"

    @property
    def is_kickstarted(self) -> bool:
        """Whether it got its kickstart."""
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Known:
    """Whose a MAC is: a host's name, and who locked it, if somebody did."""

    host: str
    locked: str = ""


class Ethers:
    """The automaton. ``now`` and moments are seconds since 1970, by one clock.

    Args:
        known: the registered hosts by MAC; ``know`` replaces them.
    """

    def __init__(self, policy: Policy, known: Mapping[str, Known] | None = None) -> None:
        self.policy = policy
        self.hosts: dict[str, NewHost] = {}
        self.is_paused = False
        self._known = dict(known or {})
        self._waiting: dict[str, Sighting] = {}
        self._running: set[str] = set()
        self._go_on = False

    def __repr__(self) -> str:
        return f"<Ethers {self.policy.mode}, {len(self.hosts)} new, {len(self._waiting)} waiting>"

    # --- what is seen ---

    def know(self, known: Mapping[str, Known]) -> None:
        """Take over who is registered. Who was registered by others meanwhile waits no longer."""
        self._known = dict(known)
        for mac in [mac for mac in self._waiting if mac in known and mac not in self._running]:
            del self._waiting[mac]

    def knows(self, mac: str) -> bool:
        """Whether a registered host has this MAC."""
        return mac in self._known

    def see(self, seen: Sighting) -> Verdict:
        """Judge a sighting; whom it leads to is queued."""
        verdict = self._nobody(seen) or self._unfit(seen) or self._unwelcome(seen)
        if verdict is not None:
            return verdict
        assert seen.mac is not None, "a sighting without a MAC names nobody"
        self._waiting[seen.mac] = seen
        before = self._in_the_way()
        if before is not None:
            return Verdict("queued", f"waits until {before} asks for its kickstart (n: go on now)")
        return Verdict("taken", "new: gets registered")

    def _nobody(self, seen: Sighting) -> Verdict | None:
        """Why a sighting names no machine on our wire."""
        if seen.problem:
            return Verdict("garbage", seen.problem)
        if seen.is_answer:
            return Verdict("answer", f"DHCP server {seen.server or '?'} answers {seen.mac or 'a client'}")
        declared = self.policy.interfaces
        if declared and seen.interface and seen.interface not in declared:
            return Verdict("interface", f"came in on {seen.interface}, not on {' or '.join(sorted(declared))}")
        if seen.mac is None:
            kind = HARDWARE.get(seen.hardware, f"hardware of kind {seen.hardware}")
            return Verdict("hardware", f"{kind}: the packet names no Ethernet card; register it by avalanche host add")
        if len(seen.mac) != 17 or int(seen.mac[:2], 16) & 1 or not seen.mac.strip("0:"):
            return Verdict("mac", f"{seen.mac} is the MAC of nobody or of many")
        return None

    def _unfit(self, seen: Sighting) -> Verdict | None:
        """Why a machine cannot become a host now, whatever the operator wants."""
        assert seen.mac is not None, "a sighting without a MAC names nobody"
        known = self._known.get(seen.mac)
        if known is not None:
            locked = f", locked by {known.locked}" if known.locked else ""
            return Verdict("known", f"it is {known.host}{locked}")
        if seen.mac in self._waiting:
            return Verdict("pending", "was taken; its registration is under way")
        if seen.kind not in FIRST_PACKETS:
            return Verdict("kind", "it has an address already; its DISCOVER would count")
        if seen.relay is not None and not self._is_near(seen.relay):
            return Verdict("relay", f"came through relay {seen.relay}, which is not in {self.policy.network}")
        return None

    def _unwelcome(self, seen: Sighting) -> Verdict | None:
        """Why the operator does not want it, now or at all."""
        policy = self.policy
        if policy.installers and seen.source == "observer" and not seen.is_installer:
            return Verdict("client", f"no installer: its vendor class is {seen.vendor!r}")
        if policy.mode == "record":
            return Verdict("recorded", "noted, not registered")
        if self.is_paused:
            return Verdict("paused", "registration is paused (p: go on)")
        if policy.count is not None and len(self.hosts) + len(self._waiting) >= policy.count:
            return Verdict("enough", f"{policy.count} hosts were asked for, and they are there")
        if len(self._waiting) >= MAX_WAITING:
            return Verdict("full", f"{MAX_WAITING} machines wait to be registered already")
        return None

    def _is_near(self, relay: str) -> bool:
        return self.policy.network is None or IPv4Address(relay) in self.policy.network

    # --- who is next ---

    def candidates(self, most: int) -> list[Sighting]:
        """Say who is to be registered now, in this order: in ordered mode one at a time, else up to ``most``.

        Nobody is while others are under way: each ends with ``registered``, ``refused`` or ``postponed``.
        """
        if self._running or self.is_paused or not self._waiting or self._in_the_way() is not None:
            return []
        found = list(self._waiting.values())[: 1 if self.policy.mode == "ordered" else most]
        self._running = {str(seen.mac) for seen in found}
        self._go_on = False
        return found

    def registered(self, host: NewHost) -> None:
        """A candidate became a host."""
        self._waiting.pop(host.mac, None)
        self._running.discard(host.mac)
        self.hosts[host.name] = host
        self._known[host.mac] = Known(host.name)

    def refused(self, mac: str) -> None:
        """A candidate could not be registered; its next packet makes it one again."""
        self._waiting.pop(mac, None)
        self._running.discard(mac)

    def postponed(self) -> None:
        """The database is away: who was under way stays first in the queue."""
        self._running.clear()

    def _in_the_way(self) -> str | None:
        """In ordered mode, the host that must come first. Who has no order never asks, and is not waited for."""
        if self.policy.mode != "ordered" or self._go_on:
            return None
        return next(iter(self.missing), None)

    # --- how new hosts get on ---

    def progress(self, name: str, *, stage: str, outcome: str, text: str = "", status: int | None = None) -> bool:
        """Note a line of a host's timeline; False when it is none of this run's."""
        host = self.hosts.get(name)
        if host is None:
            return False
        why = text if outcome == "failed" else "" if outcome == "ok" else host.why
        self.hosts[name] = replace(
            host, stage=stage, outcome=outcome, why=why, status=host.status if status is None else status
        )
        return True

    # --- the operator ---

    def press(self, key: str) -> str:
        """Do what a key says (docs/insert-ethers.md); returns a line for the operator."""
        if key == "p":
            self.is_paused = not self.is_paused
            return "registration is paused" if self.is_paused else "registration goes on"
        if key == "n":
            before = self._in_the_way()
            if before is None:
                return "nobody is in the way"
            self._go_on = True
            return f"the next host does not wait for {before}"
        return ""

    @property
    def missing(self) -> list[str]:
        """New hosts that have an order and did not get their kickstart yet."""
        return [host.name for host in self.hosts.values() if host.order is not None and not host.is_kickstarted]

    @property
    def waiting(self) -> Iterable[Sighting]:
        """Who waits to be registered, in order of arrival."""
        return self._waiting.values()

    @property
    def is_full(self) -> bool:
        """Whether as many hosts are registered as were asked for."""
        return self.policy.count is not None and len(self.hosts) >= self.policy.count
