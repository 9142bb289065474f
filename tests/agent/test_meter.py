"""How fast bytes move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent.meter import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_half_second() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(30):
        meter.count(100)
        clock.now += 0.1
    assert meter.rate == 1000
    clock.now += 0.3
    assert meter.rate == 400
    clock.now += 5
    assert (meter.rate, meter.best) == (0, 1000)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 3)), max_size=50))
def test_no_half_second_has_more_than_all_bytes(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    meter = Meter(clock)
    for size, pause in steps:
        meter.count(size)
        clock.now += pause
        assert 0 <= meter.rate <= meter.best <= 2 * sum(size for size, _ in steps)
