"""Ordering: the sequence that order pairs ask for, one for all hosts, and why a node stands before another.

Rocks' zones (docs/graph-format.md, *Order*): what is before HEAD, what pairs speak of, what they do not, what is after
TAIL. A pair counts through nodes that are not selected, too. What the pairs leave open is alphabetical.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from avalanche.errors import GraphError

HEAD, TAIL = "HEAD", "TAIL"  # zone markers: what is before HEAD comes first of all, what is after TAIL last
FIRST, ORDERED, FREE, LAST = range(4)


@dataclass(frozen=True, slots=True)
class Order:
    """``head`` takes effect before ``tail``."""

    head: str
    tail: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.head} before {self.tail}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "by definition"


_ZONES = Order(HEAD, TAIL)


@dataclass(frozen=True)
class Ordering:
    """The order pairs of all rolls."""

    orders: tuple[Order, ...] = ()

    def __repr__(self) -> str:
        return f"<Ordering {len(self.orders)} pairs>"

    @property
    def names(self) -> frozenset[str]:
        """The nodes that pairs speak of."""
        return frozenset(name for order in self.orders for name in (order.head, order.tail)) - {HEAD, TAIL}

    def key(self, name: str) -> tuple[int, int, str]:
        """Return what to sort a node by.

        Raises:
            GraphError: the pairs form a cycle; the message prints it with the place of each pair.
        """
        zone, place = self.ranks.get(name, (FREE, 0))
        return zone, place, name

    def zone(self, name: str) -> int:
        """Return the zone of a node: FIRST, ORDERED, FREE or LAST."""
        return self._zones.get(name, FREE)

    def chain(self, head: str, tail: str) -> tuple[Order, ...]:
        """Return a shortest chain of pairs that puts ``head`` before ``tail``; an empty one when there is none."""
        reached: dict[str, Order] = {}
        waiting = deque([head])
        while waiting and tail not in reached:
            for order in self._outgoing.get(waiting.popleft(), ()):
                if order.tail != head and order.tail not in reached:
                    reached[order.tail] = order
                    waiting.append(order.tail)
        steps: list[Order] = []
        name = tail
        while name in reached:
            steps.append(reached[name])
            name = steps[-1].head
        return tuple(reversed(steps))

    def waits_for(self, name: str) -> frozenset[str]:
        """Return the nodes that some chain of pairs puts before a node, without the marks."""
        return frozenset(_closure(name, self._before))

    @cached_property
    def ranks(self) -> Mapping[str, tuple[int, int]]:
        """Zone and place of every node that a pair speaks of.

        Raises:
            GraphError: the pairs form a cycle.
        """
        ranks, stuck = _sorted(self._after, self._before, self._zones)
        if stuck:
            raise self._error(_cycle(self._pairs, stuck))
        return {name: rank for name, rank in ranks.items() if name not in (HEAD, TAIL)}

    def cycles(self) -> tuple[GraphError, ...]:
        """Return a complaint for each cycle, as long as taking one apart leaves another."""
        found: list[GraphError] = []
        remaining = self._pairs
        while True:
            after, before = _maps(remaining)
            stuck = _sorted(after, before, self._zones)[1]
            if not stuck:
                return tuple(found)
            cycle = _cycle(remaining, stuck)
            found.append(self._error(cycle))
            steps = {(order.head, order.tail) for order in cycle} - {(HEAD, TAIL)}
            remaining = tuple(order for order in remaining if (order.head, order.tail) not in steps)

    @cached_property
    def _pairs(self) -> tuple[Order, ...]:
        # Sorted by content, so that no answer depends on the order in which files were read.
        return tuple(sorted({*self.orders, _ZONES}, key=lambda order: (order.head, order.tail, order.file, order.line)))

    @cached_property
    def _outgoing(self) -> Mapping[str, list[Order]]:
        found: dict[str, list[Order]] = defaultdict(list)
        for order in self._pairs:
            found[order.head].append(order)
        return found

    @cached_property
    def _maps(self) -> tuple[Mapping[str, set[str]], Mapping[str, set[str]]]:
        return _maps(self._pairs)

    @property
    def _after(self) -> Mapping[str, set[str]]:
        return self._maps[0]

    @property
    def _before(self) -> Mapping[str, set[str]]:
        return self._maps[1]

    @cached_property
    def _zones(self) -> Mapping[str, int]:
        first, last = _closure(HEAD, self._before), _closure(TAIL, self._after)
        names = {name for order in self._pairs for name in (order.head, order.tail)}
        return {name: FIRST if name in first else LAST if name in last else ORDERED for name in names}

    @staticmethod
    def _error(cycle: list[Order]) -> GraphError:
        steps = "".join(f" -> {pair.tail} ({pair.place})" for pair in cycle)
        placed = next(pair for pair in cycle if pair.file)
        return GraphError(
            f"the order of nodes is a cycle: {cycle[0].head}{steps}; remove one of these pairs",
            file=placed.file,
            line=placed.line,
        )


def _maps(pairs: Iterable[Order]) -> tuple[Mapping[str, set[str]], Mapping[str, set[str]]]:
    after: dict[str, set[str]] = defaultdict(set)
    before: dict[str, set[str]] = defaultdict(set)
    for order in pairs:
        after[order.head].add(order.tail)
        before[order.tail].add(order.head)
    return dict(after), dict(before)


def _closure(start: str, step: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = step.get(waiting.pop(), set()) - found
        found |= fresh
        waiting.extend(fresh)
    return found - {HEAD, TAIL}


def _sorted(
    after: Mapping[str, set[str]], before: Mapping[str, set[str]], zones: Mapping[str, int]
) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Sort by Kahn's algorithm, what is ready by zone, then by name; returns ranks, and what never gets ready."""
    waiting = {name: len(before.get(name, ())) for name in zones}
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
    return ranks, zones.keys() - ranks.keys()


def _cycle(orders: Iterable[Order], stuck: set[str]) -> list[Order]:
    """Return a cycle among nodes each of which waits for another of them; it begins with its first name."""
    pairs: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
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
    return cycle[first:] + cycle[:first]
