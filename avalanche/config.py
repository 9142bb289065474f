"""The frontend's settings: ``avalanche.toml`` as one frozen value.

Every key has a default except ``frontend.address``; an unknown key or table is an error that suggests the nearest
known one. The sample in docs/configuration.md is loaded by a test and equals these defaults.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import tomllib

from avalanche.egress import Caps
from avalanche.errors import ConfigError

RELEASES = ("el9", "el10", "fedora")  # that can be installed: their installers' Python runs the agent
WRITTEN = (*RELEASES, "el8", "el7")  # that kickstarts can be written for, to look at
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

_DNS_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_TRACKER = re.compile(r"http://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")  # 15 characters is what the kernel takes
_FOLDER = re.compile(r"/[A-Za-z0-9_./+@%=:~-]{1,200}")
# No blank, quote, comma, '#', '\\', '$' or '{': what has a meaning in a DHCP server's settings.
BOOT_FILE = re.compile(r"[A-Za-z0-9_./:@%+=~?&-]{1,127}")
_DATABASE = re.compile(
    r"(?:mysql\+pymysql|mysql|mariadb)://[^:@/?\s]+(?P<password>:[^@]*)?@(?:[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"/[A-Za-z0-9_-]{1,64}(?:\?[A-Za-z_]+=[^&\s]+(?:&[A-Za-z_]+=[^&\s]+)*)?"
)


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """How installing hosts reach the frontend, and what it serves.

    Attributes:
        address: addresses and names under which hosts reach this machine, the preferred one first. They are in the
            stub and in the server certificate.
        listen: local addresses to bind.
        http_port, https_port: both in the stub's addresses.
        rolls: folders with ``nodes/`` and ``graphs/``; later ones override.
        distribution: what a host installs unless its attribute ``distribution`` says otherwise.
        mirrors: base addresses of other servers that have the same packages; hosts take the first that serves them.
        max_streams, max_streams_per_host: package answers that run at once: in all, and to one host.
        max_waiting: package answers that wait for their turn; more are told to come back (503).
        egress_mbit: what package answers take of the network, all together; 0: as much as there is.
        stop_seconds: how long a stop waits for running answers.
    """

    address: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("0.0.0.0",)  # noqa: S104 -- a server serves
    http_port: int = 80
    https_port: int = 443
    rolls: tuple[str, ...] = ()
    distribution: str = "default"
    mirrors: tuple[str, ...] = ()
    max_streams: int = 512
    max_streams_per_host: int = 32
    max_waiting: int = 1024
    egress_mbit: int = 0
    stop_seconds: int = 30

    @property
    def caps(self) -> Caps:
        """The bounds of what package answers may take."""
        return Caps(self.egress_mbit * 1e6 / 8, self.max_streams, self.max_streams_per_host, self.max_waiting)

    def urls(self, scheme: str) -> tuple[str, ...]:
        """The base addresses for the stub, without a trailing slash and without a default port."""
        port, default = (self.http_port, 80) if scheme == "http" else (self.https_port, 443)
        suffix = "" if port == default else f":{port}"
        return tuple(f"{scheme}://{_netloc(name)}{suffix}" for name in self.address)


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Who tells installing hosts from whom to fetch.

    Attributes:
        port: where the tracker inside the frontend listens, at ``frontend.listen``.
        urls: base addresses of trackers that run by themselves (``avalanche tracker``); with any of them the frontend
            runs none.
        registry: the file in which the frontend tells those what to answer for; relative to the state directory.
    """

    port: int = 7969
    urls: tuple[str, ...] = ()
    registry: str = "tracker/registry.jsonl"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What holds for the whole cluster: its name, and the installer's release that kickstarts are written for."""

    name: str = "cluster"
    release: str = "el9"


@dataclass(frozen=True, slots=True)
class RollsConfig:
    """What the rolls may do, by their names.

    Attributes:
        trusted: their evals run on this machine, as nobody, and they may read its files.
        lax: their scripts go on when a command fails, unless they say otherwise themselves.
    """

    trusted: tuple[str, ...] = ()
    lax: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """Where hosts, attributes, orders and events are.

    Attributes:
        url: "" is the SQLite file ``avalanche.db`` of the state directory; else ``mysql+pymysql://USER@HOST/NAME``,
            without a password: that is in a file of its own.
    """

    url: str = ""

    @property
    def password_file(self) -> str | None:
        """The file that the address names for its password; None: the usual one of the state directory."""
        found = re.search(r"[?&]password_file=([^&]+)", self.url)
        return found.group(1) if found else None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How the frontend logs."""

    level: str = "info"
    format: str = "text"


@dataclass(frozen=True, slots=True)
class DhcpConfig:
    """What DHCP tells, and whether the frontend runs a server for it: a dnsmasq of its own.

    Attributes:
        interfaces: network cards of this machine that the dnsmasq answers on; with none of them, there is no dnsmasq.
        networks: the networks of the inventory that DHCP is for.
        pools: ``FIRST-LAST``: addresses for cards that nobody registered; they get no lease outside of one.
        lease_seconds: how long a lease lasts.
        program: the dnsmasq.
        run: folder of its files; every user may read it, for dnsmasq gives up being root.
        next_server: from where hosts boot; "": from whom they have their lease.
        bios, efi, efi_arm: the boot file, by the firmware that asks; "": none.
        http, http_arm: the address a UEFI boots from over HTTP; "": none.
        ipxe: the script's address for a host that runs iPXE already; "": what its firmware gets.
    """

    interfaces: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("private",)
    pools: tuple[str, ...] = ()
    lease_seconds: int = 1200
    program: str = "dnsmasq"
    run: str = "/run/avalanche/dhcp"
    next_server: str = ""
    bios: str = ""
    efi: str = ""
    efi_arm: str = ""
    http: str = ""
    http_arm: str = ""
    ipxe: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """All of ``avalanche.toml``."""

    frontend: FrontendConfig = FrontendConfig()
    tracker: TrackerConfig = TrackerConfig()
    cluster: ClusterConfig = ClusterConfig()
    rolls: RollsConfig = RollsConfig()
    database: DatabaseConfig = DatabaseConfig()
    dhcp: DhcpConfig = DhcpConfig()
    log: LogConfig = LogConfig()

    @property
    def trackers(self) -> tuple[str, ...]:
        """The base addresses of the trackers that hosts are told."""
        own = tuple(f"http://{_netloc(name)}:{self.tracker.port}" for name in self.frontend.address)
        return self.tracker.urls or own


def split_database_url(text: str) -> tuple[str, str | None]:
    """Part a database's address from its password, as it is written there: percent-encoded.

    Raises:
        ValueError: it is no such address. The line shows nothing of it: it may hold a password.
    """
    found = _DATABASE.fullmatch(text)
    if found is None:
        raise ValueError("not a database's address; write mysql+pymysql://USER:PASSWORD@HOST/NAME")
    password = found["password"]
    if password is None:
        return text, None
    return text[: found.start("password")] + text[found.end("password") :], password[1:]


def _netloc(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def parse_config(text: str, *, file: str) -> Config:
    """Read the settings.

    Args:
        file: how messages name the file.

    Raises:
        ConfigError: not TOML, an unknown table or key, or a value out of range; names file and key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    tables: dict[str, type[Any]] = {
        "frontend": FrontendConfig,
        "tracker": TrackerConfig,
        "cluster": ClusterConfig,
        "rolls": RollsConfig,
        "database": DatabaseConfig,
        "dhcp": DhcpConfig,
        "log": LogConfig,
    }
    _check_names(file, "table", document, tables)
    values = {name: _table(file, name, document.get(name, {}), kind) for name, kind in tables.items()}
    return Config(**values)


def check_address(text: str) -> str:
    """Return an IP address in its canonical form, or a DNS name as it is.

    Raises:
        ValueError: it is neither.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        # Digits and dots alone are a mistyped address, not a name.
        if not _DNS_NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
            raise ValueError(f"{text!r} is neither an IP address nor a host name") from None
        return text


def _check_names(file: str, what: str, found: Mapping[str, object], known: Mapping[str, object]) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
            raise ConfigError(f"{file}: unknown {what} '{name}'; {hint}")


def _table(file: str, table: str, found: object, kind: type[Any]) -> Any:
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: '{table}' is not a table; write [{table}]")
    known = {field.name: field for field in fields(kind)}
    _check_names(file, f"key in [{table}]", found, known)
    values = {}
    for key, value in found.items():
        try:
            values[key] = _READERS[table, key](value)
        except ValueError as error:
            raise ConfigError(f"{file}: {table}.{key}: {error}") from error
    return kind(**values)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is not a text of one line")
    return value


def _label(value: object) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise ValueError(f"{value!r} is not a name of letters, digits, '.', '_' and '-'")
    return value


def _list_of(read: Callable[[str], str]) -> Callable[[object], tuple[str, ...]]:
    def read_list(value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list) else [value]
        return tuple(read(_text(item)) for item in items)

    return read_list


def _ip(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _device(value: str) -> str:
    if re.fullmatch(r"[0-9.]+|.*[:*].*", value):
        raise ValueError(f"{value!r} is not a network card; name each one that DHCP may answer on, such as eth1")
    if not _DEVICE.fullmatch(value) or value == "lo":
        raise ValueError(f"{value!r} is not a network card that hosts can be reached by, such as eth1")
    return value


def _pool(value: str) -> str:
    first, dash, last = (part.strip() for part in value.partition("-"))
    try:
        low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    except ValueError:
        raise ValueError(f"{value!r} is not a pool such as 10.1.200.1-10.1.200.99") from None
    if not dash or low > high:
        raise ValueError(f"{value!r} ends before it begins")
    return f"{low}-{high}"


def _boot_file(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not BOOT_FILE.fullmatch(value):
        raise ValueError(f"{value!r} is not a boot file: letters, digits and ./:_-@%+=~?&, at most 127")
    return value


def _http_file(value: object) -> str:
    found = _boot_file(value)
    if found and not found.startswith("http://") and not found.startswith("https://"):
        raise ValueError(f"{value!r} is not an address such as http://10.1.1.1/boot.efi")
    return found


def _ipv4_or_nothing(value: object) -> str:
    return "" if value == "" else str(ipaddress.IPv4Address(_text(value)))


def _absolute(value: object) -> str:
    if not isinstance(value, str) or not _FOLDER.fullmatch(value):
        raise ValueError(f"{value!r} is not an absolute path of letters, digits and ._+@%=:~-")
    return value


def _url(value: str) -> str:
    if not _TRACKER.fullmatch(value):
        raise ValueError(f"{value!r} is not a base address such as http://10.1.1.2:7969")
    return value


def _database(value: object) -> str:
    if value == "":
        return ""
    url, password = split_database_url(_text(value))
    if password is not None:
        raise ValueError("no password here; write it into the file database.password of the state directory")
    return url


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return read


def _choice(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{value!r} is not one of: {', '.join(choices)}")
        return value

    return read


_READERS: Mapping[tuple[str, str], Callable[[object], object]] = {
    ("frontend", "address"): _list_of(check_address),
    ("frontend", "listen"): _list_of(_ip),
    ("frontend", "http_port"): _integer(1, 65535),
    ("frontend", "https_port"): _integer(1, 65535),
    ("frontend", "rolls"): _list_of(_text),
    ("frontend", "distribution"): _label,
    ("frontend", "mirrors"): _list_of(_url),
    ("frontend", "max_streams"): _integer(1, 100_000),
    ("frontend", "max_streams_per_host"): _integer(1, 100_000),
    ("frontend", "max_waiting"): _integer(0, 100_000),
    ("frontend", "egress_mbit"): _integer(0, 1_000_000),
    ("frontend", "stop_seconds"): _integer(0, 3600),
    ("tracker", "port"): _integer(1, 65535),
    ("tracker", "urls"): _list_of(_url),
    ("tracker", "registry"): _text,
    ("cluster", "name"): _text,
    ("cluster", "release"): _choice(RELEASES),
    ("rolls", "trusted"): _list_of(_text),
    ("rolls", "lax"): _list_of(_text),
    ("dhcp", "interfaces"): _list_of(_device),
    ("dhcp", "networks"): _list_of(_label),
    ("dhcp", "pools"): _list_of(_pool),
    ("dhcp", "lease_seconds"): _integer(120, 31_536_000),
    ("dhcp", "program"): _text,
    ("dhcp", "run"): _absolute,
    ("dhcp", "next_server"): _ipv4_or_nothing,
    ("dhcp", "bios"): _boot_file,
    ("dhcp", "efi"): _boot_file,
    ("dhcp", "efi_arm"): _boot_file,
    ("dhcp", "http"): _http_file,
    ("dhcp", "http_arm"): _http_file,
    ("dhcp", "ipxe"): _boot_file,
    ("database", "url"): _database,
    ("log", "level"): _choice(LOG_LEVELS),
    ("log", "format"): _choice(LOG_FORMATS),
}
