"""One plane in one cell: from the barrier to the last byte, with what goes wrong, and what it took."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping
from typing import Any

from lab.bench.arena import Arena
from lab.bench.cells import STARS
from lab.bench.peers.plane import Machine, Plane, Serving
from lab.faults import parse_faults
from lab.mishaps import Mishaps
from lab.network import processors
from lab.progress import say
from lab.result import BUSY, seconds_at

_TICK = 0.1
_PATIENCE = 6.0
"""So many times the best that is possible a plane may take; what takes longer is said to have never ended."""
_GRACE_SECONDS = 45.0
_HEADERS = 1.05
"""Of what the links carry, about a twentieth is headers."""

Result = dict[str, Any]


class Trial:
    """One run of one plane.

    Args:
        single: what one host alone took in this cell.
    """

    def __init__(self, arena: Arena, plane: Plane, *, single: float) -> None:
        self._arena = arena
        self._plane = plane
        self._single = single
        cell = arena.cell
        self._mishaps = Mishaps(
            parse_faults(cell.faults),
            [Machine(plane, seat) for seat in arena.seats],
            Serving(plane),
            stagger=cell.stagger,
        )
        self._ends: dict[str, float | None] = {}
        self._failures: dict[str, str] = {}

    def run(self) -> Result:
        """Measure, verify, and return the figures."""
        began = time.monotonic()
        shutil.rmtree(self._arena.work / "hosts", ignore_errors=True)
        try:
            self._plane.start()
            armed = time.monotonic() - began
            self._mishaps.slow_down(self._arena.network)
            result = self._watch()
            result |= self._judge()
        finally:
            self._plane.stop()
            for name in self._mishaps.hit:
                self._arena.network.slow_down(name, self._arena.cell.rate_mbit)
        return result | {"setup_seconds": round(armed, 1), "took_seconds": round(time.monotonic() - began, 1)}

    def _watch(self) -> Result:
        """Lift the barrier and wait until every host has everything, is dead, or has failed."""
        arena, network = self._arena, self._arena.network
        start, trunks, load = network.counters(), network.trunks(), processors()
        self._plane.poll()
        before = {name: weight.cpu_seconds for name, weight in self._plane.weights.items()}
        served = self._plane.server_weight.cpu_seconds
        barrier = time.time()
        self._mishaps.begin(barrier)
        looked = barrier
        while self._unfinished() and time.time() - barrier < self._bound():
            now = time.time()
            if now - looked >= 0.5:
                self._plane.poll()
                looked = time.time()
            counters = network.counters()
            self._mishaps.tick(self._share({name: counters[name][0] - start[name][0] for name in counters}), now)
            time.sleep(_TICK)
        self._plane.poll()
        busy = [after - earlier for after, earlier in zip(processors(), load, strict=True)]
        sent = network.counters()["frontend"][1] - start["frontend"][1]
        union = arena.closures.union
        weights = self._plane.weights
        cpu = [weights[seat.name].cpu_seconds - before[seat.name] for seat in arena.seats]
        share = busy[0] / max(busy[1], 1)
        into_racks = {
            str(rack): [round((after - earlier) / union, 4) for after, earlier in zip(now, trunks[rack], strict=True)]
            for rack, now in network.trunks().items()
        }
        return {
            "frontend_wire_copies": round(sent / union, 4),
            "trunk_copies": into_racks,
            "cpu_seconds_per_host": {"median": round(statistics.median(cpu), 3), "max": round(max(cpu), 3)},
            "rss_mib_per_host": round(max(weight.rss_mib for weight in weights.values()), 1),
            "server_cpu_seconds": round(self._plane.server_weight.cpu_seconds - served, 3),
            "server_rss_mib": round(self._plane.server_weight.rss_mib, 1),
            "busy": round(share, 3),
            "cpu_bound": share > BUSY,
            "outages": list(self._mishaps.outages),
        }  # fmt: skip

    def _unfinished(self) -> bool:
        is_running = False
        for seat in self._arena.seats:
            if seat.name in self._plane.killed or seat.name in self._failures or self._ends.get(seat.name):
                continue
            self._ends[seat.name] = self._plane.finished(seat)
            failure = "" if self._ends[seat.name] else self._plane.failure(seat)
            if failure:
                self._failures[seat.name] = failure
            is_running = is_running or (not failure and self._ends[seat.name] is None)
        return is_running

    def _bound(self) -> float:
        best = max(self._arena.limit_seconds, self._single)
        copies = len(self._arena.seats) if self._plane.name in STARS else 1
        late = self._arena.cell.stagger * len(self._arena.seats)
        return _GRACE_SECONDS + late + (1.5 if copies > 1 else _PATIENCE) * best * copies

    def _share(self, arrived: Mapping[str, int]) -> float:
        begun = [seat for seat in self._arena.seats if seat.name in self._mishaps.starts]
        shares = [arrived[seat.name] / (self._arena.closure(seat).total_bytes * _HEADERS) for seat in begun]
        return sum(min(1.0, share) for share in shares) / max(len(shares), 1)

    def _judge(self) -> Result:
        """Hash what every host has, and say how long each needed from its own start."""
        arena, plane = self._arena, self._plane
        rate = arena.cell.rate_mbit
        alone = {seat.name: seconds_at(arena.closure(seat).total_bytes, rate) for seat in arena.seats}
        seconds: dict[str, float | None] = {}
        problems = {}
        for seat in arena.seats:
            end, start = self._ends.get(seat.name), self._mishaps.starts.get(seat.name)
            seconds[seat.name] = None if end is None or start is None else round(end - start, 3)
            if seat.name in plane.killed:
                continue
            problem = self._failures.get(seat.name) or plane.problem(seat)
            if end is None:
                problem = problem or "has everything, and did not say so"
            if problem:
                problems[seat.name] = problem
        payload = [plane.from_server(seat) for seat in arena.seats]
        told = [each for each in payload if each is not None]
        for name, problem in list(problems.items())[:3]:
            say(f"{plane.name}: {name}: {problem}")
        return {
            "seconds": seconds,
            "alone": {name: round(value, 3) for name, value in alone.items()},
            "hit": dict(self._mishaps.hit),
            "killed": sorted(plane.killed),
            "problems": problems,
            "verified": len(arena.seats) - len(plane.killed) - len(problems),
            "frontend_copies": round(sum(told) / arena.closures.union, 4) if told else None,
        }
