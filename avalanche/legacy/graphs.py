"""Graph files as the original read them: one state machine for all files of all rolls, in the order of their names.

Edges of the child form (``<edge from="a"><to cond=...>``) are created only when their condition holds; edges of the
attribute form always are, and carry their condition with them. Names are taken as they stand, blanks included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from avalanche.condition import CONDITIONS
from avalanche.document import Element, parse_document
from avalanche.errors import DefinitionError
from avalanche.legacy.conditions import compose, holds
from avalanche.legacy.text import MAX_FILE, Place, Stopped
from avalanche.legacy.tree import File


@dataclass(eq=False)
class Vertex:
    """A node of a graph. Two of one name can exist: a pair of a name with itself makes the second one."""

    name: str | None
    incoming: int = 0
    outgoing: int = 0


@dataclass(frozen=True, eq=False)
class Link:
    """An edge or an order pair, from ``source`` to ``target``."""

    source: Vertex
    target: Vertex
    place: Place
    condition: str = ""  # of an edge
    generator: str | None = None  # gen= of an order pair


@dataclass
class Network:
    """Vertices by name, and the links that leave each of them in the order in which they were made."""

    vertices: dict[str | None, Vertex] = field(default_factory=dict)
    leaving: dict[Vertex, list[Link]] = field(default_factory=dict)

    def connect(
        self, source: Vertex | None, target: Vertex, place: Place, condition: str = "", generator: str | None = None
    ) -> None:
        """Add a link.

        Raises:
            Stopped: there is no source (the HEAD of a graph without one).
        """
        if source is None:
            raise Stopped("AttributeError: 'NoneType' object has no attribute 'setOutDegree'", place)
        source.outgoing += 1
        target.incoming += 1
        self.vertices.setdefault(source.name, source)
        self.vertices.setdefault(target.name, target)
        self.leaving.setdefault(source, []).append(Link(source, target, place, condition, generator))

    def pair(self, source: str | None, target: str | None) -> tuple[Vertex, Vertex]:
        """The two ends of a new link: known vertices, or new ones, even when both have the same name."""
        return self.vertices.get(source) or Vertex(source), self.vertices.get(target) or Vertex(target)


@dataclass
class Graphs:
    """What all graph files say together: edges between nodes, and order pairs."""

    edges: Network = field(default_factory=Network)
    orders: Network = field(default_factory=Network)


def read_graphs(files: Iterable[File], attributes: Mapping[str, str]) -> Graphs:
    """Read graph files, in this order.

    Args:
        attributes: values as the original declares them (``escape_value``).

    Raises:
        Stopped: a file is not well-formed, or a condition cannot be evaluated.
        DefinitionError: a file breaks a bound, or has a document type.
    """
    state = _State(attributes)
    for file in files:
        try:
            root = parse_document(file.data, file=file.path, size=MAX_FILE)
        except DefinitionError as error:
            if "not well-formed" in error.message:
                words = error.message.removeprefix("not well-formed XML: ").rpartition(" at column ")[0]
                raise Stopped(f"SAXParseException: {words}", Place(file.path, error.line or 0)) from None
            raise
        state.walk(root)
    return state.graphs


class _State:
    """What the original kept between two tags, and across files."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.graphs = Graphs()
        self.text = ""
        self.edge_from: str | None = None
        self.edge_to: str | None = None
        self.edge_condition: str | None = None  # of the last <edge>; None before the first
        self.condition = ""
        self.head: str | None = None
        self.tail: str | None = None
        self.generator: str | None = None
        self.order_generator: str | None = None  # of the last <order>
        self.in_order = False

    def walk(self, element: Element) -> None:
        start = getattr(self, f"start_{element.tag}", None) if element.tag in _TAGS else None
        if start is not None:
            start(element)
        for item in element.content:
            if isinstance(item, Element):
                self.walk(item)
            else:
                self.text += str(item)
        end = getattr(self, f"end_{element.tag}", None) if element.tag in _TAGS else None
        if end is not None:
            end(element)

    def start_edge(self, element: Element) -> None:
        self.edge_condition = compose(*(element.get(name) for name in CONDITIONS))
        self.condition = self.edge_condition
        self.edge_to = element.get("to")
        self.edge_from = element.get("from")

    def end_edge(self, element: Element) -> None:
        if self.edge_to and self.edge_from:
            self.add_edge(element)

    def start_to(self, element: Element) -> None:
        self.text = ""
        condition = self.edge_condition
        if condition is None:
            raise Stopped(f"AttributeError: <{element.tag}> before any <edge>", _place(element))
        own = element.get("cond")
        if own is not None:
            # Without a condition of the edge this reads "(  and X )", which is no Python.
            condition = f"( {condition} and {own} )"
        self.condition = compose(element.get("arch"), element.get("os"), element.get("release"), condition)

    start_from = start_to

    def end_to(self, element: Element) -> None:
        if holds(self.condition, self.attributes, _place(element)):
            self.edge_to = self.text
            self.add_edge(element)
        self.edge_to = None

    def end_from(self, element: Element) -> None:
        if holds(self.condition, self.attributes, _place(element)):
            self.edge_from = self.text
            self.add_edge(element)
        self.edge_from = None

    def add_edge(self, element: Element) -> None:
        target, source = self.graphs.edges.pair(self.edge_to, self.edge_from)
        self.graphs.edges.connect(source, target, _place(element), condition=self.edge_condition or "")

    def start_order(self, element: Element) -> None:
        self.head, self.tail = element.get("head"), element.get("tail")
        self.generator = self.order_generator = element.get("gen")
        self.in_order = True

    def end_order(self, element: Element) -> None:
        if self.head and self.tail:
            self.add_order(element)

    def start_head(self, element: Element) -> None:
        self.text = ""
        if not self.in_order:
            raise Stopped(f"AttributeError: <{element.tag}> before any <order>", _place(element))
        own = element.get("gen")
        self.generator = self.order_generator if own is None else own

    start_tail = start_head

    def end_head(self, element: Element) -> None:
        self.head = self.text
        self.add_order(element)
        self.head = None

    def end_tail(self, element: Element) -> None:
        self.tail = self.text
        self.add_order(element)
        self.tail = None

    def add_order(self, element: Element) -> None:
        head, tail = self.graphs.orders.pair(self.head, self.tail)
        self.graphs.orders.connect(head, tail, _place(element), generator=self.generator)


_TAGS = frozenset({"edge", "to", "from", "order", "head", "tail"})


def _place(element: Element) -> Place:
    return Place(element.file, element.line)
