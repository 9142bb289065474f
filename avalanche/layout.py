"""Layout: boxes of a directed graph in layers, sources above targets, with few crossings.

The steps are Sugiyama's: circles are broken, boxes get layers by their longest path from a source, edges that span
layers get a point in each, the boxes of a layer are sorted by where their neighbours are, and then moved near them.
Nothing is left to chance: equal graphs get equal pictures.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

GAP = 26.0  # between boxes of a layer
LANE = 8.0  # width of an edge that passes a layer
LAYER_GAP = 84.0
SWEEPS = 24

Pair = tuple[str, str]


@dataclass(frozen=True)
class Place:
    """Where a box is: its centre's x, and its top's y."""

    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """``routes`` holds for each edge the points of its way: straight within a layer, aside between two."""

    places: Mapping[str, Place]
    routes: Mapping[Pair, tuple[tuple[float, float], ...]]
    width: float
    height: float


def lay_out(sizes: Mapping[str, tuple[float, float]], edges: Iterable[Pair]) -> Layout:
    """Place boxes.

    Args:
        sizes: width and height by name.
        edges: pairs of names, the upper one first.
    """
    pairs = sorted({(source, target) for source, target in edges if source != target})
    forward = _without_circles(sorted(sizes), pairs)
    layer = _layers(sorted(sizes), forward.values())
    columns = _Columns(sizes, layer)
    chains = {pair: columns.chain(*way) for pair, way in forward.items()}
    columns.sort()
    x = columns.align()
    tops, bottoms = columns.rows()
    places = {name: Place(x[name], tops[layer[name]]) for name in sizes}
    routes = {}
    for pair, chain in chains.items():
        start = chain[0]
        # Straight down beside the taller boxes of its layer, and only then aside.
        points = [(x[start], tops[layer[start]] + sizes[start][1]), (x[start], bottoms[layer[start]])]
        for number, name in enumerate(chain[1:-1], layer[chain[0]] + 1):
            points += [(x[name], tops[number]), (x[name], bottoms[number])]
        points.append((x[chain[-1]], tops[layer[chain[-1]]]))
        routes[pair] = tuple(points if start == pair[0] else reversed(points))
    width = max((places[name].x + size[0] / 2 for name, size in sizes.items()), default=0.0)
    lanes = max((point[0] for points in routes.values() for point in points), default=0.0)
    return Layout(places, routes, max(width, lanes), max(bottoms, default=0.0))


def _without_circles(names: Sequence[str], pairs: Sequence[Pair]) -> dict[Pair, Pair]:
    """Return each pair with the direction to draw it in: those that close a circle are turned."""
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        targets[source].append(target)
    entered = {target for _, target in pairs}
    state: dict[str, int] = {}
    turned: set[Pair] = set()
    for root in sorted(names, key=lambda name: (name in entered, name)):
        stack = [(root, iter(targets[root]))] if root not in state else []
        if stack:
            state[root] = 1
        while stack:
            name, following = stack[-1]
            step = next(following, None)
            if step is None:
                state[name] = 2
                stack.pop()
            elif state.get(step) == 1:
                turned.add((name, step))
            elif step not in state:
                state[step] = 1
                stack.append((step, iter(targets[step])))
    return {pair: (pair[1], pair[0]) if pair in turned else pair for pair in pairs}


def _layers(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, int]:
    sources: dict[str, set[str]] = {name: set() for name in names}
    targets: dict[str, set[str]] = {name: set() for name in names}
    for source, target in pairs:
        sources[target].add(source)
        targets[source].add(target)
    found: dict[str, int] = {}
    ready = sorted(name for name in names if not sources[name])
    waiting = {name: len(sources[name]) for name in names}
    while ready:
        name = ready.pop()
        found[name] = max((found[source] + 1 for source in sources[name]), default=0)
        for target in targets[name]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    # Down as far as its targets allow: an edge is short where it can be. What nothing includes stays on top.
    for name in sorted(names, key=lambda name: -found[name]):
        if sources[name] and targets[name]:
            found[name] = min(found[target] for target in targets[name]) - 1
    return found


class _Columns:
    """The layers' boxes and lanes from left to right."""

    def __init__(self, sizes: Mapping[str, tuple[float, float]], layer: Mapping[str, int]) -> None:
        self.sizes = dict(sizes)
        self.rank = dict(layer)
        self.layers: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
        for name in sorted(layer):
            self.layers[layer[name]].append(name)
        self.up: dict[str, list[str]] = defaultdict(list)
        self.down: dict[str, list[str]] = defaultdict(list)

    def chain(self, source: str, target: str) -> list[str]:
        """Add an edge; return its boxes and lanes, one per layer."""
        chain = [source]
        for number in range(self.rank[source] + 1, self.rank[target]):
            lane = f"\0{source}\0{target}\0{number}"
            self.sizes[lane], self.rank[lane] = (LANE, 0.0), number
            self.layers[number].append(lane)
            chain.append(lane)
        chain.append(target)
        for upper, lower in zip(chain, chain[1:], strict=False):
            self.down[upper].append(lower)
            self.up[lower].append(upper)
        return chain

    def sort(self) -> None:
        """Sort each layer by its neighbours' middle, down and up; the best of all sweeps stays."""
        best, least = [list(layer) for layer in self.layers], self.crossings()
        for sweep in range(SWEEPS):
            downward = sweep % 2 == 0
            numbers = range(1, len(self.layers)) if downward else range(len(self.layers) - 2, -1, -1)
            for number in numbers:
                other = self.layers[number - 1 if downward else number + 1]
                position = {name: place for place, name in enumerate(other)}
                near = self.up if downward else self.down
                own = {name: place for place, name in enumerate(self.layers[number])}
                # One without neighbours there keeps its place.
                share = len(other) / max(1, len(own))
                self.layers[number].sort(
                    key=lambda name: (
                        sum(position[n] for n in near[name]) / len(near[name]) if near[name] else own[name] * share,
                        name,
                    )
                )
            count = self.crossings()
            if count < least:
                best, least = [list(layer) for layer in self.layers], count
        self.layers = best

    def crossings(self) -> int:
        total = 0
        for upper, lower in zip(self.layers, self.layers[1:], strict=False):
            position = {name: place for place, name in enumerate(lower)}
            seen: list[int] = []
            for name in upper:
                places = sorted(position[target] for target in self.down[name])
                total += sum(len(seen) - bisect_right(seen, place) for place in places)
                for place in places:
                    insort(seen, place)
        return total

    def align(self) -> dict[str, float]:
        """Give every box an x near those of its neighbours."""
        x: dict[str, float] = {}
        for layer in self.layers:
            left = 0.0
            for name in layer:
                x[name] = left + self.sizes[name][0] / 2
                left += self.sizes[name][0] + GAP
        for sweep in range(SWEEPS):
            downward = sweep % 2 == 0
            for layer in self.layers if downward else self.layers[::-1]:
                near = self.up if downward else self.down
                wanted = [sum(x[n] for n in near[name]) / len(near[name]) if near[name] else x[name] for name in layer]
                x.update(zip(layer, self._spread(layer, wanted), strict=True))
        least = min((x[name] - self.sizes[name][0] / 2 for name in x), default=0.0)
        return {name: value - least for name, value in x.items()}

    def _spread(self, layer: Sequence[str], wanted: Sequence[float]) -> list[float]:
        """The places nearest to those wanted (least squares) at which no two boxes overlap."""
        offsets = [0.0]
        for left, right in zip(layer, layer[1:], strict=False):
            offsets.append(offsets[-1] + (self.sizes[left][0] + self.sizes[right][0]) / 2 + GAP)
        blocks: list[tuple[float, int]] = []  # mean and count: neighbours that push each other move as one
        for want, offset in zip(wanted, offsets, strict=True):
            mean, count = want - offset, 1
            while blocks and blocks[-1][0] > mean:
                other, members = blocks.pop()
                mean, count = (mean * count + other * members) / (count + members), count + members
            blocks.append((mean, count))
        means = [mean for mean, count in blocks for _ in range(count)]
        return [mean + offset for mean, offset in zip(means, offsets, strict=True)]

    def rows(self) -> tuple[list[float], list[float]]:
        """Top and bottom of every layer."""
        tops: list[float] = []
        bottoms: list[float] = []
        for layer in self.layers:
            tops.append(bottoms[-1] + LAYER_GAP if bottoms else 0.0)
            bottoms.append(tops[-1] + max((self.sizes[name][1] for name in layer), default=0.0))
        return tops, bottoms
