"""How much came of late: too little, or not, as the protocol says (section 11.4)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avalanche.agent.supply import LEAN_LEAST, LEAN_SECONDS, LEAN_SHARE, Supply, fill_seconds

STEPS = st.lists(st.tuples(st.integers(1, 40), st.sampled_from((0, 1, 1 << 17, 1 << 20))), min_size=1, max_size=60)
"""Eighths of a second that pass, which floats hold exactly, and bytes that come in them."""


@example([(8, 0)] * 5, 0, 0)
@example([(1, 1 << 20), (40, 0), (1, 0)], 0, 0)
@example([(1, 1 << 20), (40, 0), (1, 0)], 4 << 20, 1 << 20)
@given(STEPS, st.integers(0, 4 << 20), st.integers(0, 4 << 20))
def test_lean_is_too_little_since_the_last_mark_that_is_long_enough_ago_and_in_the_last_half_second(
    steps: list[tuple[int, int]], best: int, rate: int
) -> None:
    supply, marks = Supply(), [(0, 0)]
    supply.note(0, 0.0)
    for eighths, size in steps:
        marks.append((marks[-1][0] + eighths, marks[-1][1] + size))
        supply.note(marks[-1][1], marks[-1][0] / 8)
    now, total = marks[-1]
    old = [mark for mark in marks if mark[0] / 8 <= now / 8 - LEAN_SECONDS]
    begun, before = old[-1] if old else marks[0]
    seconds = (now - begun) / 8
    least = max(LEAN_SHARE * best, LEAN_LEAST)
    is_too_little = total - before < least * seconds and rate < least
    assert supply.is_lean(best, rate) == (bool(old) and total > 0 and is_too_little)


def test_what_was_before_a_pause_proves_nothing() -> None:
    supply = Supply()
    for second in range(5):
        supply.note(1, float(second))
    assert supply.is_lean(0, 0)
    supply.forget()
    assert not supply.is_lean(0, 0)
    supply.note(1, 100.0)
    assert not supply.is_lean(0, 0)


@pytest.mark.parametrize(("place", "received", "seconds"), [(0, 0, 0.0), (1000, 0, 20.0), (1000, 1, 0.0)])
def test_who_stands_far_behind_may_wait_for_its_first_byte(place: int, received: int, seconds: float) -> None:
    assert fill_seconds(place, received) == seconds
