"""Order pairs: one total order, every cycle told, and the chain behind each answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import GraphError
from avalanche.explain import explain_order
from avalanche.ordering import FIRST, FREE, HEAD, LAST, ORDERED, TAIL, Order, Ordering


def ordering(*pairs: str) -> Ordering:
    return Ordering(tuple(Order(*pair.split(), "g.xml", line) for line, pair in enumerate(pairs, 1)))


names = st.sampled_from("abcdefgh")


@st.composite
def orderings(draw: st.DrawFn) -> Ordering:
    """Pairs without a cycle: each goes forward in some permutation."""
    line = [HEAD, *draw(st.permutations("abcdefgh")), TAIL]
    place = draw(st.integers(0, 9))
    line.remove(HEAD)
    line.insert(place if place < line.index(TAIL) else 0, HEAD)
    numbers = st.integers(0, len(line) - 1)
    pairs = draw(st.lists(st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1]), max_size=14))
    return Ordering(tuple(Order(line[a], line[b], "g.xml", 1) for a, b in pairs))


@given(orderings())
def test_every_pair_is_respected_and_zones_follow_each_other(found: Ordering) -> None:
    line = sorted("abcdefgh", key=found.key)
    for order in found.orders:
        if order.head in line and order.tail in line:
            assert line.index(order.head) < line.index(order.tail)
    zones = [found.zone(name) for name in line]
    assert zones == sorted(zones)
    free = [name for name in line if found.zone(name) == FREE]
    assert free == sorted(free)
    assert set(free) == set(line) - found.names


@given(orderings(), st.permutations(range(14)))
def test_the_sequence_of_pairs_does_not_matter(found: Ordering, permutation: list[int]) -> None:
    shuffled = Ordering(tuple(found.orders[number] for number in permutation if number < len(found.orders)))
    assert shuffled.ranks == found.ranks


@given(orderings(), names, names)
def test_every_place_in_the_order_has_a_reason(found: Ordering, one: str, other: str) -> None:
    if one == other:
        return
    answer = explain_order(found, one, other)
    assert found.key(answer.first) < found.key(answer.second)
    assert answer == explain_order(found, other, one)
    for chain in answer.chains:
        assert all(order in found.orders or order == Order(HEAD, TAIL) for order in chain)
        assert all(left.tail == right.head for left, right in zip(chain, chain[1:], strict=False))


@pytest.mark.parametrize(
    ("pairs", "one", "other", "reason", "chains"),
    [
        (("b m", "m a"), "a", "b", "pairs say so", ["b m a"]),
        (("z HEAD", "b c"), "b", "z", "z is among the nodes before HEAD, b among the ordered nodes", ["z HEAD", "b c"]),
        (("TAIL a",), "a", "q", "no pair speaks of, a among the nodes after TAIL", ["TAIL a"]),
        ((), "q", "p", "no pair speaks of either, so they stand by name", []),
        (("x p", "x q"), "p", "q", "the pairs leave it open", []),
        (("n a", "m x"), "a", "m", "a waits for n, and m stands before n by name", ["n a"]),
    ],
)
def test_the_reason_is_the_one_that_decided(
    pairs: tuple[str, ...], one: str, other: str, reason: str, chains: list[str]
) -> None:
    answer = explain_order(ordering(*pairs), one, other)
    assert reason in answer.reason
    assert [" ".join([chain[0].head, *(order.tail for order in chain)]) for chain in answer.chains] == chains


def test_zones_reach_through_pairs() -> None:
    found = ordering("w z", "z HEAD", "TAIL c", "c d", "m n")
    assert [found.zone(name) for name in "wzmncdx"] == [FIRST, FIRST, ORDERED, ORDERED, LAST, LAST, FREE]


def test_each_cycle_is_told_once() -> None:
    found = ordering("a b", "b a", "c d", "d e", "e c", "x TAIL", "b x", "e x")
    told = [str(error) for error in found.cycles()]
    assert [line.split(": ")[2].partition(";")[0] for line in told] == [
        "a -> b (g.xml:1) -> a (g.xml:2)",
        "c -> d (g.xml:3) -> e (g.xml:4) -> c (g.xml:5)",
    ]
    with pytest.raises(GraphError, match="a -> b"):
        found.key("a")


def test_pairs_without_a_cycle_have_none_to_tell() -> None:
    assert ordering("a b", "a b", "b c", "HEAD a").cycles() == ()
