"""Which nodes the original selects, and in which order it writes them.

Selection is a depth-first walk along the edges in the order of the files. A node keeps only the condition of the edge
that reached it *first*: a false one drops the node, but not its children, and no later edge brings it back.

Order respects all order pairs that a depth-first walk reaches, in which HEAD leads to every beginning and every end
leads to TAIL. Nodes that no pair speaks of stand at TAIL, by name. What the pairs leave open varied from run to run in
the original; here it is what is before HEAD, the rest, what is after TAIL, each by name. Circles were no error.
"""

from __future__ import annotations

import heapq
import itertools
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
    before_head = _put_head_first(network, head)
    after_tail = _put_tail_last(network, tail)
    walked = _walk(network, _last_first(network, lambda vertex: vertex.incoming == 0), _forward(network))
    reached = {vertex: link for vertex, link, is_end in walked if is_end}

    def rank(vertex: Vertex) -> tuple[int, str]:
        zone = 2
        if vertex in (head, tail):
            zone = 1 if vertex is head else 3
        elif vertex in before_head:
            zone = 0
        elif vertex in after_tail:
            zone = 4
        return zone, _key(vertex.name)

    for vertex in _sorted(reached, network, rank):
        link = reached[vertex]
        yield vertex, None if link is None else link.generator


def _put_head_first(network: Network, head: Vertex | None) -> set[Vertex]:
    """Let HEAD lead to every beginning from which none leads to HEAD; returns what is before it."""
    entering: dict[Vertex, list[Link]] = {}
    for links in network.leaving.values():
        for link in links:
            entering.setdefault(link.target, []).append(Link(link.target, link.source, link.place))
    starts = _last_first(network, lambda vertex: vertex.outgoing == 0) if head is None else [head]
    marked = {vertex for vertex, _, _ in _walk(network, starts, lambda vertex: entering.get(vertex, ()))}
    for vertex in _last_first(network, lambda vertex: vertex not in marked and vertex.incoming == 0):
        network.connect(head, vertex, network.leaving[vertex][0].place)
    return marked if head is not None else set()


def _put_tail_last(network: Network, tail: Vertex | None) -> set[Vertex]:
    """Let every end that is not after TAIL lead to TAIL; returns what is after it.

    Raises:
        Stopped: there is no TAIL, and an end that can be reached from a circle only.
    """
    starts = _last_first(network, lambda vertex: vertex.incoming == 0) if tail is None else [tail]
    marked = {vertex for vertex, _, _ in _walk(network, starts, _forward(network))}
    for vertex in _last_first(network, lambda vertex: vertex not in marked and vertex.outgoing == 0):
        if tail is None:
            place = next(link.place for links in network.leaving.values() for link in links if link.target is vertex)
            raise Stopped("AttributeError: 'NoneType' object has no attribute 'setInDegree'", place)
        network.connect(vertex, tail, NOWHERE)
    return marked if tail is not None else set()


def _last_first(network: Network, wanted: Callable[[Vertex], bool]) -> list[Vertex]:
    """The vertices that are wanted, by name, the last one first: what is walked first ends last."""
    return sorted(filter(wanted, network.vertices.values()), key=lambda vertex: _key(vertex.name), reverse=True)


def _forward(network: Network) -> Callable[[Vertex], Iterable[Link]]:
    def links(vertex: Vertex) -> Iterable[Link]:
        return sorted(network.leaving.get(vertex, ()), key=lambda link: _key(link.target.name), reverse=True)

    return links


def _sorted(
    vertices: Iterable[Vertex], network: Network, rank: Callable[[Vertex], tuple[int, str]]
) -> Iterator[Vertex]:
    """Yield vertices so that every link is respected, else by rank; in a circle the lowest rank comes first."""
    ranked = sorted(vertices, key=rank)
    place = {vertex: index for index, vertex in enumerate(ranked)}
    after = {
        vertex: [link.target for link in network.leaving.get(vertex, ()) if link.target is not vertex]
        for vertex in ranked
    }
    before = dict.fromkeys(ranked, 0)
    for target in itertools.chain(*after.values()):
        before[target] += 1
    ready = [place[vertex] for vertex in ranked if before[vertex] == 0]
    done: set[Vertex] = set()
    # Whoever is still there when nothing is ready stands in a circle, or after one.
    for first in range(-1, len(ranked)):
        if first >= 0:
            ready.append(first)
        while ready:
            vertex = ranked[heapq.heappop(ready)]
            if vertex in done:
                continue
            done.add(vertex)
            yield vertex
            for target in after[vertex]:
                before[target] -= 1
                if before[target] == 0:
                    heapq.heappush(ready, place[target])


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
