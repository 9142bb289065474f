"""What `auto` becomes, and when a swarm is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.pieces import MAXIMUM_REASON
from avalanche.planes import FRUITLESS_SECONDS, STILL_SECONDS, Movement, Situation, choose, reconsider


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


@pytest.mark.parametrize(
    ("situation", "plane"),
    [
        (Situation(16, 4, lying=1), "relay"),
        (Situation(16, 4, chained=7), "swarm"),
        (Situation(16, 4, chained=8), "relay"),
        (Situation(16, 0, swarming=7), "relay"),
        (Situation(16, 0, swarming=8), "swarm"),
        (Situation(16, 0, lying=1, swarming=8), "relay"),
        (Situation(16, 4, swarming=1), "swarm"),
    ],
)
def test_a_host_joins_what_most_others_do_unless_somebody_lies(situation: Situation, plane: str) -> None:
    assert choose(situation).plane == plane


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    hosts = draw(st.integers(1, 10_000))
    slow, lying, chained = (draw(st.integers(0, hosts)) for _ in range(3))
    return Situation(hosts, slow, lying, chained, draw(st.integers(0, hosts - chained)))


@given(situations())
def test_every_choice_is_a_plane_with_a_reason_of_one_line_and_its_figures(situation: Situation) -> None:
    choice = choose(situation)
    assert choice.plane in {"relay", "swarm"}
    assert str(choice).startswith(f"plane {choice.plane}: ") and "\n" not in str(choice)
    assert len(choice.why) <= MAXIMUM_REASON
    if situation.hosts > 1:
        assert str(situation.hosts) in choice.why


@given(situations())
def test_more_slow_hosts_never_bring_the_chain_back(situation: Situation) -> None:
    if choose(situation).plane == "swarm" and situation.slow < situation.hosts:
        assert choose(replace(situation, slow=situation.slow + 1)).plane == "swarm"


@given(situations())
def test_a_choice_for_a_swarm_is_not_taken_back_in_the_same_situation(situation: Situation) -> None:
    """Invariant: no host is told to leave by what was known when it was told to join."""
    if choose(situation).plane == "swarm" and situation.hosts > 1:
        assert reconsider(situation) is None


def test_a_swarm_is_left_by_who_is_alone_or_among_liars_and_by_nobody_else() -> None:
    assert reconsider(Situation(2, 0)) is None and reconsider(Situation(16, 16)) is None
    for situation in (Situation(1, 0), Situation(16, 4, lying=1)):
        better = reconsider(situation)
        assert better is not None and better.plane == "relay"


# --- does it move? ---


class Host:
    """What a host sees of its swarm, second by second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.received = self.pieces = 0
        self.movement = Movement(self.now)

    def wait(self, seconds: float, *, size: int = 0, pieces: int = 0, is_wanting: bool = True) -> Optional[str]:
        """Let time pass in which every second so much comes; return the first reason to leave."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            self.received += size
            self.pieces += pieces
            found = self.movement.look(received=self.received, pieces=self.pieces, is_wanting=is_wanting, now=self.now)
            if found is not None:
                return found
        return None


def test_a_swarm_that_brings_nothing_is_left_after_a_while() -> None:
    host = Host()
    assert host.wait(STILL_SECONDS) is None
    assert "no byte" in str(host.wait(2))


def test_a_swarm_that_brings_little_is_not_left() -> None:
    assert Host().wait(10 * FRUITLESS_SECONDS, size=1, pieces=1) is None


def test_a_swarm_whose_pieces_are_all_wrong_is_left() -> None:
    host = Host()
    assert host.wait(FRUITLESS_SECONDS, size=16384) is None
    assert "was right" in str(host.wait(2, size=16384))


def test_who_wants_nothing_or_hears_no_frontend_waits() -> None:
    host = Host()
    assert host.wait(10 * FRUITLESS_SECONDS, is_wanting=False) is None
    assert host.wait(STILL_SECONDS) is None


def test_a_process_that_stood_still_does_not_blame_the_swarm() -> None:
    host = Host()
    host.now += 10 * FRUITLESS_SECONDS
    assert host.wait(STILL_SECONDS) is None
