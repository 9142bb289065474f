"""What simulated hosts remember of the bytes that passed."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from lab.watcher import MOMENT, note, rate

pauses = st.floats(0.0, 0.02)
sizes = st.integers(1, 1 << 18)


@given(st.lists(st.tuples(pauses, sizes), min_size=1, max_size=20))
def test_no_byte_is_lost_and_those_of_a_moment_are_one_row(passed: list[tuple[float, int]]) -> None:
    lately: deque[tuple[float, int]] = deque()
    now = 0.0
    for pause, size in passed:
        now += pause
        note(lately, now, size)
    assert sum(size for _, size in lately) == sum(size for _, size in passed)
    moments = [at for at, _ in lately]
    assert all(later - earlier >= MOMENT for earlier, later in zip(moments, moments[1:], strict=False))
    assert rate(lately, now) == 2 * sum(size for _, size in passed)
    assert rate(lately, now + 1.0) == 0
