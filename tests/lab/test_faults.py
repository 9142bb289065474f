"""Reading FAULTS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ConfigError
from lab.faults import Fault, parse_faults


def test_the_design_s_example_is_read() -> None:
    assert parse_faults("kill:2@40%,slow:1@25%,frontend-stop:5s@50%") == (
        Fault("kill", 2, 40),
        Fault("slow", 1, 25),
        Fault("frontend-stop", 5, 50),
    )


def test_a_pause_of_hosts_says_how_many_and_how_long() -> None:
    (fault,) = parse_faults("stop:2:1.5s@30%")
    assert (fault.hosts, fault.seconds, fault.percent) == (2, 1.5, 30)


@pytest.mark.parametrize("text", ["", " ", ","])
def test_no_faults_are_none(text: str) -> None:
    assert parse_faults(text) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("explode:1@5%", "'explode:1@5%' is not one of kill:N@P%"),
        ("kill:2", "is not one of"),
        ("kill:2s@40%", "hosts are whole numbers"),
        ("kill:1.5@40%", "hosts are whole numbers"),
        ("stop:1@40%", "times end in s"),
        ("kill:1:5s@40%", "times end in s"),
        ("stop:5s@40%", "times end in s"),
        ("slow-up:1@0%", "above 0 %"),
        ("frontend-stop:5@50%", "times end in s"),
        ("kill:1@101%", "between 0 % and 100 %"),
        ("slow:1@0%", "above 0 %"),
    ],
)
def test_a_fault_that_makes_no_sense_is_named(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_faults(text)


FAULTS = st.one_of(
    st.builds(
        Fault,
        st.sampled_from(["kill", "slow", "slow-up", "join"]),
        st.integers(1, 64).map(float),
        st.integers(1, 100),
    ),
    st.builds(
        Fault,
        st.just("stop"),
        st.integers(1, 64).map(float),
        st.integers(0, 100),
        st.integers(1, 600).map(float),
    ),
    st.builds(
        Fault,
        st.sampled_from(["frontend-stop", "frontend-freeze", "frontend-kill", "tracker-stop"]),
        st.integers(1, 600).map(float),
        st.integers(0, 100),
    ),
)


@given(st.lists(FAULTS))
def test_written_faults_are_read_back(faults: list[Fault]) -> None:
    assert parse_faults(",".join(map(str, faults))) == tuple(faults)
