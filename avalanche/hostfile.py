"""Hosts in a file, as CSV or YAML: read with the line of everything, and compared with the inventory before it changes.

A host that the inventory has is changed in what the file names; one that it has not is added; others stay as they are.
So with its cards: one that the file names by MAC, device or address is changed, a new one added, the others stay.
In CSV a host with several interfaces has several lines. docs/database.md shows both formats.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import yaml

from avalanche.admission import Admission
from avalanche.cluster import Cluster, Host, Interface, check_unlocked
from avalanche.errors import AvalancheError, ClusterError, DefinitionError
from avalanche.names import check_host_name, numbers_of, parse_ip, parse_mac

MAX_SIZE = 32 << 20  # bytes
MAX_DEPTH = 10  # of YAML; hosts need 4

_HOST = ("appliance", "membership", "rack", "rank", "cpus", "arch", "os", "runaction", "installaction", "comment")
_CARD = ("device", "mac", "ip", "network", "name", "module", "vlan", "options", "channel")
# In one line of CSV a host's name and a card's would be the same word.
_CSV_CARD = {"interface": "name", **{field: field for field in _CARD if field != "name"}}
_NUMBERS = {"rack", "rank", "cpus", "vlan"}


class HostFileError(DefinitionError):
    """A file of hosts is wrong; names file and line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says about one host: the fields it names; None for interfaces or aliases that it does not."""

    name: str
    line: int
    fields: Mapping[str, str | int]
    interfaces: tuple[Interface, ...] | None = None
    aliases: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do. ``changed`` has each host as it is and as it would be."""

    added: tuple[Host, ...]
    changed: tuple[tuple[Host, Host], ...]
    same: int

    def lines(self) -> Iterator[str]:
        """The difference as a person reads it: ``+`` for a host that is new, ``~`` for one that changes."""
        for host in self.added:
            yield f"+ {host.name}  {host.membership}  rack {host.rack} rank {host.rank}" + "".join(
                f"  {_card_text(card)}" for card in host.interfaces
            )
        for before, after in self.changed:
            for field, old, new in _differences(before, after):
                yield f"~ {before.name}  {field}: {old or '-'} -> {new or '-'}"


def parse_hosts(data: bytes, *, file: str) -> list[Entry]:
    """Read a file of hosts: YAML when its name ends so, else CSV.

    Raises:
        HostFileError: it is malformed; names the line.
    """
    if len(data) > MAX_SIZE:
        raise HostFileError(f"larger than {MAX_SIZE >> 20} MiB", file=file)
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin their CSV with a mark
    except UnicodeDecodeError as error:
        raise HostFileError("not UTF-8 text", file=file, line=data[: error.start].count(b"\n") + 1) from None
    if file.endswith((".yaml", ".yml")):
        return list(_Yaml(file).entries(text))
    return _merged(_csv_entries(text, file), file)


def plan_import(cluster: Cluster, entries: Sequence[Entry], *, file: str) -> Plan:
    """Compare a file with the inventory.

    Raises:
        HostFileError: an entry cannot be as it is written; names the line.
    """
    admission = Admission.of(cluster)
    wanted = []
    for entry in entries:
        before = cluster.hosts.get(entry.name)
        if before is not None:
            admission.release(before)
        wanted.append((entry, before))
    added: list[Host] = []
    changed: list[tuple[Host, Host]] = []
    for entry, before in wanted:
        with _located(file, entry.line):
            after = admission.admit(_wanted(entry, before))
            if before is not None and after != before:
                check_unlocked(before)
        if before is None:
            added.append(after)
        elif after != before:
            changed.append((before, after))
    return Plan(tuple(added), tuple(changed), len(entries) - len(added) - len(changed))


def _wanted(entry: Entry, before: Host | None) -> Host:
    fields: dict[str, Any] = dict(entry.fields)
    if before is None:
        rack, rank = numbers_of(entry.name)
        if "appliance" not in fields and "membership" not in fields:
            fields["appliance"] = "compute"
        before = Host(entry.name, fields.get("appliance", ""), rack, rank)
    elif {"membership", "appliance"} & fields.keys():
        fields = {"membership": "", "appliance": ""} | fields
    after = replace(before, **fields)
    if entry.interfaces is not None:
        after = replace(after, interfaces=_cards(before.interfaces, entry.interfaces))
    return after if entry.aliases is None else replace(after, aliases=entry.aliases)


def _cards(before: tuple[Interface, ...], named: tuple[Interface, ...]) -> tuple[Interface, ...]:
    """A host's cards when a file names some: those keep what it leaves out, the others stay; it names none: none."""
    if not named:
        return ()
    cards = list(before)
    free = list(range(len(before)))
    missing = list(named)
    for is_same in _SAME:
        for card in tuple(missing):
            place = next((place for place in free if is_same(before[place], card)), None)
            if place is not None:
                free.remove(place)
                missing.remove(card)
                given = {field: value for field in _CARD if (value := getattr(card, field)) is not None}
                cards[place] = replace(before[place], **given)
    return (*cards, *missing)


def _is_less_known(one: Interface, other: Interface) -> bool:
    """Of one of them neither MAC nor device is known, and nothing says that it is not the other."""
    is_nameless = any(card.mac is None and card.device is None for card in (one, other))
    return is_nameless and (one.network is None or other.network in (None, one.network))


# What tells that a card of a file is one that the host has, the surest first.
_SAME: tuple[Callable[[Interface, Interface], bool], ...] = (
    lambda one, other: one.mac is not None and one.mac == other.mac,
    lambda one, other: one.device is not None and one.device == other.device,
    lambda one, other: one.ip is not None and one.ip == other.ip,
    _is_less_known,
)


@contextmanager
def _located(file: str, line: int) -> Iterator[None]:
    """Let what is wrong name its line."""
    try:
        yield
    except HostFileError:
        raise
    except AvalancheError as error:
        raise HostFileError(str(error), file=file, line=line) from None


# --- CSV ---


def _csv_entries(text: str, file: str) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    before = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise HostFileError(f"not CSV: {error}", file=file, line=reader.line_num) from None
        line, before = before + 1, reader.line_num
        if row is None:
            break
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if columns is None:
            columns = [cell.lower() for cell in cells]
            _check_columns(columns, file, line)
            continue
        if len(cells) != len(columns):
            raise HostFileError(f"{len(cells)} cells under {len(columns)} columns", file=file, line=line)
        with _located(file, line):
            entry = _csv_entry(columns, cells, line)
        yield entry
    if columns is None:
        raise HostFileError("empty; the first line names the columns: host,mac,ip,...", file=file)


def _check_columns(columns: Sequence[str], file: str, line: int) -> None:
    known = ("host", "aliases", *_HOST, *_CSV_CARD)
    for column in columns:
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            raise HostFileError(f"unknown column {column!r}; {hint}", file=file, line=line)
        if columns.count(column) > 1:
            raise HostFileError(f"column {column!r} stands twice", file=file, line=line)
    if "host" not in columns:
        raise HostFileError("there is no column 'host'", file=file, line=line)


def _csv_entry(columns: Sequence[str], cells: Sequence[str], line: int) -> Entry:
    row = {column: cell for column, cell in zip(columns, cells, strict=True) if cell != ""}
    name = check_host_name(row.get("host", ""))
    fields = {field: _value(field, row[field]) for field in _HOST if field in row}
    card = {field: row[column] for column, field in _CSV_CARD.items() if column in row}
    interfaces = (_interface(card),) if card else None
    return Entry(name, line, fields, interfaces, tuple(row["aliases"].split()) if "aliases" in row else None)


def _merged(entries: Iterator[Entry], file: str) -> list[Entry]:
    """Put the lines of one host together: what a later one adds is an interface."""
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.get(entry.name)
        if first is None:
            found[entry.name] = entry
            continue
        for field, value in entry.fields.items():
            if first.fields.get(field, value) != value:
                told = f"{field} is {first.fields[field]!r} on line {first.line}, {value!r} here"
                raise HostFileError(f"{entry.name}: {told}", file=file, line=entry.line)
        if entry.interfaces is None:
            raise HostFileError(
                f"{entry.name} stands on line {first.line} already; a second line adds an interface",
                file=file,
                line=entry.line,
            )
        found[entry.name] = replace(
            first,
            fields={**first.fields, **entry.fields},
            interfaces=(first.interfaces or ()) + entry.interfaces,
            aliases=first.aliases if entry.aliases is None else (first.aliases or ()) + entry.aliases,
        )
    return list(found.values())


# --- YAML ---


class _Yaml:
    """Reads the nodes of a document, which know their lines; no tag makes an object."""

    def __init__(self, file: str) -> None:
        self._file = file

    def entries(self, text: str) -> Iterator[Entry]:
        try:
            self._check_events(text)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark is not None else None
            reason = getattr(error, "problem", None) or str(error).split("\n")[0]
            raise HostFileError(f"not YAML: {reason}", file=self._file, line=line) from None
        if root is None:
            raise HostFileError("empty; write hosts: {NAME: {mac: ..., ip: ...}}", file=self._file)
        top = self._mapping(root, ("hosts",), "the file")
        if "hosts" not in top:
            self._fail(root, "there is no key 'hosts'")
        for name, node in self._pairs(top["hosts"], "hosts"):
            yield self._entry(name, node)

    def _check_events(self, text: str) -> None:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1 if event.start_mark is not None else None
            if isinstance(event, yaml.AliasEvent):
                message = "references (*name) are not read here; write the value out"
                raise HostFileError(message, file=self._file, line=line)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise HostFileError("nested too deeply", file=self._file, line=line)

    def _entry(self, key: yaml.Node, node: yaml.Node) -> Entry:
        line = key.start_mark.line + 1
        with _located(self._file, line):
            name = check_host_name(self._text(key))
        if isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~"):
            return Entry(name, line, {})
        found = self._mapping(node, (*_HOST, *_CARD, "interfaces", "aliases"), name)
        fields = {}
        for field in _HOST:
            if field in found:
                with _located(self._file, found[field].start_mark.line + 1):
                    fields[field] = _value(field, self._text(found[field]))
        cards = {field: found[field] for field in _CARD if field in found}
        if cards and "interfaces" in found:
            self._fail(found["interfaces"], f"{name}: interfaces stand in the list, or one stands beside it")
        interfaces: tuple[Interface, ...] | None = (self._interface(cards, line),) if cards else None
        if "interfaces" in found:
            items = self._items(found["interfaces"], f"interfaces of {name}")
            interfaces = tuple(
                self._interface(self._mapping(item, _CARD, "interface"), item.start_mark.line + 1) for item in items
            )
        aliases = None
        if "aliases" in found:
            aliases = tuple(self._text(item) for item in self._items(found["aliases"], f"aliases of {name}"))
        return Entry(name, line, fields, interfaces, aliases)

    def _interface(self, card: Mapping[str, yaml.Node], line: int) -> Interface:
        values = {field: self._text(node) for field, node in card.items()}
        with _located(self._file, line):
            return _interface(values)

    def _mapping(self, node: yaml.Node, known: Sequence[str], what: str) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in self._pairs(node, what):
            name = self._text(key)
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
                self._fail(key, f"unknown key {name!r}; {hint}")
            found[name] = value
        return found

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{what} is no mapping; write NAME: VALUE lines")
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = self._text(key)
            if name in seen:
                self._fail(key, f"{name!r} stands on line {seen[name]} already")
            seen[name] = key.start_mark.line + 1
            yield key, value

    def _items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{what} is no list; write [A, B] or lines that begin with '-'")
        return list(node.value)

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, "expected one value here")
        return str(node.value)

    def _fail(self, node: yaml.Node, message: str) -> None:
        raise HostFileError(message, file=self._file, line=node.start_mark.line + 1)


# --- shared ---


def _value(field: str, text: str) -> str | int:
    if field not in _NUMBERS:
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ClusterError(f"{field} {text!r} is not a number")
    return int(text)


def _interface(values: Mapping[str, str]) -> Interface:
    card: dict[str, Any] = {field: _value(field, value) for field, value in values.items() if value != ""}
    for field, parse in (("mac", parse_mac), ("ip", parse_ip)):
        if field in card:
            card[field] = parse(card[field])
    return Interface(**card)


def _card_text(card: Interface) -> str:
    return " ".join(str(value) for value in (card.device, card.mac, card.ip, card.network) if value is not None)


def _differences(before: Host, after: Host) -> Iterator[tuple[str, str, str]]:
    for field in _HOST:
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield field, str(old), str(new)
    if before.aliases != after.aliases:
        yield "aliases", " ".join(before.aliases), " ".join(after.aliases)
    if before.interfaces != after.interfaces:
        old, new = (", ".join(map(_card_text, host.interfaces)) for host in (before, after))
        yield "interfaces", old, new
