"""What is to be reached, as data, and whether it was. Pure: judges the document that `lab.bench.driver` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
"""The cells by name, as they are in ``result.json``."""
PLANES = ("relay", "auto")
"""What a host gets unless somebody says otherwise, and what the frontend chooses."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one plane in one cell: the ``value`` that must not exceed a target's bound."""

    value: float
    cpu_bound: bool = False


Measure = Callable[[Document, str], Figure | None]
"""From the cells and a plane to the figure; infinite when some host never finished; None: it was not measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """One row. ``planes`` are those that must reach it."""

    name: str
    bound: float
    measure: Measure
    planes: Sequence[str] = PLANES


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target with one plane: ``met``, ``not met``, ``cpu_bound`` (not met, and the processors were the
    limit) or ``not measured``. ``value`` is None for what was not measured, and for what never ended.
    """

    target: str
    plane: str
    bound: float
    value: float | None
    state: str


def best(cell: Document) -> float:
    """What one host alone takes, or the limit if that is longer: figures are held against it."""
    return float(max(cell["single_host_http_seconds"], cell["limit_seconds"]))


def slowest(result: Document, *, without_hit: bool = False) -> float | None:
    """Seconds of the slowest host that was not killed; None when one has no time."""
    names = [
        name
        for name in result.get("seconds", {})
        if name not in result["killed"] and not (without_hit and name in result["hit"])
    ]
    seconds = [result["seconds"][name] for name in names]
    return None if not seconds or None in seconds or result["problems"] else max(seconds)


def _found(document: Document, cell: str, plane: str) -> tuple[Document, Document] | None:
    found = document.get(cell, {}).get("planes", {}).get(plane)
    return None if found is None or "failed" in found else (document[cell], found)


def _slowest(result: Document, *, others: bool = False) -> float:
    seconds = slowest(result, without_hit=others)
    return math.inf if seconds is None else seconds


def _time(cell: str, relate: Callable[[float, Document, Document], float], *, others: bool = False) -> Measure:
    """What ``relate`` makes of the slowest host's seconds, the cell and the plane's result; infinite for never."""

    def measure(document: Document, plane: str) -> Figure | None:
        found = _found(document, cell, plane)
        if found is None:
            return None
        return Figure(relate(_slowest(found[1], others=others), *found), found[1]["cpu_bound"])

    return measure


def ratio(cell: str, *, others: bool = False) -> Measure:
    """The slowest host's time to the best; ``others``: without those that a fault was meant for."""

    return _time(cell, lambda seconds, found, _: seconds / best(found), others=others)


def copies(cell: str) -> Measure:
    """Payload the frontend sent, in unions."""

    def measure(document: Document, plane: str) -> Figure | None:
        found = _found(document, cell, plane)
        if found is None or found[1]["frontend_copies"] is None:
            return None
        return Figure(found[1]["frontend_copies"])

    return measure


def per_host(cell: str) -> Measure:
    """The longest time of a host from its own start, to that of one host alone."""

    return _time(cell, lambda seconds, found, _: seconds / float(found["single_host_http_seconds"]))


def beyond_outage(cell: str) -> Measure:
    """What the slowest survivor took beyond the outage, to the time of one host alone."""

    return _time(cell, lambda seconds, found, result: (seconds - sum(result["outages"])) / best(found))


def trunk(cell: str) -> Measure:
    """What crosses into another rack, in unions."""

    def measure(document: Document, plane: str) -> Figure | None:
        found = _found(document, cell, plane)
        if found is None or not found[1]["trunk_copies"]:
            return None
        return Figure(max(into for into, _ in found[1]["trunk_copies"].values()))

    return measure


def to_curl(cell: str) -> Measure:
    """To plain curl of the same cell."""

    def measure(document: Document, plane: str) -> Figure | None:
        found, other = _found(document, cell, plane), _found(document, cell, "http")
        curl = None if other is None else slowest(other[1])
        if found is None or curl is None:
            return None
        return Figure(_slowest(found[1]) / curl, found[1]["cpu_bound"])

    return measure


def to_better(document: Document, plane: str) -> Figure | None:
    """The worst cell's time to that of the better of the planes that ``auto`` chooses from."""
    figures = []
    for name in document:
        times = {}
        for each in (plane, "relay", "swarm"):
            found = _found(document, name, each)
            if found is not None:
                times[each] = _slowest(found[1])
        others = [seconds for each, seconds in times.items() if each != plane]
        if plane in times and min(others, default=math.inf) < math.inf and document[name]["hosts"] > 1:
            figures.append(Figure(times[plane] / min(others), document[name]["planes"][plane]["cpu_bound"]))
    return max(figures, key=lambda figure: figure.value, default=None)


def weight(cell: str, key: str) -> Measure:
    """Processor time per 32 MB, or memory, of one host."""

    def measure(document: Document, plane: str) -> Figure | None:
        found = _found(document, cell, plane)
        if found is None:
            return None
        if key == "rss":
            return Figure(found[1]["rss_mib_per_host"])
        seconds = found[1]["cpu_seconds_per_host"]["median"]
        return Figure(seconds * 32e6 / found[0]["closures"]["largest"])

    return measure


TARGETS: tuple[Target, ...] = (
    Target("real size, N = 8: ratio", 1.03, ratio("real")),
    Target("real size, N = 8: copies", 1.05, copies("real")),
    Target("scaled, N = 16: ratio", 1.03, ratio("scaled-16")),
    Target("scaled, N = 32: ratio", 1.05, ratio("scaled-32")),
    Target("scaled, N = 64: ratio", 1.08, ratio("scaled-64")),
    *(Target(f"scaled, N = {n}: copies", 1.05, copies(f"scaled-{n}")) for n in (16, 32, 64)),
    Target("mixed (half A, half 60 % A + 40 % B): to the limit", 1.10, ratio("mixed")),
    Target("staggered 0.3 s, N = 16: per host to a single one", 1.10, per_host("staggered")),
    Target("one host with 1/4 uplink, N = 16: everyone else", 1.25, ratio("slow", others=True)),
    Target("20 % killed at a third, N = 16: survivors", 1.08, ratio("killed")),
    Target("same, frontend and tracker still for 5 s: beyond those 5 s", 1.05, beyond_outage("outage")),
    Target("same, frontend and tracker restarted: beyond the outage", 1.05, beyond_outage("restart")),
    Target("two racks, N = 16: trunk copies", 1.05, trunk("racks")),
    Target("two racks, N = 16: ratio", 1.15, ratio("racks")),
    Target("half join at 50 %, N = 16: per host to a single one", 1.10, per_host("late")),
    Target("SIGSTOP of one host for 5 s, N = 16: everyone else", 1.15, ratio("stopped", others=True)),
    Target("swarm plane, N = 16: ratio", 1.10, ratio("scaled-16"), ("swarm",)),
    Target("swarm plane, N = 16: copies", 1.06, copies("scaled-16"), ("swarm",)),
    Target("auto, N = 1: to plain curl", 1.02, to_curl("single"), ("auto",)),
    Target("auto, elsewhere: to the better peer plane", 1.02, to_better, ("auto",)),
    Target("agent: CPU seconds per 32 MB", 0.3, weight("scaled-16", "cpu"), ("relay", "swarm")),
    Target("agent: MiB of memory beside the cache", 30, weight("scaled-16", "rss"), ("relay",)),
    Target("agent: MiB of memory beside the cache", 60, weight("scaled-16", "rss"), ("swarm",)),
)


def verdicts(document: Document) -> list[Verdict]:
    """Judge every row for each of its planes."""
    found = []
    for target in TARGETS:
        for plane in target.planes:
            figure = target.measure(document, plane)
            value = None if figure is None or math.isinf(figure.value) else round(figure.value, 4)
            found.append(Verdict(target.name, plane, target.bound, value, _state(figure, target.bound)))
    return found


def _state(figure: Figure | None, bound: float) -> str:
    if figure is None:
        return "not measured"
    if figure.value <= bound:
        return "met"
    return "cpu_bound" if figure.cpu_bound else "not met"
