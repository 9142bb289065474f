"""Which nodes the original selects, and in which order it writes them.

Selection is a depth-first walk along the edges in the order of the files. A node keeps only the condition of the edge
that reached it *first*: a false one drops the node, but not its children, and no later edge brings it back.

Order is the reverse of the finishing times of a depth-first walk over all order pairs, in which HEAD comes before what
has no beginning and TAIL after what has no end. Nodes that no pair speaks of stand at TAIL, by name. Which of several
walks the original took varied from run to run; here it is the alphabetical one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from avalanche.legacy.conditions import holds
from avalanche.legacy.graphs import Graphs, Link, Network, Vertex
from avalanche.legacy.text import NOWHERE, Place, Stopped

HEAD, TAIL = "HEAD", "TAIL"
GENERATOR = "kgen"


@dataclass(frozen=True)
class Selected:
    """A node of a profile, and the place of the edge that reached it."""

    name: str
    place: Place


def traverse(graphs: Graphs, root: str, attributes: Mapping[str, str]) -> tuple[Selected, ...]:
    """Select and order the nodes of a root.

    Args:
        attributes: values as the original declares them (``escape_value``).

    Raises:
        Stopped: no edge mentions the root, an edge or pair joins a name to itself, or a condition is none.
    """
    start = graphs.edges.vertices.get(root)
    if start is None:
        raise Stopped(f"error - node {root} in not in graph")
    reached = _reached(graphs.edges, start)
    names = sorted(reached, key=_key)
    kept = {name: _kept(reached[name], attributes) for name in names}
    ordered = list(_ordered(graphs.orders))
    free = [name for name in names if kept[name] and name not in {vertex.name for vertex, _ in ordered}]
    dropped = {vertex.name for vertex, generator in ordered if generator not in (None, GENERATOR)}
    found: list[str | None] = []
    for vertex, _ in ordered:
        if vertex.name == TAIL:
            found += free
        elif vertex.name not in dropped and kept.get(vertex.name):
            found.append(vertex.name)
    found += [name for name in free if name not in found]
    return tuple(Selected(str(name), _place(reached[name])) for name in found)


def _reached(network: Network, start: Vertex) -> dict[str | None, Link | None]:
    """Every node that edges lead to, whatever their conditions, with the first edge."""
    found: dict[str | None, Link | None] = {}
    for vertex, link, is_end in _walk(network, [start], lambda vertex: network.leaving.get(vertex, ())):
        if not is_end:
            found[vertex.name] = link
    return found


def _kept(link: Link | None, attributes: Mapping[str, str]) -> bool:
    return link is None or holds(link.condition, attributes, link.place)


def _place(link: Link | None) -> Place:
    return NOWHERE if link is None else link.place


def _ordered(network: Network) -> Iterator[tuple[Vertex, str | None]]:
    """Yield the vertices of the order pairs in order, each with the gen= of the pair that reached it."""
    head, tail = network.vertices.get(HEAD), network.vertices.get(TAIL)
    entering: dict[Vertex, list[Link]] = {}
    for links in network.leaving.values():
        for link in links:
            entering.setdefault(link.target, []).append(link)

    def backward(vertex: Vertex) -> Iterable[Link]:
        return [Link(link.target, link.source, link.place) for link in entering.get(vertex, ())]

    def forward(vertex: Vertex) -> Iterable[Link]:
        return sorted(network.leaving.get(vertex, ()), key=lambda link: _key(link.target.name), reverse=True)

    last_first = sorted(network.vertices.values(), key=lambda vertex: _key(vertex.name), reverse=True)
    ends = [vertex for vertex in last_first if vertex.outgoing == 0]
    before_head = {vertex for vertex, _, _ in _walk(network, ends if head is None else [head], backward)}
    for vertex in last_first:
        if vertex not in before_head and vertex.incoming == 0:
            network.connect(head, vertex, network.leaving[vertex][0].place)

    beginnings = [vertex for vertex in last_first if vertex.incoming == 0]
    after_tail = {vertex for vertex, _, _ in _walk(network, beginnings if tail is None else [tail], forward)}
    for vertex in last_first:
        if vertex not in after_tail and vertex.outgoing == 0:
            if tail is None:
                words = "AttributeError: 'NoneType' object has no attribute 'setInDegree'"
                raise Stopped(words, entering[vertex][0].place)
            network.connect(vertex, tail, NOWHERE)

    beginnings = [vertex for vertex in last_first if vertex.incoming == 0]
    finished = [(vertex, link) for vertex, link, is_end in _walk(network, beginnings, forward) if is_end]
    for vertex, reached_by in reversed(finished):
        yield vertex, None if reached_by is None else reached_by.generator


def _walk(
    network: Network, starts: Sequence[Vertex], links: Callable[[Vertex], Iterable[Link]]
) -> Iterator[tuple[Vertex, Link | None, bool]]:
    """Walk depth first; yields each vertex, the link that reached it, and whether this is its end (else its beginning).

    Raises:
        Stopped: a name was joined to itself at its first mention, which makes a vertex that the original cannot find.
    """
    known = set(network.vertices.values())
    seen: set[Vertex] = set()
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        yield start, None, False
        stack: list[tuple[Vertex, Link | None, Iterator[Link]]] = [(start, None, iter(links(start)))]
        while stack:
            vertex, reached_by, rest = stack[-1]
            link = next((link for link in rest if link.target not in seen), None)
            if link is None:
                stack.pop()
                yield vertex, reached_by, True
                continue
            if link.target not in known:
                raise Stopped(f"KeyError: {link.target.name}", link.place)
            seen.add(link.target)
            yield link.target, link, False
            stack.append((link.target, link, iter(links(link.target))))


def _key(name: str | None) -> str:
    return name or ""
