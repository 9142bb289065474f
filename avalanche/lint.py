"""Lint: everything in some rolls that is wrong or suspicious, at once. docs/graph-format.md, *Check*, lists the codes.

An error stops the profile of whatever it concerns; a remark does not.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avalanche.attributes import Attributes
from avalanche.cluster import free_attributes
from avalanche.compiler import compile_rolls
from avalanche.condition import Condition, Expression
from avalanche.document import Element, Reference
from avalanche.effects import Effects, LeftOut
from avalanche.errors import (
    AvalancheError,
    ConditionError,
    ConfigError,
    DefinitionError,
    GraphError,
    NodeFileError,
    UndefinedAttribute,
)
from avalanche.graph import WORD, Edge
from avalanche.nodefile import NodeFile
from avalanche.nodesections import PackageSection
from avalanche.remark import Remark
from avalanche.roll import EXTEND, REPLACE, Roll, RollSet, closest
from avalanche.traps import guarded, traps

ERROR, REMARK = "error", "remark"

_CODES: dict[type[AvalancheError], str] = {
    ConfigError: "roll",
    GraphError: "graph",
    NodeFileError: "node-file",
    ConditionError: "condition",
    UndefinedAttribute: "attribute-undefined",
}

# Where a roll says that it sets an attribute, or that there is one to be set.
_SETTING = re.compile(r"\b(?:add|set)\b.*\battr\b|<variable>|<var\s", re.IGNORECASE)
_DESCRIPTION = re.compile(r"<description>.*?</description>", re.DOTALL)
_VARIABLE = re.compile(rb"<var\s[^>]*?\bname\s*=\s*[\"']([^\"']*)")


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """A place and what is wrong there. ``file`` is empty and ``line`` 0 where there is none."""

    file: str
    line: int
    severity: str
    code: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.severity}: {self.message} [{self.code}]"


def check(
    rolls: RollSet,
    faults: Iterable[AvalancheError] = (),
    *,
    root: str | None = None,
    attributes: Attributes | None = None,
    release: str = "el9",
    effects: Effects | None = None,
) -> tuple[Finding, ...]:
    """Look at all nodes of the rolls, or at those that a root may select; sorted, each finding once.

    Args:
        faults: what reading the rolls has told already.
        attributes: those of the host in question, where one is; with a root, references are looked up in them.
        effects: the frontend, for evals; without it they are left out.
    """
    found = {as_finding(fault) for fault in faults}
    found.update(_Check(rolls, root, attributes).findings())
    if root is not None and attributes is not None and not any(finding.severity == ERROR for finding in found):
        try:
            compilation = compile_rolls(rolls, root, attributes, release=release, effects=effects or LeftOut())
            found.update(map(_of, compilation.remarks))
        except AvalancheError as error:
            found.add(as_finding(error))
    return tuple(sorted(found))


def as_finding(error: AvalancheError, code: str | None = None) -> Finding:
    """Turn an error into a finding."""
    known = code or next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), "profile")
    if isinstance(error, DefinitionError):
        return Finding(error.file or "", error.line or 0, ERROR, known, error.message)
    return Finding("", 0, ERROR, known, str(error))


def _remark(file: str, line: int, code: str, message: str) -> Finding:
    return Finding(file, line, REMARK, code, message)


def _of(remark: Remark) -> Finding:
    return _remark(remark.file, remark.line, remark.code, remark.message)


class _Check:
    """One look at some rolls."""

    def __init__(self, rolls: RollSet, root: str | None, attributes: Attributes | None) -> None:
        self.rolls = rolls
        self.graph = rolls.graph
        self.root = root
        self.attributes = attributes
        self.scope = None if root is None else self.graph.reachable(root)[0]
        self.edges = [edge for edge in self.graph.edges if self.scope is None or edge.source in self.scope]
        self.broken: list[Finding] = []
        self.files = list(self._read())

    def findings(self) -> Iterator[Finding]:
        yield from self.broken
        yield from map(_of, self.graph.remarks)
        for roll in self.rolls.rolls:
            yield from map(_of, roll.remarks)
        for file in self.files:
            yield from map(_of, file.remarks)
        yield from (as_finding(error, "order-cycle") for error in self.graph.ordering.cycles())
        yield from self._unknown_nodes()
        yield from self._repeated_edges()
        yield from self._false_pairs()
        yield from self._overrides()
        yield from self._conditions()
        yield from self._attributes()
        yield from self._packages()
        if self.root is None:
            yield from self._unused()

    def _read(self) -> Iterator[NodeFile]:
        for stem, roll in self._stems():
            try:
                yield self.rolls.file(stem, roll)
            except AvalancheError as error:
                self.broken.append(as_finding(error))

    def _stems(self) -> Iterator[tuple[str, Roll]]:
        if self.scope is None:
            for roll in self.rolls.rolls:
                yield from ((stem, roll) for stem in sorted(roll.nodes))
            return
        wanted = {source.file for name in self.scope for source in self.rolls.sources(name)}
        for roll in self.rolls.rolls:
            yield from ((stem, roll) for stem in sorted(roll.nodes) if roll.nodes[stem].file in wanted)

    def _unknown_nodes(self) -> Iterator[Finding]:
        known = {*self.rolls.names, *self.graph.nodes}
        if self.root is not None and self.rolls.names and self.root not in self.rolls.names:
            hint = self.rolls.closest(self.root)
            yield Finding("", 0, ERROR, "root-unknown", f"no roll has nodes/{self.root}.xml for the root{hint}")
        for edge in self.edges:
            if not self.rolls.sources(edge.target):
                hint = closest(edge.target, self.rolls.names)
                if edge.target in self.rolls.orphans:
                    hint = f", which {self.rolls.orphans[edge.target][0].file} extends"
                message = f"{edge.source} includes {edge.target}, but no roll given has nodes/{edge.target}.xml{hint}"
                yield Finding(edge.file, edge.line, ERROR, "edge-unknown-node", message)
            if not self.rolls.sources(edge.source):
                message = f"no roll given has nodes/{edge.source}.xml, so nothing is ever included by {edge.source}"
                hint = closest(edge.source, self.rolls.names)
                yield _remark(edge.file, edge.line, "edge-from-unknown-node", message + hint)
        for order in self.graph.orders:
            for name in (order.head, order.tail):
                if name not in known and name not in ("HEAD", "TAIL"):
                    message = f"the pair '{order}' speaks of {name}, which no roll given has{closest(name, known)}"
                    yield _remark(order.file, order.line, "order-unknown-node", message)

    def _repeated_edges(self) -> Iterator[Finding]:
        seen: dict[tuple[str, str, str], Edge] = {}
        always: dict[tuple[str, str], Edge] = {}
        for edge in sorted(self.edges, key=lambda edge: (edge.file, edge.line)):
            pair = (edge.source, edge.target)
            if not edge.when.clauses:
                always.setdefault(pair, edge)
            first = seen.setdefault((*pair, str(edge.when)), edge)
            if first is not edge:
                message = f"the edge {edge} stands at {first.place} already; remove one"
                yield _remark(edge.file, edge.line, "edge-repeated", message)
        for edge in self.edges:
            other = always.get((edge.source, edge.target))
            if other is not None and edge.when.clauses:
                message = (
                    f"the condition {str(edge.when)!r} decides nothing: {other.place} has the edge {edge} without one"
                )
                yield _remark(edge.file, edge.line, "edge-redundant", message)

    def _false_pairs(self) -> Iterator[Finding]:
        """Edges whose condition did something else in Rocks, because of how they are written."""
        ways = Counter(edge.target for edge in {(edge.source, edge.target): edge for edge in self.edges}.values())
        for edge in self.edges:
            if edge.is_pair and edge.when.clauses and (self.graph.outgoing(edge.target) or ways[edge.target] > 1):
                message = (
                    f"where {str(edge.when)!r} is false, this way to {edge.target} is closed, and that is all; Rocks "
                    f"may have dropped {edge.target} though another edge includes it, and kept what it includes itself"
                )
                yield _remark(edge.file, edge.line, "edge-pair-condition", message)

    def _overrides(self) -> Iterator[Finding]:
        for hidden in self.rolls.hidden:
            if self.scope is not None and hidden.node not in self.scope:
                continue
            stem, other = hidden.source.stem, hidden.by.stem
            if stem.startswith(EXTEND):
                message = f"{hidden.by.file} takes the place of {hidden.node}; this extension has no effect"
                yield _remark(hidden.source.file, 0, "extension-hidden", message)
            elif not other.startswith(REPLACE):
                message = (
                    f"hidden by {hidden.by.file} of the later roll {hidden.by_roll}; if that is meant, call it "
                    f"{REPLACE}{hidden.node}.xml there"
                )
                yield _remark(hidden.source.file, 0, "node-collision", message)
        for name, sources in self.rolls.orphans.items():
            if self.scope is None or name in self.scope:
                for source in sources:
                    message = f"no roll given has nodes/{name}.xml to extend{closest(name, self.rolls.names)}"
                    yield _remark(source.file, 0, "extension-without-node", message)

    def _all_conditions(self) -> Iterator[tuple[str, int, Condition]]:
        for edge in self.edges:
            yield edge.file, edge.line, edge.when
        for file in self.files:
            for value, line in _walk(file, 0, None):
                if isinstance(value, Condition):
                    yield file.file, line, value

    def _conditions(self) -> Iterator[Finding]:
        shown: dict[str, str] | None = None
        if self.attributes is not None:
            # Messages hold values; those of secrets stay unknown to them.
            shown = {each.name: each.value for each in self.attributes.effective() if not each.secret}
        for file, line, condition in self._all_conditions():
            for code, message in traps(condition, shown):
                yield _remark(file, line, code, message)

    def _attributes(self) -> Iterator[Finding]:
        """Names without a value: in conditions they count as None, a reference must have one."""
        defaults = free_attributes("x", "el9", {})
        known = set(defaults if self.attributes is None else self.attributes)
        declared = known | self._declared()
        places: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for file, line, condition in self._all_conditions():
            for clause in condition.clauses:
                if isinstance(clause, Expression):
                    declared |= guarded(clause)
                for name in clause.names:
                    places[name].append((file, line))
        for name, where in sorted(places.items()):
            if name in declared:
                continue
            file, line = min(where)
            more = f" (in {len(where)} places)" if len(where) > 1 else ""
            message = f"no attribute and no roll sets {name!r}, so it counts as None{more}"
            names = {*known, *places} - {name}
            yield _remark(file, line, "attribute-unset", message + closest(name, names, cutoff=0.85))
        yield from self._references(known | self._variables(), declared)

    def _variables(self) -> set[str]:
        sources = (source for roll in self.rolls.rolls for source in roll.nodes.values())
        return {name.decode("utf-8", "replace") for source in sources for name in _VARIABLE.findall(source.data)}

    def _declared(self) -> set[str]:
        """The names that some roll sets, or tells about in a description."""
        found = set(self.graph.words)
        for roll in self.rolls.rolls:
            for source in roll.nodes.values():
                text = source.data.decode("utf-8", "replace")
                lines = [line for line in text.splitlines() if _SETTING.search(line)]
                for part in (*lines, *_DESCRIPTION.findall(text)):
                    found.update(WORD.findall(part))
        return found

    def _references(self, known: set[str], declared: set[str]) -> Iterator[Finding]:
        uses: Counter[str] = Counter()
        references: list[tuple[NodeFile, Reference]] = []
        selected = self._selected()
        for file in self.files:
            values = self.attributes if self.root is not None and file.file in selected else None
            for value, _ in _walk(file, 0, values):
                if isinstance(value, Reference) and not value.optional:
                    references.append((file, value))
                    uses[value.name] += 1
        for file, reference in references:
            name = reference.name
            if file.file in selected and name not in known:
                message = f"&{name}; has no value{closest(name, known)}; set it, or remove the reference"
                yield Finding(file.file, reference.line, ERROR, "attribute-undefined", message)
            elif uses[name] == 1 and name not in declared:
                common = sorted(other for other in {*known, *uses} if uses[other] > 1 or other in known)
                meant = [other for other in common if _is_slip(name, other)]
                if meant:
                    message = f"&{name}; is asked for here only; did you mean &{meant[0]};?"
                    yield _remark(file.file, reference.line, "attribute-misspelt", message)

    def _selected(self) -> frozenset[str]:
        """The node files that the root's profile is made of."""
        if self.root is None or self.attributes is None:
            return frozenset()
        nodes = self.graph.select(self.root, self.attributes)
        return frozenset(source.file for name in nodes for source in self.rolls.sources(name))

    def _packages(self) -> Iterator[Finding]:
        """Packages that one node asks for and another keeps out, where one root may select both."""
        wanted: dict[tuple[bool, str], list[tuple[NodeFile, PackageSection]]] = defaultdict(list)
        unwanted: dict[tuple[bool, str], list[tuple[NodeFile, PackageSection]]] = defaultdict(list)
        for file in self.files:
            for section in file.sections:
                if isinstance(section, PackageSection):
                    for name in _names(section):
                        (unwanted if section.disable else wanted)[section.meta, name].append((file, section))
        together: dict[tuple[str, str], bool] = {}
        for key in sorted(wanted.keys() & unwanted.keys()):
            for file, section in unwanted[key]:
                for other, asking in wanted[key]:
                    pair = (_node(file), _node(other))
                    if pair not in together:
                        together[pair] = self._meet(*pair)
                    if together[pair]:
                        message = f"{key[1]} is kept out here, but {other.file}:{asking.line} asks for it, which wins"
                        yield _remark(file.file, section.line, "package-contradiction", message)
                        break

    def _meet(self, one: str, other: str) -> bool:
        return one == other or bool(self._above(one) & self._above(other))

    def _above(self, node: str) -> set[str]:
        """The nodes that may include a node, and itself."""
        found, waiting = {node}, [node]
        while waiting:
            fresh = {edge.source for edge in self.graph.incoming(waiting.pop())} - found
            found |= fresh
            waiting.extend(fresh)
        return found

    def _unused(self) -> Iterator[Finding]:
        for name in self.rolls.names:
            if name not in self.graph.nodes:
                (source, *_) = self.rolls.sources(name)
                message = f"no edge speaks of {name}, so no host ever gets it"
                yield _remark(source.file, 0, "node-unused", message)


def _is_slip(written: str, meant: str) -> bool:
    """Say whether two names differ by no more than what a finger does: case, or one or (in long names) two letters."""
    if written.lower() == meant.lower():
        return written != meant
    allowed = 2 if len(meant) >= 8 else 1
    if abs(len(written) - len(meant)) > allowed:
        return False
    previous = list(range(len(meant) + 1))
    for row, letter in enumerate(written, 1):
        current = [row]
        for column, other in enumerate(meant, 1):
            cost = previous[column - 1] + (letter != other)
            current.append(min(cost, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1] <= allowed


def _node(file: NodeFile) -> str:
    return file.name.partition("@")[0].removeprefix(EXTEND)


def _names(section: PackageSection) -> list[str]:
    plain = section.names.plain
    if plain is None:
        return []
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip()] if section.meta else plain.split()


def _walk(value: object, line: int, attributes: Mapping[str, str] | None) -> Iterator[tuple[object, int]]:
    """Yield the conditions and references within a node file with their lines, whatever kinds of section there are.

    Args:
        attributes: leave out what stands under a condition that is false with them; None: leave out nothing.
    """
    if isinstance(value, Condition | Reference):
        yield value, line
    elif fields := _fields(value):
        line = fields.get("line") or line
        when = fields.get("when")
        if attributes is None or not isinstance(when, Condition) or when.holds(attributes):
            for item in fields.values():
                yield from _walk(item, line, attributes)
    elif isinstance(value, tuple) and not isinstance(value, Element):
        for item in value:
            yield from _walk(item, line, attributes)


def _fields(value: object) -> dict[str, Any]:
    """What a part of a node file consists of, by name; nothing of what is no such part."""
    if isinstance(value, type | Remark | Element):
        return {}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: getattr(value, name) for name in getattr(value, "_fields", ())}
