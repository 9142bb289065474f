"""Complaints of starving children are ripe when they are repeated, one at a time."""

from __future__ import annotations

from tracker.starvation import Starvation


def ripe(starvation: Starvation, now: float) -> list[str]:
    return [child for child, _, _ in starvation.ripe(now)]


def test_one_complaint_proves_nothing_and_two_do() -> None:
    starvation = Starvation(0.9)
    starvation.complain("c", "x", "p", 0.0)
    assert ripe(starvation, 1.0) == []
    starvation.complain("c", "x", "p", 1.0)
    assert ripe(starvation, 1.0) == ["c"]


def test_a_complaint_about_another_parent_begins_anew() -> None:
    starvation = Starvation(0.9)
    starvation.complain("c", "x", "p", 0.0)
    starvation.complain("c", "x", "q", 1.0)
    assert ripe(starvation, 1.0) == []


def test_what_is_not_repeated_or_is_settled_is_dropped() -> None:
    starvation = Starvation(0.9)
    for child in ("c", "d"):
        starvation.complain(child, "x", "p", 0.0)
        starvation.complain(child, "x", "p", 1.0)
    starvation.settle("c", "x")
    assert ripe(starvation, 1.0) == ["d"]
    assert ripe(starvation, 3.0) == []
    assert repr(starvation) == "<Starvation 0 complaints>"


def test_after_a_verdict_the_others_wait() -> None:
    starvation = Starvation(0.9)
    for child in ("c", "d"):
        starvation.complain(child, "x", "p", 0.0)
        starvation.complain(child, "x", "p", 1.0)
    for child, thing, _ in starvation.ripe(1.0):
        starvation.help(child, thing, 1.0)
    assert ripe(starvation, 1.1) == []
    starvation.complain("d", "x", "p", 2.0)
    assert ripe(starvation, 2.0) == ["d"]


def test_who_complains_is_believed_but_not_for_long_after_it_was_helped() -> None:
    starvation = Starvation(0.9)
    starvation.complain("c", "x", "p", 0.0)
    assert starvation.is_believed("c", 1.0, after_help=10.0)
    assert not starvation.is_believed("c", 3.0, after_help=10.0)
    starvation.help("c", "x", 3.0)
    starvation.complain("c", "x", "q", 4.0)
    assert starvation.is_believed("c", 4.0, after_help=10.0), "help needs a moment"
    starvation.complain("c", "x", "q", 6.0)
    assert not starvation.is_believed("c", 6.0, after_help=10.0)
    starvation.complain("c", "x", "q", 14.0)
    assert starvation.is_believed("c", 14.0, after_help=10.0)


def test_a_complaint_outlives_its_object_when_it_is_repeated_about_the_next_one() -> None:
    starvation = Starvation(0.9)
    starvation.complain("c", "x", "p", 0.0)
    starvation.complain("c", "x", "p", 1.0)
    starvation.meet("c", "x")
    assert ripe(starvation, 1.0) == [], "what it waited for has come"
    starvation.complain("c", "y", "p", 1.5)
    assert list(starvation.ripe(1.5)) == [("c", "y", "p")]


def test_complaints_about_two_parents_do_not_hide_each_other() -> None:
    starvation = Starvation(0.9)
    for now in (0.0, 1.0):
        starvation.complain("c", "x", "p", now)
        starvation.complain("c", "y", "q", now)
    assert list(starvation.ripe(1.0)) == [("c", "x", "p"), ("c", "y", "q")]
    starvation.settle("c", "x")
    assert list(starvation.ripe(1.0)) == [("c", "y", "q")]
    starvation.forget("q")
    assert repr(starvation) == "<Starvation 0 complaints>"
