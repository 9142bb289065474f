"""The inventory at one moment: appliances, hosts, and who a request comes from.

``Cluster`` is an immutable snapshot; adapters/database.py loads a new one when the inventory changed. A host's
attributes are put together here, with Rocks' precedence (intrinsic < global < os < appliance < rack < host).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from avalanche.attributes import SCOPES, Attribute, Attributes
from avalanche.bootaction import INSTALL, RUN, BootAction, find_action
from avalanche.errors import ClusterError, IdentityConflict, UnknownHost
from avalanche.names import (
    MAX_NUMBER,
    check_card,
    check_device,
    check_host_name,
    check_label,
    check_line,
    check_title,
    is_host_name,
    unknown,
)
from avalanche.network import Network

ARCH = "x86_64"
OS = "linux"
DEFAULT_ATTRIBUTES = {
    "Kickstart_Lang": "en_US.UTF-8",
    "Kickstart_Keyboard": "us",
    "Kickstart_Timezone": "UTC",
}
"""The global attributes of a new database."""

FEDORA = "43"
"""The Fedora that the release ``fedora`` means, as the judge does."""

_NO_FRONTEND, _NO_HOST = "192.0.2.1", "192.0.2.10"  # RFC 5737: addresses for documentation, nobody's

_EL = re.compile(r"el([0-9]+)")


@dataclass(frozen=True, slots=True)
class Appliance:
    """A kind of host; ``root`` is the graph node its traversal starts at, in the graph named ``graph``."""

    name: str
    root: str
    graph: str = "default"
    os: str = OS


@dataclass(frozen=True, slots=True)
class Membership:
    """A named group of hosts: of one appliance, installed from one distribution.

    Attributes:
        distribution: None: what the frontend serves by default.
        public: whether insert-ethers offers it.
        compute: whether its hosts are there to compute; Rocks' column of that name.
    """

    name: str
    appliance: str
    distribution: str | None = None
    public: bool = True
    compute: bool = False

    def __post_init__(self) -> None:
        check_title("membership", self.name)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the inventory says about a distribution; its packages are in its generations."""

    name: str
    os_release: str = ""
    lang: str = ""


@dataclass(frozen=True, slots=True)
class RollEntry:
    """A roll that the frontend was told of: ``folder`` holds its graphs and node files."""

    name: str
    version: str
    arch: str
    folder: str
    os: str = OS
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Interface:
    """A host's network card: MAC in lower case with colons, address in canonical form; either may be unknown.

    Attributes:
        device: the system's name for it, like ``eno1``.
        network: the name of the network it is in.
        name: what the host is called in that network; None: its own name.
    """

    mac: str | None = None
    ip: str | None = None
    device: str | None = None
    network: str | None = None
    name: str | None = None
    module: str | None = None
    vlan: int | None = None
    options: str | None = None
    channel: str | None = None

    def __post_init__(self) -> None:
        if self.mac is None and self.ip is None and self.device is None:
            raise ClusterError("an interface needs a MAC, an address or a device")
        if self.mac is not None:
            check_card(self.mac)
        if self.device is not None:
            check_device(self.device)
        if self.name is not None:
            check_host_name(self.name)
        if self.vlan is not None and not 1 <= self.vlan <= 4094:
            raise ClusterError(f"a VLAN is from 1 to 4094, not {self.vlan}")
        for what, text, size in (
            ("module", self.module, 64),
            ("options", self.options, 255),
            ("channel", self.channel, 128),
        ):
            if text is not None:
                check_line(what, text, size)


@dataclass(frozen=True, slots=True)
class Lock:
    """Why a host may be neither changed nor installed: who said so, when, and what for."""

    by: str
    at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the cluster.

    Attributes:
        membership: "" for a host that is to be added: the first membership of its appliance.
    """

    name: str
    appliance: str
    rack: int
    rank: int
    interfaces: tuple[Interface, ...] = ()
    membership: str = ""
    cpus: int = 1
    arch: str = ARCH
    os: str = OS
    runaction: str = RUN
    installaction: str = INSTALL
    comment: str = ""
    aliases: tuple[str, ...] = ()
    lock: Lock | None = None

    @property
    def address(self) -> str | None:
        """The first address it has."""
        return next((interface.ip for interface in self.interfaces if interface.ip), None)

    @property
    def mac(self) -> str | None:
        """The first MAC it has."""
        return next((interface.mac for interface in self.interfaces if interface.mac), None)


def check_host(host: Host) -> Host:
    """Return a host that may be stored as it is. Whether its names are free, only the inventory knows.

    Raises:
        ClusterError: a field is out of range.
    """
    for name in (host.name, *host.aliases):
        check_host_name(name)
    for what, number, low in (("rack", host.rack, 0), ("rank", host.rank, 0), ("cpus", host.cpus, 1)):
        if not low <= number <= MAX_NUMBER:
            raise ClusterError(f"{host.name}: {what} is from {low} to {MAX_NUMBER}, not {number}")
    check_label("architecture", host.arch, 32)
    check_label("os", host.os, 32)
    check_line("runaction", host.runaction, 64)
    check_line("installaction", host.installaction, 64)
    check_line("comment", host.comment, 255)
    return host


def check_unlocked(host: Host) -> None:
    """See that a host may be changed and installed.

    Raises:
        ClusterError: it is locked; says by whom and what for.
    """
    if host.lock is not None:
        raise ClusterError(locked(host.name, host.lock.by, host.lock.why))


def locked(name: str, by: str, why: str) -> str:
    """Say that a host is locked, and what to do."""
    reason = f" ({why})" if why else ""
    return f"{name} is locked by {by}{reason}; unlock it first: avalanche host unlock {name}"


@dataclass(frozen=True, slots=True)
class Setting:
    """An attribute as an administrator set it: for everyone at a scope who is called ``owner`` ("" for global)."""

    scope: str
    owner: str
    name: str
    value: str = field(repr=False)
    secret: bool = False
    author: str = field(default="", compare=False)
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Cluster:
    """Everything the database knows about hosts, at one revision."""

    revision: int
    appliances: Mapping[str, Appliance]
    hosts: Mapping[str, Host]
    settings: tuple[Setting, ...]
    memberships: Mapping[str, Membership] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    rolls: tuple[RollEntry, ...] = ()
    bootactions: Mapping[str, BootAction] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """Return a host by its name.

        Raises:
            UnknownHost: there is none; names the closest ones and says how to add it.
        """
        found = self.hosts.get(name)
        if found is None:
            # What no host can be called is not put into a command that a person may copy.
            word = name if is_host_name(name) else "NAME"
            raise UnknownHost(unknown("host", name, self.hosts, f"avalanche host add {word} --mac MAC --ip ADDRESS"))
        return found

    def appliance(self, name: str) -> Appliance:
        """Return an appliance by its name.

        Raises:
            ClusterError: there is none.
        """
        found = self.appliances.get(name)
        if found is None:
            raise ClusterError(unknown("appliance", name, self.appliances, f"avalanche appliance add {name}"))
        return found

    def membership(self, name: str) -> Membership:
        """Return a membership by its name.

        Raises:
            ClusterError: there is none.
        """
        found = self.memberships.get(name)
        if found is None:
            remedy = f"avalanche membership add '{name}' --appliance APPLIANCE"
            raise ClusterError(unknown("membership", name, self.memberships, remedy))
        return found

    def network(self, name: str) -> Network:
        """Return a network by its name.

        Raises:
            ClusterError: there is none.
        """
        found = self.networks.get(name)
        if found is None:
            raise ClusterError(unknown("network", name, self.networks, f"avalanche network add {name} --subnet SUBNET"))
        return found

    def distribution(self, name: str) -> Distribution:
        """Return what the inventory says about a distribution.

        Raises:
            ClusterError: it says nothing.
        """
        found = self.distributions.get(name)
        if found is None:
            raise ClusterError(unknown("distribution", name, self.distributions, f"avalanche dist add {name}"))
        return found

    def boot_action(self, host: Host, *, installs: bool) -> BootAction:
        """Say what a host boots over the network.

        Raises:
            ClusterError: its action is not there.
        """
        return find_action(host.installaction if installs else host.runaction, self.bootactions)

    def find(self, text: str) -> Host:
        """Return the host that a person means by a name, an alias, a MAC or an address.

        Raises:
            UnknownHost: nobody has it; names the closest names.
        """
        name = self._by_alias.get(text) or self._by_mac.get(text.lower().replace("-", ":")) or self._by_ip.get(text)
        return self.hosts[name] if name is not None else self.host(text)

    def identify(self, macs: Iterable[str], address: str) -> Host:
        """Say which host a request comes from. MACs and address are hints that must agree.

        Args:
            macs: what the installer says its cards are, canonical.
            address: where the request comes from, canonical.

        Raises:
            IdentityConflict: the hints name different hosts.
            UnknownHost: they name none; says how to register it.
        """
        macs = tuple(macs)
        hints = [(f"MAC {mac}", self._by_mac[mac]) for mac in macs if mac in self._by_mac]
        if address in self._by_ip:
            hints.append((f"address {address}", self._by_ip[address]))
        if not hints:
            who = ", ".join([f"MAC {mac}" for mac in macs] + [f"address {address}"])
            mac = macs[0] if macs else "MAC"
            raise UnknownHost(f"no host has {who}; register it: avalanche host add NAME --mac {mac} --ip {address}")
        if any(name != hints[0][1] for _, name in hints):
            told = ", ".join(f"{hint} is {name}" for hint, name in hints)
            raise IdentityConflict(
                f"the request names several hosts: {told}; mend the inventory (avalanche host show NAME)"
            )
        return self.hosts[hints[0][1]]

    def attributes(self, host: Host, intrinsic: Mapping[str, str]) -> Attributes:
        """Put a host's attributes together.

        Args:
            intrinsic: what holds for every host of this frontend (release, distribution, ...); the host's own facts
                are added here.
        """
        own = {
            **intrinsic,
            "hostname": host.name,
            "appliance": host.appliance,
            "root": self.appliance(host.appliance).root,
            "rack": str(host.rack),
            "rank": str(host.rank),
            "os": host.os,
            "arch": host.arch,
        }
        membership = self.memberships.get(host.membership)
        if membership is not None:
            own["membership"] = membership.name
            own["distribution"] = membership.distribution or intrinsic["distribution"]
        if host.address:
            own["hostaddr"] = host.address
        if host.mac:
            own["mac"] = host.mac
        rows = [Attribute(name, value, "intrinsic") for name, value in own.items()]
        for scope, owner in _owners(host).items():
            found = self._settings.get((scope, owner), ())
            rows += [Attribute(row.name, row.value, scope, row.secret) for row in found]
        return _with_network(rows)

    def strongest(self, host: Host, name: str) -> str | None:
        """The value of a host's attribute that is not intrinsic, without putting all of them together."""
        for owner in reversed(_owners(host).items()):
            for setting in self._settings.get(owner, ()):
                if setting.name == name:
                    return setting.value
        return None

    def setting(self, host: Host, scope: str, name: str) -> Setting | None:
        """Where a host's attribute is set at a scope; None for an intrinsic one, which nobody set."""
        found = self._settings.get((scope, _owners(host).get(scope, "")), ())
        return next((setting for setting in found if setting.name == name), None)

    @cached_property
    def _by_alias(self) -> dict[str, str]:
        return {alias: host.name for host in self.hosts.values() for alias in host.aliases}

    @cached_property
    def _by_mac(self) -> dict[str, str]:
        return {card.mac: host.name for host in self.hosts.values() for card in host.interfaces if card.mac}

    @cached_property
    def _by_ip(self) -> dict[str, str]:
        return {card.ip: host.name for host in self.hosts.values() for card in host.interfaces if card.ip}

    @cached_property
    def _settings(self) -> dict[tuple[str, str], list[Setting]]:
        found: dict[tuple[str, str], list[Setting]] = {}
        for setting in self.settings:
            found.setdefault((setting.scope, setting.owner), []).append(setting)
        return found


def _owners(host: Host) -> dict[str, str]:
    """Who a host is at each scope, weakest first."""
    return {"global": "", "os": host.os, "appliance": host.appliance, "rack": str(host.rack), "host": host.name}


def intrinsic_attributes(*, release: str, distribution: str, frontend: str | None = None) -> dict[str, str]:
    """The attributes every host of a frontend has from birth; ``frontend`` is the address hosts reach it at."""
    el = _EL.fullmatch(release)
    family, major = ("el", el.group(1)) if el else ("fedora", FEDORA)
    found = {"release": release, "distribution": distribution, "os_family": family, "os_major": major}
    if frontend is not None:
        found["Kickstart_PrivateKickstartHost"] = frontend
    return found


def free_attributes(root: str, release: str, given: Mapping[str, str]) -> Attributes:
    """The attributes of a compilation without a database: defaults for ``root``, and what the caller gives.

    The global ones are those of a new database. ``given`` has the scope host, the strongest.
    """
    own = {
        **intrinsic_attributes(release=release, distribution="default", frontend=_NO_FRONTEND),
        "hostname": f"{root}-0-0",
        "hostaddr": _NO_HOST,
        "appliance": root,
        "root": root,
        "rack": "0",
        "rank": "0",
        "os": OS,
        "arch": ARCH,
    }
    rows = [Attribute(name, value, "intrinsic") for name, value in own.items()]
    rows += [Attribute(name, value, "global") for name, value in DEFAULT_ATTRIBUTES.items()]
    return _with_network(rows + [Attribute(name, value, "host") for name, value in given.items()])


def _with_network(rows: list[Attribute]) -> Attributes:
    """Add what follows from a host's address and the private network's attributes: intrinsic ones, as text.

    ``netmask`` and ``prefix`` come from ``Kickstart_PrivateNetmask`` (255.255.0.0), from
    ``Kickstart_PrivateNetmaskCIDR`` (16), or from the end of ``Kickstart_PrivateNetwork`` (10.1.0.0/16);
    ``private_network`` is the network with its prefix. ``gateway`` and ``nameserver`` are the frontend unless
    ``Kickstart_PrivateGateway`` and ``Kickstart_PrivateDNSServers`` say otherwise; ``nameserver_list`` is the same as
    key files write it.

    Raises:
        ClusterError: the attributes do not describe an IPv4 network.
    """
    attributes = Attributes(rows)
    frontend = attributes.get("Kickstart_PrivateKickstartHost")
    servers = attributes.get("Kickstart_PrivateDNSServers") or frontend
    gateway = attributes.get("Kickstart_PrivateGateway") or frontend
    found: dict[str, str] = {}
    network = _private_network(attributes)
    if network is not None:
        found |= {"netmask": str(network.netmask), "prefix": str(network.prefixlen), "private_network": str(network)}
    if gateway is not None:
        found["gateway"] = gateway
    if servers is not None:
        names = servers.replace(",", " ").split()
        found |= {"nameserver": ",".join(names), "nameserver_list": "".join(f"{name};" for name in names)}
    return Attributes([Attribute(name, value, "intrinsic") for name, value in found.items()] + rows)


def _private_network(attributes: Attributes) -> ipaddress.IPv4Network | None:
    network = attributes.get("Kickstart_PrivateNetwork") or attributes.get("hostaddr")
    mask = attributes.get("Kickstart_PrivateNetmask") or attributes.get("Kickstart_PrivateNetmaskCIDR")
    if network is None or (mask is None and "/" not in network):
        return None
    text = network if mask is None else f"{network.partition('/')[0]}/{mask}"
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise ClusterError(
            f"{text!r} is not an IPv4 network; write Kickstart_PrivateNetwork as 10.1.0.0 and "
            "Kickstart_PrivateNetmask as 255.255.0.0"
        ) from None


def check_setting(setting: Setting) -> Setting:
    """Return a setting as it is.

    Raises:
        ClusterError: the scope cannot be set.
        ConfigError: the name or value is none.
    """
    if setting.scope not in SCOPES or setting.scope == "intrinsic":
        raise ClusterError(f"{setting.scope!r} is not a scope; it is one of: {', '.join(SCOPES[1:])}")
    Attribute(setting.name, setting.value, setting.scope, setting.secret)
    return setting
