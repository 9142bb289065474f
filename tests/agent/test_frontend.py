"""The frontend's clock, as its answers tell it."""

from __future__ import annotations

import calendar
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent.frontend import read_date


@given(st.integers(0, 250_000_000_000))
def test_a_date_is_read_as_the_library_writes_it(seconds: int) -> None:
    assert read_date(email.utils.formatdate(seconds, usegmt=True)) == seconds


def test_the_example_of_the_standard_is_read() -> None:
    assert read_date("Sun, 06 Nov 1994 08:49:37 GMT") == calendar.timegm((1994, 11, 6, 8, 49, 37))


@pytest.mark.parametrize(
    "text",
    ["", "now", "Sun, 31 Feb 2026 08:49:37 GMT", "Sun, 06 Xyz 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT"],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_date(text) is None


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert read_date(text) is None or text.endswith("GMT")
