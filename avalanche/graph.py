"""Graph: which nodes an appliance is made of (edges), and in which order they take effect (order pairs).

The semantics are the *intended* ones of Rocks (docs/graph-format.md): a node is selected when a path of edges with
true conditions leads to it from the root, whatever the order of files and edges; the order is total, the same for
every host, and alphabetical where nothing else is asked for.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from avalanche.condition import ALWAYS, CONDITIONS, Condition, parse_when
from avalanche.document import Element, parse_document
from avalanche.errors import DefinitionError, GraphError

HEAD, TAIL = "HEAD", "TAIL"  # zone markers: what is before HEAD comes first of all, what is after TAIL last
NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
IGNORED = frozenset({"description", "changelog", "copyright"})


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` includes ``target`` whenever ``when`` holds."""

    source: str
    target: str
    when: Condition = ALWAYS
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True, slots=True)
class Order:
    """``head`` takes effect before ``tail``."""

    head: str
    tail: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Traversal:
    """The selected nodes in order; and for each but the root the edge that a shortest path reached it by."""

    nodes: tuple[str, ...]
    included_by: Mapping[str, Edge]

    def path(self, node: str) -> tuple[Edge, ...]:
        """Return the edges that lead from the root to a selected node."""
        edges: list[Edge] = []
        while node in self.included_by:
            edges.append(self.included_by[node])
            node = edges[-1].source
        return tuple(reversed(edges))


@dataclass(frozen=True)
class Graph:
    """Edges and order pairs of one graph file, or of all of them.

    Raises:
        GraphError: the order pairs form a cycle; the message prints it with the place of each pair.
    """

    edges: tuple[Edge, ...] = ()
    orders: tuple[Order, ...] = ()
    roll: str | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"<Graph {len(self.edges)} edges, {len(self.orders)} order pairs>"

    @classmethod
    def merge(cls, graphs: Iterable[Graph]) -> Graph:
        """Return the union of graphs; a node is known by its name."""
        found = tuple(graphs)
        return cls(
            tuple(edge for graph in found for edge in graph.edges),
            tuple(order for graph in found for order in graph.orders),
        )

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that edges speak of."""
        return frozenset(name for edge in self.edges for name in (edge.source, edge.target))

    def traverse(self, root: str, attributes: Mapping[str, str]) -> Traversal:
        """Select the nodes of a root under a host's attributes, and order them."""
        included_by = self._reach(root, attributes)
        ranks = self.ranks
        # Nodes that no order pair speaks of stand together, by name, between the ordered ones and those after TAIL.
        free = (_FREE, 0)
        nodes = sorted({root, *included_by}, key=lambda name: (*ranks.get(name, free), name))
        return Traversal(tuple(nodes), included_by)

    def reachable(self, root: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the nodes that a root may select under any attributes, and the attributes that decide."""
        reached = {root, *self._reach(root, None)}
        mentioned = (edge.when.names for edge in self.edges if edge.source in reached)
        return frozenset(reached), frozenset[str]().union(*mentioned)

    def _reach(self, root: str, attributes: Mapping[str, str] | None) -> dict[str, Edge]:
        included_by: dict[str, Edge] = {}
        frontier = [root]
        while frontier:
            edges = (edge for source in frontier for edge in self._outgoing.get(source, ()))
            frontier = []
            for edge in edges:
                fresh = edge.target != root and edge.target not in included_by
                if fresh and (attributes is None or edge.when.holds(attributes)):
                    included_by[edge.target] = edge
                    frontier.append(edge.target)
            frontier.sort()
        return included_by

    @cached_property
    def _outgoing(self) -> dict[str, tuple[Edge, ...]]:
        # Sorted by content, so that the edge named for a node does not depend on the order in which files were read.
        found: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge.source].append(edge)
        key = lambda edge: (edge.target, edge.file, edge.line, str(edge.when))  # noqa: E731
        return {source: tuple(sorted(edges, key=key)) for source, edges in found.items()}

    @cached_property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """Zone and place of every node that an order pair speaks of.

        Raises:
            GraphError: the pairs form a cycle.
        """
        after: dict[str, set[str]] = defaultdict(set)
        for order in self.orders:
            after[order.head].add(order.tail)
        after[HEAD].add(TAIL)
        before: dict[str, set[str]] = defaultdict(set)
        for head, tails in after.items():
            for tail in tails:
                before[tail].add(head)
        first, last = _closure(HEAD, before), _closure(TAIL, after)
        zones = {name: _FIRST if name in first else _LAST if name in last else _ORDERED for name in {*after, *before}}
        # Kahn's algorithm; the heap takes what is ready by zone, then by name.
        waiting = {name: len(before[name]) for name in zones}
        ready = [(zones[name], name) for name, count in waiting.items() if not count]
        heapq.heapify(ready)
        ranks: dict[str, tuple[int, int]] = {}
        while ready:
            zone, name = heapq.heappop(ready)
            ranks[name] = (zone, len(ranks))
            for tail in after.get(name, ()):
                waiting[tail] -= 1
                if not waiting[tail]:
                    heapq.heappush(ready, (zones[tail], tail))
        if len(ranks) < len(zones):
            raise self._cycle({name for name in zones if name not in ranks})
        return {name: rank for name, rank in ranks.items() if name not in (HEAD, TAIL)}

    def _cycle(self, stuck: set[str]) -> GraphError:
        pairs: dict[str, list[Order]] = defaultdict(list)
        for order in (*self.orders, Order(HEAD, TAIL)):
            if order.head in stuck and order.tail in stuck:
                pairs[order.tail].append(order)
        # Every stuck node waits for another stuck one: walk back until a node comes again.
        walked: list[Order] = []
        seen: dict[str, int] = {}
        name = min(stuck)
        while name not in seen:
            seen[name] = len(walked)
            walked.append(min(pairs[name], key=lambda order: (order.head, order.file, order.line)))
            name = walked[-1].head
        cycle = walked[seen[name] :][::-1]
        first = min(range(len(cycle)), key=lambda index: cycle[index].head)
        cycle = cycle[first:] + cycle[:first]
        steps = "".join(f" -> {pair.tail} ({_place(pair)})" for pair in cycle)
        placed = next(pair for pair in cycle if pair.file)
        return GraphError(
            f"the order of nodes is a cycle: {cycle[0].head}{steps}; remove one of these pairs",
            file=placed.file,
            line=placed.line,
        )


_FIRST, _ORDERED, _FREE, _LAST = range(4)


def _closure(start: str, step: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = step.get(waiting.pop(), set()) - found
        found |= fresh
        waiting.extend(fresh)
    return found - {HEAD, TAIL}


def _place(pair: Order) -> str:
    return f"{pair.file}:{pair.line}" if pair.file else "by definition"


# --- reading ---


def parse_graph(data: bytes, *, file: str, roll: str = "") -> Graph:
    """Read a graph file.

    Args:
        file: its name, for messages.
        roll: the roll's name where the file itself does not say one.

    Raises:
        GraphError: it is malformed, has an unknown tag, or a pair of a node with itself; names the line.
        ConditionError: a condition cannot be understood.
    """
    try:
        root = parse_document(data, file=file, references=True)
        return _read_graph(root, roll)
    except DefinitionError as error:
        if type(error) is not DefinitionError:
            raise
        raise GraphError(error.message, file=error.file, line=error.line) from None


def _read_graph(root: Element, roll: str) -> Graph:
    if root.tag != "graph":
        root.fail(f"a graph file holds <graph>, not <{root.tag}>")
    root.allow("roll")
    edges: list[Edge] = []
    orders: list[Order] = []
    for element in root.children():
        if element.tag == "edge":
            edges.extend(_read_edges(element))
        elif element.tag == "order":
            orders.extend(_read_orders(element))
        elif element.tag not in IGNORED:
            element.fail(f"<{element.tag}> is unknown here; a graph holds edge, order, {', '.join(sorted(IGNORED))}")
    return Graph(tuple(edges), tuple(orders), root.get("roll") or roll or None)


def _read_edges(element: Element) -> Iterator[Edge]:
    when = _checked(element, "from", "to")
    for source, target, child in _pairs(element, "from", "to"):
        for name in (source, target):
            if name in (HEAD, TAIL):
                child.fail(f"{name} is a mark for <order>, not a node; remove the edge")
        inner = _checked(child) if child is not element else ALWAYS
        yield Edge(source, target, when & inner, child.file, child.line)


def _read_orders(element: Element) -> Iterator[Order]:
    _refuse_gen(element)
    element.allow("head", "tail")
    for head, tail, child in _pairs(element, "head", "tail"):
        if child is not element:
            _refuse_gen(child)
            child.allow()
        if head == TAIL and tail == HEAD:
            child.fail("TAIL cannot stand before HEAD")
        yield Order(head, tail, child.file, child.line)


def _checked(element: Element, *names: str) -> Condition:
    _refuse_gen(element)
    element.allow(*names, *CONDITIONS)
    return parse_when(element)


def _refuse_gen(element: Element) -> None:
    if "gen" in element.attributes:
        element.fail("gen= is not supported yet; remove it")


def _pairs(element: Element, first: str, second: str) -> Iterator[tuple[str, str, Element]]:
    """Yield the pairs of an edge or order: two attributes, or one attribute and children of the other kind."""
    fixed = {kind: _name(element, kind, element.get(kind)) for kind in (first, second) if kind in element.attributes}
    children = tuple(element.children())
    if len(fixed) == 2:
        yield _pair(element, fixed[first], fixed[second])
    elif not (fixed and children):
        element.fail(f"<{element.tag}> needs {first}= and {second}=, or one of them and children of the other kind")
    for child in children:
        if child.tag not in (first, second) or (child.tag in fixed and len(fixed) == 1):
            wanted = second if first in fixed else first
            child.fail(f"<{child.tag}> cannot stand in this <{element.tag}>; it takes <{wanted}>")
        name = _name(child, child.tag, child.text().plain)
        if child.tag == second:
            yield _pair(child, fixed[first], name)
        else:
            yield _pair(child, name, fixed[second])


def _pair(element: Element, left: str, right: str) -> tuple[str, str, Element]:
    if left == right:
        element.fail(f"{left} is paired with itself; remove the pair")
    return left, right, element


def _name(element: Element, kind: str, value: str | None) -> str:
    if value is None:
        element.fail("an attribute reference cannot name a node; use a condition")
    name = value.strip()
    if not NODE_NAME.fullmatch(name):
        shown = f"{kind} {name!r} is no node name" if name else f"{kind} names no node"
        element.fail(f"{shown}; write letters, digits, '_', '.', '+', '-'")
    return name
