"""``python -m lab.forecast``: what the simulator says of clusters of many sizes and of common faults, as a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.simulated import World, package_sizes
from lab.simulator import Simulation

VICTIM = "compute-0-5"
LARGE = package_sizes(300_000_000, 400)
SMALL = package_sizes(32_000_000, 330)
TINY = package_sizes(16_000_000, 60)
BLOCK = 16_384
"""What could be relayed at once if hosts checked the leaves of the hash tree, and not only its pieces."""


@dataclass(frozen=True)
class Case:
    """One line of the table; ``besides`` is the host whose own fate does not count."""

    name: str
    world: World
    fault: Callable[[Simulation], None] = lambda simulation: None
    besides: tuple[str, ...] = ()


def fifty(hosts: int, **changes: object) -> World:
    """``hosts`` with 300 MB each over 50 Mbit/s, the frontend's link included."""
    return World(hosts=hosts, objects=LARGE, rate=6_250_000.0, **changes)  # type: ignore[arg-type]


def thousand(piece: int) -> World:
    """1,000 hosts with 16 MB each over 100 Mbit/s: small, so that the chain's filling shows."""
    return World(hosts=1000, objects=TINY, rate=12_500_000.0, piece=piece)


def kill_three(simulation: Simulation) -> None:
    """A fifth of 16."""
    for number in (2, 5, 9):
        simulation.kill(f"compute-0-{number}", 16.0)


def delay_half(simulation: Simulation) -> None:
    """Half of 16 come at half time."""
    for number in range(8):
        simulation.start_late(f"compute-0-{number}", 24.0)


def slow_uplink(simulation: Simulation) -> None:
    """The uplink has a quarter of its rate."""
    simulation.slow(VICTIM, 0.0, 0.25)


CASES = (
    *(Case(f"{hosts} hosts, 300 MB at 50 Mbit/s", fifty(hosts)) for hosts in (1, 8, 16, 24, 64)),
    *(Case(f"{hosts} hosts, 32 MB at 24 Mbit/s", World(hosts=hosts, objects=SMALL)) for hosts in (8, 16, 64)),
    Case("16 hosts, 32 MB, blocks of 16 KiB", World(hosts=16, objects=SMALL, piece=BLOCK)),
    Case("1000 hosts, 16 MB at 100 Mbit/s", thousand(262_144)),
    Case("1000 hosts, 16 MB, blocks of 16 KiB", thousand(BLOCK)),
    Case("16 hosts, four racks", fifty(16, racks=4)),
    Case("16, one with a quarter of its uplink", fifty(16), slow_uplink, (VICTIM,)),
    Case("16, one with a quarter of its link", fifty(16), lambda s: s.slow(VICTIM, 0.0, 0.25, down=True), (VICTIM,)),
    Case("16, the slow one is known", fifty(16, known_slow=frozenset({VICTIM})), slow_uplink, (VICTIM,)),
    Case("16, three killed at a third", fifty(16), kill_three),
    Case("16, one stands still for 5 s", fifty(16), lambda s: s.stop(VICTIM, 16.0, 5.0), (VICTIM,)),
    Case("16, one sends garbage", fifty(16), lambda s: s.corrupt(VICTIM, 16.0), (VICTIM,)),
    Case("16, one sends nothing and lies", fifty(16), lambda s: s.withhold(VICTIM, 16.0), (VICTIM,)),
    Case("16, one sends a trickle and lies", fifty(16), lambda s: s.drag(VICTIM, 16.0, 0.05), (VICTIM,)),
    Case("16, tracker lost for 5 s", fifty(16), lambda s: s.restart_tracker(16.0, 5.0)),
    Case("16, frontend stopped for 5 s", fifty(16), lambda s: s.stop("frontend", 16.0, 5.0)),
    Case("16, half join at a half", fifty(16), delay_half),
)


def main() -> int:
    """Print the table."""
    print(f"{'case':40} {'slowest':>8} {'median':>7} {'frontend':>9} {'most':>6} {'lookups':>8} {'took':>6}")
    for case in CASES:
        simulation = Simulation(case.world, seed=1)
        case.fault(simulation)
        began = time.monotonic()
        outcome = simulation.run()
        took = time.monotonic() - began
        ratios = sorted(
            outcome.ratio(besides=[other for other in outcome.seconds if other != name]) for name in outcome.seconds
        )
        print(
            f"{case.name:40} {outcome.ratio(besides=case.besides):8.3f} {ratios[len(ratios) // 2]:7.3f} "
            f"{outcome.frontend_copies:9.3f} {max(outcome.copies.values()):6.2f} {outcome.lookups:8} {took:5.1f}s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
