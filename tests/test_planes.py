"""What `auto` becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.orders import PLANES
from avalanche.planes import FEWEST_SLOW, SMALLEST_SWARM, Situation, choose


@pytest.mark.parametrize(
    ("hosts", "slow", "plane"),
    [
        (1, 0, "relay"),
        (1, 1, "relay"),
        (2, 0, "relay"),
        (3, 3, "relay"),
        (4, 1, "relay"),
        (4, 2, "swarm"),
        (16, 0, "relay"),
        (16, 1, "relay"),
        (16, 2, "swarm"),
        (17, 2, "relay"),
        (64, 7, "relay"),
        (64, 8, "swarm"),
        (1000, 100, "relay"),
    ],
)
def test_relay_unless_several_slow_hosts_would_hold_up_a_chain(hosts: int, slow: int, plane: str) -> None:
    assert choose(Situation(hosts, slow)).plane == plane


@given(st.integers(1, 10_000), st.data())
def test_every_choice_is_a_plane_with_a_reason_of_one_line_and_its_figures(hosts: int, data: st.DataObject) -> None:
    slow = data.draw(st.integers(0, hosts))
    choice = choose(Situation(hosts, slow))
    assert choice.plane in PLANES and choice.plane != "auto"
    assert str(choice).startswith(f"plane {choice.plane}: ") and "\n" not in str(choice)
    if hosts > 1:
        assert str(hosts) in choice.why


@given(st.integers(1, 10_000), st.data())
def test_more_slow_hosts_never_bring_the_chain_back(hosts: int, data: st.DataObject) -> None:
    slow = data.draw(st.integers(0, hosts - 1))
    if choose(Situation(hosts, slow)).plane == "swarm":
        assert choose(Situation(hosts, slow + 1)).plane == "swarm"
        assert hosts >= SMALLEST_SWARM and slow >= FEWEST_SLOW
