"""Graph files as the original read them: one state machine for all files of all rolls, in the order of their names.

Edges of the child form (``<edge from="a"><to cond=...>``) are created only when their condition holds; edges of the
attribute form always are, and carry their condition with them. Names are taken as they stand, blanks included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from avalanche.legacy.conditions import compose, holds
from avalanche.legacy.text import MAX_FILE, NOWHERE, Place, Reader, Stopped, refuse
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
        if len(file.data) > MAX_FILE:
            refuse(f"the file has more than the {MAX_FILE} bytes allowed; split it", file.place)
        _GraphReader(file, state).feed([file.data], close=True)
    return state.graphs


class _GraphReader(Reader):
    """Reads a graph file as it is: there are no attributes to refer to, and no header of ours."""

    def __init__(self, file: File, state: _State) -> None:
        super().__init__()
        self.file = file
        self.state = state
        self.parser.StartDoctypeDeclHandler = self.refuse_document_type

    def refuse_document_type(self, *_: object) -> None:
        refuse("a document type (<!DOCTYPE) is not read by --legacy; remove it", self.here())

    def here(self) -> Place:
        return Place(self.file.path, self.parser.CurrentLineNumber)

    def at_error(self) -> Place:
        return Place(self.file.path, self.parser.ErrorLineNumber)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.state.place = self.here()
        if tag in self.state.starts:
            self.state.starts[tag](attributes)

    def end(self, tag: str) -> None:
        self.state.place = self.here()
        if tag in self.state.ends:
            self.state.ends[tag]()

    def characters(self, data: str) -> None:
        self.state.text += data


class _State:
    """What the original kept between two tags, and across files."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.graphs = Graphs()
        self.place = NOWHERE
        self.text = ""
        self.edge_from: str | None = None
        self.edge_to: str | None = None
        self.edge_condition: str | None = None  # of the last <edge>; None before the first
        self.condition = ""
        self.head: str | None = None
        self.tail: str | None = None
        self.generator: str | None = None
        self.order_generator: str | None = None  # of the last <order>
        self.has_order = False
        self.starts: dict[str, Callable[[Mapping[str, str]], None]] = {
            "edge": self.start_edge, "to": self.start_end_of_edge, "from": self.start_end_of_edge,
            "order": self.start_order, "head": self.start_end_of_order, "tail": self.start_end_of_order,
        }  # fmt: skip
        self.ends: dict[str, Callable[[], None]] = {
            "edge": self.end_edge, "to": self.end_to, "from": self.end_from,
            "order": self.end_order, "head": self.end_head, "tail": self.end_tail,
        }  # fmt: skip

    def start_edge(self, attributes: Mapping[str, str]) -> None:
        self.edge_condition = compose(
            attributes.get("arch"), attributes.get("os"), attributes.get("release"), attributes.get("cond")
        )
        self.condition = self.edge_condition
        self.edge_to = attributes.get("to")
        self.edge_from = attributes.get("from")

    def end_edge(self) -> None:
        if self.edge_to and self.edge_from:
            self.add_edge()

    def start_end_of_edge(self, attributes: Mapping[str, str]) -> None:
        self.text = ""
        condition = self.edge_condition
        if condition is None:
            raise Stopped("AttributeError: Struct instance has no attribute 'cond'", self.place)
        if "cond" in attributes:
            # Without a condition of the edge this reads "(  and X )", which is no Python.
            condition = f"( {condition} and {attributes['cond']} )"
        self.condition = compose(attributes.get("arch"), attributes.get("os"), attributes.get("release"), condition)

    def end_to(self) -> None:
        if holds(self.condition, self.attributes, self.place):
            self.edge_to = self.text
            self.add_edge()
        self.edge_to = None

    def end_from(self) -> None:
        if holds(self.condition, self.attributes, self.place):
            self.edge_from = self.text
            self.add_edge()
        self.edge_from = None

    def add_edge(self) -> None:
        target, source = self.graphs.edges.pair(self.edge_to, self.edge_from)
        self.graphs.edges.connect(source, target, self.place, condition=self.edge_condition or "")

    def start_order(self, attributes: Mapping[str, str]) -> None:
        self.head, self.tail = attributes.get("head"), attributes.get("tail")
        self.generator = self.order_generator = attributes.get("gen")
        self.has_order = True

    def end_order(self) -> None:
        if self.head and self.tail:
            self.add_order()

    def start_end_of_order(self, attributes: Mapping[str, str]) -> None:
        self.text = ""
        if not self.has_order:
            raise Stopped("AttributeError: Struct instance has no attribute 'gen'", self.place)
        self.generator = attributes.get("gen", self.order_generator)

    def end_head(self) -> None:
        self.head = self.text
        self.add_order()
        self.head = None

    def end_tail(self) -> None:
        self.tail = self.text
        self.add_order()
        self.tail = None

    def add_order(self) -> None:
        head, tail = self.graphs.orders.pair(self.head, self.tail)
        self.graphs.orders.connect(head, tail, self.place, generator=self.generator)
