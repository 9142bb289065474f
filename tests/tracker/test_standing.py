"""What is thought of peers: accusations count, and no liar can do much with them."""

from __future__ import annotations

import pytest

from tracker.standing import HEALTHY, SLOW, SUSPECT, Patience, Standing


@pytest.fixture
def standing() -> Standing:
    return standing_of(*"abcdefgh")


def standing_of(*names: str, slow: str = "") -> Standing:
    standing = Standing(Patience())
    for name in names:
        standing.enter(name, known_slow=name in slow)
    return standing


def ranks(standing: Standing) -> dict[str, int]:
    return {name: standing.rank(name) for name in "abcdefgh" if standing.rank(name) != HEALTHY}


def test_a_dead_parent_serves_nobody_until_it_is_heard(standing: Standing) -> None:
    standing.called_dead("b", "a", 0.0)
    assert not standing.may_serve("a", "c", 0.1)
    assert standing.heard("a")
    assert standing.may_serve("a", "c", 0.2)
    assert not standing.may_serve("a", "b", 0.2), "the accuser is kept from it for a while"
    assert standing.may_serve("a", "b", 10.1)


def test_a_liar_cannot_keep_a_living_peer_out(standing: Standing) -> None:
    for second in range(9):
        standing.called_dead("b", "a", float(second))
        standing.heard("a")
        standing.called_dead("b", "a", second + 0.5)
        assert standing.may_serve("a", "c", second + 0.6)


def test_bad_bytes_ban_a_parent_for_the_child_for_ever(standing: Standing) -> None:
    assert standing.sent_garbage("b", "host-b", "a", "host-a")
    assert not standing.may_serve("a", "b", 1e9)
    assert standing.may_serve("a", "c", 0.0)


def test_two_hosts_with_bad_bytes_ban_a_parent_for_all(standing: Standing) -> None:
    standing.sent_garbage("b", "host-b", "a", "host-a")
    assert not standing.sent_garbage("b", "host-b", "a", "host-a"), "the same accuser counts once"
    assert not standing.is_condemned("a")
    standing.sent_garbage("c", "host-c", "a", "host-a")
    assert standing.is_condemned("a")
    assert not standing.may_serve("a", "h", 1e9)


def test_who_gets_bad_bytes_from_everybody_is_no_witness(standing: Standing) -> None:
    standing.sent_garbage("b", "host-b", "c", "host-c")
    standing.sent_garbage("b", "host-b", "d", "host-d")
    assert not standing.sent_garbage("b", "host-b", "a", "host-a")
    standing.sent_garbage("c", "host-c", "a", "host-a")
    assert not standing.is_condemned("a")


def test_a_slow_edge_alone_sends_both_its_ends_back_the_sender_last(standing: Standing) -> None:
    standing.slow_edge("b", "a", 0.0)
    assert standing.decide(0.3) == []
    assert standing.decide(0.5) == [("b", SUSPECT, True), ("a", SLOW, True)]


def test_the_end_that_two_edges_have_in_common_is_the_slow_one(standing: Standing) -> None:
    standing.slow_edge("b", "a", 0.0)
    standing.slow_edge("c", "b", 0.1)
    assert standing.decide(0.6) == [("b", SLOW, True)]


def test_a_suspect_that_is_slow_with_another_parent_is_guilty_and_its_partner_free(standing: Standing) -> None:
    standing.slow_edge("b", "a", 0.0)
    standing.decide(0.5)
    standing.slow_edge("b", "c", 4.0)
    assert standing.decide(4.5) == [("a", HEALTHY, True), ("b", SLOW, True)]
    assert ranks(standing) == {"b": SLOW}


def test_a_suspect_of_whom_nothing_more_is_heard_is_silently_healthy_again(standing: Standing) -> None:
    standing.slow_edge("b", "a", 0.0)
    standing.decide(0.5)
    assert standing.decide(7.0) == [("b", HEALTHY, False)]
    assert ranks(standing) == {"a": SLOW}


def test_decisions_do_not_follow_each_other_quickly() -> None:
    standing = standing_of(*"abcdefghijkl")
    standing.slow_edge("b", "a", 0.0)
    standing.decide(0.5)
    standing.slow_edge("d", "c", 0.6)
    assert standing.decide(2.0) == []
    assert standing.decide(3.6) != []


def test_at_most_a_third_is_ranked_behind(standing: Standing) -> None:
    standing.slow_edge("b", "a", 0.0)
    standing.decide(0.5)
    standing.slow_edge("d", "c", 4.0)
    assert standing.decide(5.0) == []
    assert len(ranks(standing)) == 2


def test_a_host_known_to_be_slow_begins_as_such() -> None:
    assert ranks(standing_of("a", "b", slow="b")) == {"b": SLOW}


def test_two_hosts_from_which_bytes_are_withheld_make_a_parent_slow(standing: Standing) -> None:
    assert not standing.withheld("host-b", "a")
    assert not standing.withheld("host-b", "a")
    assert standing.withheld("host-c", "a")
    assert standing.rank("a") == SLOW


def test_a_forgotten_peer_leaves_nothing(standing: Standing) -> None:
    standing.called_dead("b", "a", 0.0)
    standing.slow_edge("c", "a", 0.0)
    standing.forget("a")
    assert not standing.may_serve("a", "c", 1.0)
    assert repr(standing) == "<Standing 7 peers, 0 ranked, 0 edges in doubt>"
