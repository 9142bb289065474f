"""Reports: the files that other services read, made from the roster with jinja2 templates.

Each report has a template in ``templates/reports``; a roll's ``templates/NAME.j2`` overrides it, and a site's overrides
both. A template sees ``roster`` (roster.py), ``folder`` (where its files are put), and what its report adds.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment

from avalanche.errors import ClusterError, ConfigError, DefinitionError
from avalanche.groups import host_groups
from avalanche.kea import kea_settings
from avalanche.roster import Reservation, Roster

Files = dict[str, str]
"""Texts by path, relative to the folder they are put in."""


class TemplateError(DefinitionError):
    """A template of a site or roll cannot be rendered."""


@dataclass(frozen=True, slots=True)
class Template:
    """The text of a template; ``file`` is its path as its author knows it."""

    file: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """A kind of service file.

    Attributes:
        path: its main file, relative to the folder they are put in.
        place: where the program that reads it looks for that file.
        templates: the names of its templates.
        help: what it is for.
    """

    name: str
    path: str
    place: str
    help: str
    templates: tuple[str, ...]
    make: Callable[[Renderer, Roster, str], Files] = field(repr=False)


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, which bounds ranges, bounds what grows as fast: a text or list times a number, and powers."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply, or raise to a power, what cannot fill the memory."""
        sizes = [len(value) if isinstance(value, str | list | tuple) else abs(value) for value in (left, right)]
        if operator == "**" and max(sizes) > 1000:
            raise SecurityError(f"{left!r} ** {right!r} is too big; 1000 is the most")
        if not all(isinstance(value, int | float) for value in (left, right)) and sizes[0] * sizes[1] > MAX_RANGE:
            raise SecurityError(f"a text or list of {sizes[0] * sizes[1]} items is too big; {MAX_RANGE} are the most")
        return super().call_binop(context, operator, left, right)


class Renderer:
    """Renders templates: ours, or those that a roll or site put in their place.

    Args:
        overrides: templates by name.
    """

    def __init__(self, overrides: Mapping[str, Template] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._kept: dict[str, dict[str, tuple[Mapping[str, Any], str]]] = {}
        # Nothing here is markup. The sandbox keeps a roll's template to the values it is given.
        self._environment = _Sandbox(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            loader=jinja2.FunctionLoader(self._load),
            autoescape=False,
        )
        self._environment.filters["json"] = _json
        self._environment.filters["leasable"] = leasable

    def __repr__(self) -> str:
        return f"<Renderer {', '.join(sorted(self._overrides)) or 'as shipped'}>"

    def text(self, name: str, **values: Any) -> str:
        """Render a template.

        Raises:
            TemplateError: it is wrong; names file and line.
            MemoryError: as it says.
        """
        try:
            return self._environment.get_template(name).render(values)
        except jinja2.TemplateSyntaxError as error:
            raise self._wrong(name, error, error.lineno) from error
        except MemoryError:
            raise
        except Exception as error:  # a template is somebody's program: it may raise anything
            raise self._wrong(name, error, self._line(error)) from error

    def texts(self, name: str, each: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Render a template for each of many values; what it was rendered for the last time is not made again. Raises
        as ``text``."""
        before, kept = self._kept.get(name, {}), {}
        for key, values in each.items():
            known = before.get(key)
            kept[key] = known if known is not None and known[0] == values else (values, self.text(name, **values))
        self._kept[name] = kept
        return {key: text for key, (_, text) in kept.items()}

    def _load(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        found = self._overrides.get(name)
        if found is None:
            return _shipped(name), f"templates/reports/{name}.j2", lambda: True
        return found.text, found.file, lambda: True

    def _wrong(self, name: str, error: Exception, line: int | None) -> TemplateError:
        found = self._overrides.get(name)
        file = found.file if found else f"templates/reports/{name}.j2"
        remedy = "mend it, or remove it to have the shipped one"
        return TemplateError(f"{' '.join(str(error).split())}; {remedy}", file=file, line=line)

    def _line(self, error: Exception) -> int | None:
        # jinja2 rewrites the traceback so that its frames stand in the template.
        files = {template.file for template in self._overrides.values()}
        line, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename in files:
                line = trace.tb_lineno
            trace = trace.tb_next
        return line


def render(names: Iterable[str], roster: Roster, renderer: Renderer, folder: str) -> Files:
    """Render reports.

    Args:
        folder: where the files are put; files that name others need it.

    Raises:
        TemplateError: a site's template is wrong.
    """
    files: Files = {}
    for name in names:
        report = REPORTS[name]
        files |= report.make(renderer, roster, folder)
    return files


# --- dnsmasq ---

HOSTS_FOLDER = "dnsmasq-hosts"

# dnsmasq tells the words of a dhcp-host line apart by their looks: these would be a lease time or an order.
_NO_NAME = re.compile(r"[0-9]+[smhdwt]?|infinite|ignore|deprecated")


def leasable(name: str) -> str:
    """A host's name for a dhcp-host line; "" when dnsmasq would take it for something else."""
    return "" if _NO_NAME.fullmatch(name) else name


def dnsmasq_hosts(renderer: Renderer, roster: Roster) -> Files:
    """One file per host for dnsmasq's ``dhcp-hostsdir``, by the host's name.

    Raises:
        TemplateError: a site's template is wrong.
    """
    found: dict[str, list[Reservation]] = {}
    for reservation in roster.reservations:
        found.setdefault(reservation.host.name, []).append(reservation)
    return renderer.texts("dnsmasq-host", {name: {"reservations": mine} for name, mine in found.items()})


def _dnsmasq(renderer: Renderer, roster: Roster, folder: str) -> Files:
    if not roster.dhcp.interfaces:
        # Without any, dnsmasq would answer on all of them.
        raise ConfigError("dhcp.interfaces is missing in avalanche.toml: on which network cards may dnsmasq answer?")
    if not roster.served:
        wanted = roster.dhcp.networks[0] if roster.dhcp.networks else "NAME"
        raise ClusterError(
            f"none of dhcp.networks ({', '.join(roster.dhcp.networks)}) is an IPv4 network of the database;"
            f" add it: avalanche network add {wanted} --subnet 10.1.0.0/16"
        )
    hosts = {f"{HOSTS_FOLDER}/{name}": text for name, text in dnsmasq_hosts(renderer, roster).items()}
    main = renderer.text("dnsmasq", roster=roster, dhcp=roster.dhcp, folder=folder, hosts_folder=HOSTS_FOLDER)
    return {"dnsmasq.conf": main, **hosts}


# --- the others ---


def _single(name: str, path: str) -> Callable[[Renderer, Roster, str], Files]:
    """A report of one file whose template needs nothing but the roster."""

    def make(renderer: Renderer, roster: Roster, folder: str) -> Files:
        return {path: renderer.text(name, roster=roster, dhcp=roster.dhcp, folder=folder)}

    return make


def _kea(renderer: Renderer, roster: Roster, folder: str) -> Files:
    return {"kea-dhcp4.conf": renderer.text("kea", roster=roster, dhcp=roster.dhcp, kea=kea_settings(roster))}


def _clustershell(renderer: Renderer, roster: Roster, folder: str) -> Files:
    return {"clustershell.yaml": renderer.text("clustershell", roster=roster, groups=host_groups(roster))}


def _json(value: object) -> str:
    return json.dumps(value, indent=1)


@cache
def _shipped(name: str) -> str:
    source = pkgutil.get_data("avalanche", f"templates/reports/{name}.j2")
    assert source is not None, name
    return source.decode()


REPORTS: dict[str, Report] = {
    report.name: report
    for report in (
        Report(
            "dnsmasq",
            "dnsmasq.conf",
            "/etc/avalanche-dhcp/dnsmasq.conf",
            f"DHCP by dnsmasq: its settings, and {HOSTS_FOLDER}/ with one file per host",
            ("dnsmasq", "dnsmasq-host"),
            _dnsmasq,
        ),
        Report(
            "dhcpd",
            "dhcpd.conf",
            "/etc/dhcp/dhcpd.conf",
            "DHCP by ISC dhcpd",
            ("dhcpd",),
            _single("dhcpd", "dhcpd.conf"),
        ),
        Report("kea", "kea-dhcp4.conf", "/etc/kea/kea-dhcp4.conf", "DHCP by Kea", ("kea",), _kea),
        Report("hosts", "hosts", "/etc/hosts", "names and addresses", ("hosts",), _single("hosts", "hosts")),
        Report("ethers", "ethers", "/etc/ethers", "MACs and names", ("ethers",), _single("ethers", "ethers")),
        Report(
            "clustershell",
            "clustershell.yaml",
            "/etc/clustershell/groups.d/avalanche.yaml",
            "groups of hosts for clush and nodeset",
            ("clustershell",),
            _clustershell,
        ),
        Report(
            "known_hosts",
            "known_hosts",
            "/etc/ssh/ssh_known_hosts",
            "public SSH keys of hosts",
            ("known_hosts",),
            _single("known_hosts", "known_hosts"),
        ),
    )
}

TEMPLATES = tuple(sorted({name for report in REPORTS.values() for name in report.templates}))
"""The names a site's template may have."""
