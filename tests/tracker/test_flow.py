"""The bookkeeping of who fetches what from whom never leaks."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.flow import FRONTEND, HOLDERS_KEPT, Flow

PEERS = ["a", "b", "c", "d"]
THINGS = ["x", "y"]
peers, things = st.sampled_from(PEERS), st.sampled_from(THINGS)


def flow_of(*names: str) -> Flow:
    flow = Flow()
    for name in names:
        flow.enter(name, "0")
    return flow


def test_a_child_is_its_parents_until_it_has_the_object() -> None:
    flow = flow_of("a", "b")
    flow.fetch("b", "x", "a")
    assert flow.children("a") == {"x": {"b": None}}
    assert flow.children_served("a") == {"b"}
    flow.hold("b", "x", 1.0)
    assert flow.children("a") == {}
    assert flow.holds_since("b", "x") == 1.0


def test_a_new_parent_takes_the_place_of_the_old_one() -> None:
    flow = flow_of("a", "b", "c")
    flow.fetch("c", "x", "a")
    flow.fetch("c", "x", "b")
    assert (flow.children("a"), flow.children("b")) == ({}, {"x": {"c": None}})


def test_descendants_are_followed_through_the_chain_and_through_circles() -> None:
    flow = flow_of("a", "b", "c", "d")
    for child, parent in (("b", "a"), ("c", "b"), ("a", "c")):
        flow.fetch(child, "x", parent)
    flow.fetch("d", "y", "a")
    assert flow.descendants("a", "x") == {"a", "b", "c"}
    assert flow.descendants("a", "y") == {"d"}


def test_a_forgotten_parent_keeps_its_children_and_a_forgotten_child_does_not_stay() -> None:
    flow = flow_of("a", "b")
    flow.fetch("b", "x", "a")
    flow.forget("a")
    assert flow.children("a") == {"x": {"b": None}}
    flow.forget("b")
    assert flow.children("a") == {}


def test_only_the_latest_holders_of_a_rack_are_remembered() -> None:
    flow = Flow()
    names = [f"p{number}" for number in range(HOLDERS_KEPT + 1)]
    for name in names:
        flow.enter(name, "0")
        flow.hold(name, "x", 0.0)
    flow.enter("other", "1")
    flow.hold("other", "x", 0.0)
    assert [name for name in names if not flow.holds(name, "x")] == ["p0"]
    assert flow.holds("other", "x")


class Model(RuleBasedStateMachine):
    """Whatever is done in whatever order, the edges are those that the peers have."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self.known: set[str] = set()
        self.edges: dict[tuple[str, str], str | None] = {}
        self.held: set[tuple[str, str]] = set()

    @rule(peer=peers)
    def enter_or_forget(self, peer: str) -> None:
        if peer in self.known:
            self.flow.forget(peer)
            self.known.remove(peer)
            self.edges = {key: parent for key, parent in self.edges.items() if key[0] != peer}
            self.held = {key for key in self.held if key[0] != peer}
        else:
            self.flow.enter(peer, "0")
            self.known.add(peer)

    @rule(peer=peers, thing=things, parent=st.sampled_from([*PEERS, FRONTEND, None]))
    def fetch(self, peer: str, thing: str, parent: str | None) -> None:
        if peer in self.known:
            self.flow.fetch(peer, thing, parent)
            self.edges[peer, thing] = parent
            self.held.discard((peer, thing))

    @rule(peer=peers, thing=things, drops=st.booleans())
    def hold_or_drop(self, peer: str, thing: str, drops: bool) -> None:
        if peer in self.known:
            self.edges.pop((peer, thing), None)
            if drops:
                self.flow.drop(peer, thing)
                self.held.discard((peer, thing))
            else:
                self.flow.hold(peer, thing, 0.0)
                self.held.add((peer, thing))

    @invariant()
    def edges_agree(self) -> None:
        for parent in [*PEERS, FRONTEND]:
            expected: dict[str, dict[str, None]] = {}
            for (child, thing), other in self.edges.items():
                if other == parent:
                    expected.setdefault(thing, {})[child] = None
            assert self.flow.children(parent) == expected
            assert self.flow.children_served(parent) == {child for some in expected.values() for child in some}
        for peer in self.known:
            for thing in THINGS:
                assert self.flow.holds(peer, thing) is ((peer, thing) in self.held)
                assert self.flow.asked(peer, thing) is ((peer, thing) in self.edges or (peer, thing) in self.held)
                assert self.flow.is_fed(peer, thing) is self.is_fed(peer, thing)

    def is_fed(self, peer: str, thing: str) -> bool:
        reached = {FRONTEND} | {holder for holder, what in self.held if what == thing}
        for _ in PEERS:
            reached |= {child for (child, what), parent in self.edges.items() if what == thing and parent in reached}
        return peer in reached


TestModel = Model.TestCase
TestModel.settings = settings(stateful_step_count=30)
