"""A bucket lets so many through at once, and then so many a second."""

from __future__ import annotations

import pytest

from tracker.pace import Pace


def test_a_burst_passes_and_then_one_waits() -> None:
    pace = Pace(2.0, 3.0)
    assert [pace.wait("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.wait("a", 0.0) == pytest.approx(0.5)
    assert pace.wait("b", 0.0) == 0.0
    assert pace.wait("a", 0.5) == 0.0


def test_a_clock_that_goes_back_gives_nothing_for_free() -> None:
    pace = Pace(1.0, 1.0)
    assert pace.wait("a", 10.0) == 0.0
    assert pace.wait("a", 0.0) > 0.0


def test_full_buckets_are_forgotten() -> None:
    pace = Pace(2.0, 3.0)
    pace.wait("a", 0.0)
    pace.forget(1.0)
    assert repr(pace) == "<Pace 2/s, 1 names>"
    pace.forget(2.0)
    assert repr(pace) == "<Pace 2/s, 0 names>"
