"""How fast a host says that its bytes come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracker.progress import Progress


def test_the_pace_is_that_of_the_window() -> None:
    progress = Progress(3.0)
    assert progress.pace(0.0) == 0.0
    for second in range(11):
        progress.note(1000 * second if second < 5 else 4000, float(second))
    assert progress.pace(10.0) == 0.0, "nothing came in the last seconds"
    progress.note(7000, 11.0)
    assert progress.pace(11.0) == 1000.0
    assert progress.pace(14.0) == 500.0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 50)), min_size=1))
def test_no_host_is_ever_slower_than_nothing(steps: list[tuple[float, int]]) -> None:
    progress, now = Progress(3.0), 0.0
    for seconds, received in steps:
        now += seconds
        progress.note(received, now)
        assert progress.pace(now) >= 0.0
