"""Explanations: why a node is selected or not, why one stands before another, who asks for a package.

Every answer names the edges, pairs and lines it rests on, and the values that made their conditions true or false. The
values of secret attributes are never part of one.
"""

from __future__ import annotations

import fnmatch
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from avalanche.attributes import Attributes
from avalanche.condition import Condition
from avalanche.effects import Effects, Untrusted
from avalanche.errors import DefinitionError, GraphError
from avalanche.graph import Edge, Graph, Traversal
from avalanche.nodefile import NodeFile, read_sections
from avalanche.nodesections import PackageSection, Section
from avalanche.ordering import FIRST, FREE, HEAD, LAST, ORDERED, TAIL, Order, Ordering
from avalanche.roll import RollSet

SECRET = "***"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Decision:
    """A condition as a host sees it: whether it holds, and the values it looked at; None for a name without one."""

    when: str
    holds: bool
    values: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        if not self.when:
            return ""
        shown = ", ".join(f"{name} has no value" if value is None else f"{name}={value}" for name, value in self.values)
        return f"{'if' if self.holds else 'needs'} {self.when}" + (f"  ({shown})" if shown else "")


@dataclass(frozen=True, slots=True)
class Step:
    """An edge of a path and what its condition came to."""

    edge: Edge
    decision: Decision

    def __str__(self) -> str:
        return "  ".join(part for part in (str(self.edge), self.edge.place, str(self.decision)) if part)


Path = tuple[Step, ...]


@dataclass(frozen=True)
class NodeAnswer:
    """Why a root selects a node, or does not.

    Attributes:
        path: a shortest path of edges that hold; empty for the root itself and for a node that is not selected.
        others: further edges that hold and lead to it from selected nodes.
        obstacles: paths to a node that is not selected, each with an edge that does not hold; those with the fewest
            first, and one for each edge at which the way ends.
        roots: where a node that this root cannot reach, whatever the attributes, is reached from.
        files: what it is made of, in order of effect.
    """

    root: str
    node: str
    selected: bool
    path: Path = ()
    others: Path = ()
    obstacles: tuple[Path, ...] = ()
    roots: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderAnswer:
    """Why ``first`` takes effect before ``second``. ``chains`` are the pairs it rests on."""

    first: str
    second: str
    reason: str
    chains: tuple[tuple[Order, ...], ...] = ()


@dataclass(frozen=True)
class Mention:
    """A ``<package>`` that names a package: where, and whether it counts for this host."""

    node: str
    file: str
    line: int
    request: str
    meta: bool
    disable: bool
    decision: Decision
    why: NodeAnswer

    @property
    def counts(self) -> bool:
        return self.why.selected and self.decision.holds


@dataclass(frozen=True)
class PackageAnswer:
    """What the node files say about a package; ``verdict`` is ``asked for``, ``kept out`` or ``not asked for``.

    ``unreadable`` tells of node files that could not be read, and of evals that could not be run.
    """

    package: str
    verdict: str
    mentions: tuple[Mention, ...]
    unreadable: tuple[str, ...] = ()


def decide(when: Condition, attributes: Attributes) -> Decision:
    """See a condition as a host does."""
    values: list[tuple[str, str | None]] = []
    for name in sorted(when.names):
        if name not in attributes:
            values.append((name, None))
        else:
            values.append((name, SECRET if attributes.attribute(name).secret else attributes[name]))
    return Decision(str(when), when.holds(attributes), tuple(values))


class Explainer:
    """Answers questions about one root under one host's attributes.

    Args:
        effects: the frontend, for evals that ask for packages; without it no roll is trusted.

    Raises:
        GraphError: the order pairs form a cycle.
    """

    def __init__(self, rolls: RollSet, root: str, attributes: Attributes, *, effects: Effects | None = None) -> None:
        self.rolls = rolls
        self.effects = effects or Untrusted()
        self.graph: Graph = rolls.graph
        self.root = root
        self.attributes = attributes
        self.traversal: Traversal = self.graph.traverse(root, attributes)
        self.selected = frozenset(self.traversal.nodes)

    def node(self, name: str) -> NodeAnswer:
        """Tell why a node is selected, or what stands in the way.

        Raises:
            GraphError: neither a file nor an edge has this name; names the closest.
        """
        if name not in self.graph.nodes and name not in self.rolls.names and name != self.root:
            raise GraphError(f"no roll has a node {name!r}{self.rolls.closest(name)}")
        files = tuple(source.file for source in self.rolls.sources(name))
        if name in self.selected:
            path = tuple(self._step(edge) for edge in self.traversal.path(name))
            others = tuple(
                step
                for step in map(self._step, self.graph.incoming(name))
                if step.decision.holds and step.edge.source in self.selected and step not in path
            )
            return NodeAnswer(self.root, name, True, path, others, files=files)
        obstacles = self._obstacles(name)
        roots = () if obstacles else self._roots(name)
        return NodeAnswer(self.root, name, False, obstacles=obstacles, roots=roots, files=files)

    def order(self, one: str, other: str) -> OrderAnswer:
        """Tell why one of two nodes takes effect before the other.

        Raises:
            GraphError: no roll has one of them.
        """
        for name in (one, other):
            if name not in self.graph.nodes and name not in self.rolls.names and name != self.root:
                raise GraphError(f"no roll has a node {name!r}{self.rolls.closest(name)}")
        if one == other:
            raise GraphError(f"{one} and {other} are one node")
        return explain_order(self.graph.ordering, one, other)

    def package(self, name: str) -> PackageAnswer:
        """Tell which node files ask for a package (or ``@group``) or keep it out, and which of that counts."""
        mentions: list[Mention] = []
        unreadable: list[str] = []
        for node in self.rolls.names:
            try:
                files = self.rolls.node(node)
            except DefinitionError as error:
                unreadable.append(str(error))
                continue
            for file in files:
                sections = file.sections
                if node in self.selected:
                    try:
                        sections = read_sections(file, self.attributes, self.effects).sections
                    except DefinitionError as error:
                        unreadable.append(str(error))
                mentions.extend(self._mentions(node, file, sections, name))
        counting = [mention for mention in mentions if mention.counts]
        verdict = "not asked for"
        if counting:
            verdict = "kept out" if all(mention.disable for mention in counting) else "asked for"
        mentions.sort(key=lambda mention: (not mention.counts, mention.file, mention.line))
        return PackageAnswer(name, verdict, tuple(mentions), tuple(unreadable))

    def _mentions(self, node: str, file: NodeFile, sections: tuple[Section, ...], name: str) -> Iterator[Mention]:
        for section in sections:
            if isinstance(section, PackageSection):
                for request in self._requests(section):
                    if _is_meant(request, section.meta, name):
                        decision = decide(section.when, self.attributes)
                        why = self.node(node)
                        yield Mention(
                            node, file.file, section.line, request, section.meta, section.disable, decision, why
                        )

    def _requests(self, section: PackageSection) -> list[str]:
        if any(reference.name not in self.attributes for reference in section.names.references):
            return []
        text = section.names.fill(lambda reference: self.attributes[reference.name])
        return [" ".join(line.split()) for line in text.splitlines()] if section.meta else text.split()

    def _step(self, edge: Edge) -> Step:
        return Step(edge, decide(edge.when, self.attributes))

    def _obstacles(self, name: str) -> tuple[Path, ...]:
        """A path for every edge that does not hold, leaves a selected node, and is on a way to ``name``."""
        onward = self._onward(name)
        found: list[tuple[int, int, Path]] = []
        for source in sorted(self.selected):
            for edge in self.graph.outgoing(source):
                if edge.target not in self.selected and edge.target in onward:
                    path = tuple(self._step(step) for step in (*self.traversal.path(source), edge))
                    while path[-1].edge.target != name:
                        following = onward[path[-1].edge.target]
                        assert following is not None  # only the goal has none
                        path = (*path, self._step(following))
                    found.append((sum(not step.decision.holds for step in path), len(path), path))
        found.sort(key=lambda entry: (*entry[:2], [str(step) for step in entry[2]]))
        return tuple(path for _, _, path in found)

    def _onward(self, goal: str) -> dict[str, Edge | None]:
        """For every node that may lead to the goal, the next edge of the way with the fewest edges that do not hold."""
        found: dict[str, Edge | None] = {}
        waiting: list[tuple[int, int, str, int, Edge | None]] = [(0, 0, goal, 0, None)]
        serial = 0
        while waiting:
            false, length, node, _, following = heapq.heappop(waiting)
            if node in found:
                continue
            found[node] = following
            for edge in self.graph.incoming(node):
                serial += 1
                cost = false + (not edge.when.holds(self.attributes))
                heapq.heappush(waiting, (cost, length + 1, edge.source, serial, edge))
        return found

    def _roots(self, name: str) -> tuple[str, ...]:
        above = self._onward(name).keys()
        return tuple(sorted(node for node in above if node != name and not self.graph.incoming(node)))


def _is_meant(request: str, meta: bool, name: str) -> bool:
    if meta or name.startswith("@"):
        return meta and request.removeprefix("^").lower() == name.removeprefix("@").removeprefix("^").lower()
    return request == name or fnmatch.fnmatchcase(name, request)


_ZONES = {
    FIRST: "among the nodes before HEAD",
    ORDERED: "among the ordered nodes",
    FREE: "among the nodes that no pair speaks of",
    LAST: "among the nodes after TAIL",
}


def explain_order(ordering: Ordering, one: str, other: str) -> OrderAnswer:
    """Tell why one of two nodes takes effect before the other.

    Raises:
        GraphError: the order pairs form a cycle.
    """
    first, second = sorted((one, other), key=ordering.key)
    chain = ordering.chain(first, second)
    if chain:
        return OrderAnswer(first, second, "pairs say so", (chain,))
    zones = ordering.zone(first), ordering.zone(second)
    if zones[0] != zones[1]:
        evidence = tuple(chain for name in (first, second) if (chain := _evidence(ordering, name)))
        return OrderAnswer(first, second, f"{first} is {_ZONES[zones[0]]}, {second} {_ZONES[zones[1]]}", evidence)
    if zones[0] == FREE:
        return OrderAnswer(first, second, "no pair speaks of either, so they stand by name")
    if first < second:
        return OrderAnswer(first, second, f"the pairs leave it open ({_ZONES[zones[0]]}), so they stand by name")
    # The first of those that ``second`` waits for was ready when ``first`` had its turn, and lost to it by name.
    waiting = ordering.waits_for(second)
    blocker = min((name for name in waiting if ordering.key(name) > ordering.key(first)), key=ordering.key)
    reason = f"{second} waits for {blocker}, and {first} stands before {blocker} by name"
    return OrderAnswer(first, second, reason, (ordering.chain(blocker, second),))


def _evidence(ordering: Ordering, name: str) -> tuple[Order, ...]:
    """The pairs that put a node into its zone."""
    zone = ordering.zone(name)
    if zone in (FIRST, LAST):
        return ordering.chain(name, HEAD) if zone == FIRST else ordering.chain(TAIL, name)
    pairs = sorted((order for order in ordering.orders if name in (order.head, order.tail)), key=str)
    return tuple(pairs[:1])
