"""Which peers speak from which address."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tracker.addresses import Addresses

PLACES, PEERS = st.sampled_from("xyz"), st.sampled_from("abcd")


class Speaking(RuleBasedStateMachine):
    """Compared with a list of all who began, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses = Addresses()
        self.began: list[tuple[str, str]] = []

    @rule(place=PLACES, peer=PEERS)
    def add(self, place: str, peer: str) -> None:
        if (place, peer) not in self.began:
            self.began.append((place, peer))
        self.addresses.add(place, peer)

    @rule(place=PLACES, peer=PEERS)
    def remove(self, place: str, peer: str) -> None:
        if (place, peer) in self.began:
            self.began.remove((place, peer))
            self.addresses.remove(place, peer)

    @invariant()
    def the_last_one_is_named_and_nothing_is_kept_of_who_left(self) -> None:
        for place in "xyz":
            here = [peer for other, peer in self.began if other == place]
            assert self.addresses.last(place) == (here[-1] if here else None)
        assert repr(self.addresses) == f"<Addresses {len({place for place, _ in self.began})}>"


TestSpeaking = Speaking.TestCase
