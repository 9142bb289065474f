"""Graph: which nodes an appliance is made of (edges), and in which order they take effect (order pairs).

The semantics are the *intended* ones of Rocks (docs/graph-format.md): a node is selected when a path of edges with
true conditions leads to it from the root, whatever the order of files and edges; the order is total, the same for
every host, and alphabetical where nothing else is asked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from avalanche.condition import ALWAYS, CONDITIONS, Condition, parse_when
from avalanche.document import Element, Reference, parse_document
from avalanche.errors import DefinitionError, GraphError
from avalanche.ordering import HEAD, TAIL, Order, Ordering
from avalanche.remark import Remark

NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
IGNORED = frozenset({"description", "changelog", "copyright"})


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` includes ``target`` whenever ``when`` holds.

    ``is_pair`` tells that it was written with both ``from=`` and ``to=``; it means the same, but did not in Rocks.
    """

    source: str
    target: str
    when: Condition = ALWAYS
    file: str = ""
    line: int = 0
    is_pair: bool = False

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "by definition"


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

    ``remarks`` tell what was passed by, ``faults`` what is wrong; a graph with faults says less than its author meant.
    """

    edges: tuple[Edge, ...] = ()
    orders: tuple[Order, ...] = ()
    roll: str | None = field(default=None, compare=False)
    remarks: tuple[Remark, ...] = field(default=(), compare=False)
    faults: tuple[DefinitionError, ...] = field(default=(), compare=False)
    words: frozenset[str] = field(default=frozenset(), compare=False)  # of the descriptions

    def __repr__(self) -> str:
        return f"<Graph {len(self.edges)} edges, {len(self.orders)} order pairs>"

    @classmethod
    def merge(cls, graphs: Iterable[Graph]) -> Graph:
        """Return the union of graphs; a node is known by its name."""
        found = tuple(graphs)
        return cls(
            tuple(edge for graph in found for edge in graph.edges),
            tuple(order for graph in found for order in graph.orders),
            remarks=tuple(remark for graph in found for remark in graph.remarks),
            faults=tuple(fault for graph in found for fault in graph.faults),
            words=frozenset[str]().union(*(graph.words for graph in found)),
        )

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that edges speak of."""
        return frozenset(name for edge in self.edges for name in (edge.source, edge.target))

    def traverse(self, root: str, attributes: Mapping[str, str]) -> Traversal:
        """Select the nodes of a root under a host's attributes, and order them.

        Raises:
            GraphError: the order pairs form a cycle; the message prints it with the place of each pair.
        """
        included_by = self._reach(root, attributes)
        return Traversal(tuple(sorted({root, *included_by}, key=self.ordering.key)), included_by)

    def select(self, root: str, attributes: Mapping[str, str]) -> frozenset[str]:
        """Return the nodes of a root under a host's attributes, in no order."""
        return frozenset({root, *self._reach(root, attributes)})

    @cached_property
    def ordering(self) -> Ordering:
        return Ordering(self.orders)

    def outgoing(self, node: str) -> tuple[Edge, ...]:
        """Return the edges that leave a node, in an order of their own."""
        return self._outgoing.get(node, ())

    def incoming(self, node: str) -> tuple[Edge, ...]:
        """Return the edges that lead to a node, in an order of their own."""
        found = (edge for edges in self._outgoing.values() for edge in edges if edge.target == node)
        return tuple(sorted(found, key=_content))

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
        return {source: tuple(sorted(edges, key=_content)) for source, edges in found.items()}


def _content(edge: Edge) -> tuple[str, str, str, int, str]:
    return edge.target, edge.source, edge.file, edge.line, str(edge.when)


# --- reading ---


def parse_graph(data: bytes, *, file: str, roll: str = "") -> Graph:
    """Read a graph file.

    Args:
        file: its name, for messages.
        roll: the roll's name where the file itself does not say one.

    Raises:
        GraphError: it is malformed, or an edge or order pair in it is; names the line.
        ConditionError: a condition cannot be understood.
    """
    graph = survey_graph(data, file=file, roll=roll)
    if graph.faults:
        raise graph.faults[0]
    return graph


def survey_graph(data: bytes, *, file: str, roll: str = "") -> Graph:
    """Read what can be read of a graph file; every edge or order pair that is wrong is one of the ``faults``."""
    reader = _Reader(file)
    try:
        root = parse_document(data, file=file, references=True)
        reader.read(root)
    except DefinitionError as error:
        reader.faults.append(_as_graph_error(error))
        return Graph(roll=roll or None, faults=tuple(reader.faults))
    return Graph(
        tuple(reader.edges),
        tuple(reader.orders),
        reader.roll or roll or None,
        tuple(reader.remarks),
        tuple(reader.faults),
        frozenset(reader.words),
    )


def _as_graph_error(error: DefinitionError) -> DefinitionError:
    if type(error) is not DefinitionError:
        return error
    return GraphError(error.message, file=error.file, line=error.line)


class _Reader:
    """Collects edges and order pairs; what Rocks passes by is a remark, what cannot be meant is a fault."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.roll: str | None = None
        self.edges: list[Edge] = []
        self.orders: list[Order] = []
        self.remarks: list[Remark] = []
        self.faults: list[DefinitionError] = []
        self.words: set[str] = set()

    def read(self, root: Element) -> None:
        if root.tag != "graph":
            root.fail(f"a graph file holds <graph>, not <{root.tag}>")
        self.roll = root.get("roll")
        unknown = sorted(root.attributes.keys() - {"roll"})
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            self.remark(root, "attribute-unknown", f"{unknown[0][:80]}={more} of <graph> means nothing; remove it")
        for item, line in zip(root.content, root.lines, strict=True):
            if not isinstance(item, Element):
                if isinstance(item, Reference) or item.strip():
                    shown = f"&{item.name};" if isinstance(item, Reference) else item.strip().split("\n")[0][:40]
                    self.remarks.append(
                        Remark(self.file, line, "text-passed-by", f"the text {shown!r} means nothing here")
                    )
            elif item.tag in ("edge", "order"):
                self.read_pairs(item)
            elif item.tag == "description":
                self.words.update(word for part in item.content if isinstance(part, str) for word in WORD.findall(part))
            elif item.tag not in IGNORED:
                known = ("edge", "order", *sorted(IGNORED))
                self.remark(item, "tag-unknown", f"<{item.tag}> means nothing here; a graph holds {', '.join(known)}")

    def read_pairs(self, element: Element) -> None:
        """Read an edge or an order; what is wrong with one of its children does not hide the others."""
        first, second = ("from", "to") if element.tag == "edge" else ("head", "tail")
        try:
            self.check(element, first, second)
            when = parse_when(element) if element.tag == "edge" else ALWAYS
            fixed = {
                kind: _name(element, kind, element.get(kind)) for kind in (first, second) if kind in element.attributes
            }
            children = tuple(element.children())
            if len(fixed) == 2:
                self.add(element, fixed[first], fixed[second], when)
            elif not fixed:
                element.fail(
                    f"<{element.tag}> needs {first}= and {second}=, or one of them and children of the other kind"
                )
            elif not children:
                wanted = second if first in fixed else first
                self.remark(
                    element,
                    "pair-ignored",
                    f"<{element.tag}> has no {wanted}, so it says nothing; name one, or remove it",
                )
        except DefinitionError as error:
            self.faults.append(_as_graph_error(error))
            return
        for child in children:
            try:
                self.read_child(element, child, fixed, when)
            except DefinitionError as error:
                self.faults.append(_as_graph_error(error))

    def read_child(self, element: Element, child: Element, fixed: Mapping[str, str], when: Condition) -> None:
        first, second = ("from", "to") if element.tag == "edge" else ("head", "tail")
        if child.tag not in (first, second) or (child.tag in fixed and len(fixed) == 1):
            wanted = second if first in fixed else first
            child.fail(f"<{child.tag}> cannot stand in this <{element.tag}>; it takes <{wanted}>")
        self.check(child)
        inner = parse_when(child) if element.tag == "edge" else ALWAYS
        name = _name(child, child.tag, child.text().plain)
        pair = (fixed[first], name) if child.tag == second else (name, fixed[second])
        self.add(child, *pair, when & inner)

    def check(self, element: Element, *names: str) -> None:
        if "gen" in element.attributes:
            self.remark(element, "gen-ignored", "gen= means nothing; remove it")
        if element.tag in ("edge", "to", "from"):
            # A condition that is misspelt must not be taken for none.
            element.allow(*names, "gen", *CONDITIONS)
            return
        for wrong, right in (("from", "head"), ("to", "tail")):
            if wrong in element.attributes:
                element.fail(f"<{element.tag}> has no {wrong}=; write {right}=, or <edge> for what includes what")
        unknown = sorted(element.attributes.keys() - {*names, "gen"})
        if unknown:
            message = f"{unknown[0][:80]}= of <{element.tag}> means nothing: an order holds for all hosts; remove it"
            self.remark(element, "attribute-unknown", message)

    def add(self, element: Element, left: str, right: str, when: Condition) -> None:
        is_edge = element.tag in ("edge", "to", "from")
        if left == right:
            self.remark(element, "self-pair", f"{left} is paired with itself, which says nothing; remove the pair")
        elif is_edge:
            for name in (left, right):
                if name in (HEAD, TAIL):
                    element.fail(f"{name} is a mark for <order>, not a node; remove the edge")
            self.edges.append(Edge(left, right, when, element.file, element.line, element.tag == "edge"))
        else:
            if (left, right) == (TAIL, HEAD):
                element.fail("TAIL cannot stand before HEAD")
            self.orders.append(Order(left, right, element.file, element.line))

    def remark(self, element: Element, code: str, message: str) -> None:
        self.remarks.append(Remark(self.file, element.line, code, message))


def _name(element: Element, kind: str, value: str | None) -> str:
    if value is None:
        element.fail("an attribute reference cannot name a node: write an edge per value, with a condition")
    name = value.strip()
    if not NODE_NAME.fullmatch(name):
        shown = f"{kind} {name!r} is no node name" if name else f"{kind} names no node"
        element.fail(f"{shown}; write letters, digits, '_', '.', '+', '-'")
    return name
