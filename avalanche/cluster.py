"""The inventory at one moment: appliances, hosts, and who a request comes from.

``Cluster`` is an immutable snapshot; adapters/database.py loads a new one when the inventory changed. A host's
attributes are put together here, with Rocks' precedence (intrinsic < global < os < appliance < rack < host).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from avalanche.attributes import SCOPES, Attribute, Attributes
from avalanche.errors import ClusterError, IdentityConflict, UnknownHost

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

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_NUMBERS = re.compile(r".*?-(\d+)-(\d+)")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_EL = re.compile(r"el([0-9]+)")


@dataclass(frozen=True, slots=True)
class Appliance:
    """A kind of host; ``root`` is the graph node its traversal starts at."""

    name: str
    root: str


@dataclass(frozen=True, slots=True)
class Interface:
    """A host's network card: MAC in lower case with colons, address in canonical form; either may be unknown."""

    mac: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the cluster."""

    name: str
    appliance: str
    rack: int
    rank: int
    interfaces: tuple[Interface, ...] = ()

    @property
    def address(self) -> str | None:
        """The first address it has."""
        return next((interface.ip for interface in self.interfaces if interface.ip), None)

    @property
    def mac(self) -> str | None:
        """The first MAC it has."""
        return next((interface.mac for interface in self.interfaces if interface.mac), None)


@dataclass(frozen=True, slots=True)
class Setting:
    """An attribute as an administrator set it: for everyone at a scope who is called ``owner`` ("" for global)."""

    scope: str
    owner: str
    name: str
    value: str = field(repr=False)
    secret: bool = False


@dataclass(frozen=True)
class Cluster:
    """Everything the database knows about hosts, at one revision."""

    revision: int
    appliances: Mapping[str, Appliance]
    hosts: Mapping[str, Host]
    settings: tuple[Setting, ...]

    def host(self, name: str) -> Host:
        """Return a host by its name.

        Raises:
            UnknownHost: there is none; names the closest ones and says how to add it.
        """
        found = self.hosts.get(name)
        if found is None:
            raise UnknownHost(_unknown("host", name, self.hosts, f"avalanche host add {name} --mac MAC --ip ADDRESS"))
        return found

    def appliance(self, name: str) -> Appliance:
        """Return an appliance by its name.

        Raises:
            ClusterError: there is none.
        """
        found = self.appliances.get(name)
        if found is None:
            raise ClusterError(_unknown("appliance", name, self.appliances, f"avalanche appliance add {name}"))
        return found

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
            "os": OS,
            "arch": ARCH,
        }
        if host.address:
            own["hostaddr"] = host.address
        if host.mac:
            own["mac"] = host.mac
        rows = [Attribute(name, value, "intrinsic") for name, value in own.items()]
        owners = {"global": "", "os": OS, "appliance": host.appliance, "rack": str(host.rack), "host": host.name}
        for scope, owner in owners.items():
            found = self._settings.get((scope, owner), ())
            rows += [Attribute(row.name, row.value, scope, row.secret) for row in found]
        return _with_network(rows)

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


def check_host_name(text: str) -> str:
    """Return a host name as it is.

    Raises:
        ClusterError: it is not one.
    """
    if not _NAME.fullmatch(text) or len(text) > 253:
        raise ClusterError(f"{text!r} is not a host name: letters, digits and '-', labels separated by '.'")
    return text


def check_label(what: str, text: str) -> str:
    """Return the name of an appliance or graph node as it is.

    Raises:
        ClusterError: it is not one.
    """
    if not _LABEL.fullmatch(text):
        raise ClusterError(f"{what} {text!r} is not a name of letters, digits, '.', '_' and '-'")
    return text


def parse_mac(text: str) -> str:
    """Return a MAC in its canonical form: lower case, with colons.

    Raises:
        ClusterError: it is not one.
    """
    found = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(found):
        raise ClusterError(f"{text!r} is not a MAC; write it like 52:54:00:12:34:56")
    return found


def parse_ip(text: str) -> str:
    """Return an IP address in its canonical form; an IPv4 address in IPv6 clothes becomes plain IPv4.

    Raises:
        ClusterError: it is not one.
    """
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ClusterError(f"{text!r} is not an IP address") from None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def numbers_of(name: str) -> tuple[int, int]:
    """Read rack and rank from a name like ``compute-3-14``; (0, 0) when it has none."""
    match = _HOST_NUMBERS.fullmatch(name.partition(".")[0])
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


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


def _unknown(kind: str, name: str, known: Iterable[str], remedy: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f" (close: {', '.join(near)})" if near else ""
    return f"no {kind} is called {name!r}{hint}; add it: {remedy}"
