"""Each piece goes to exactly one host, and none is lost, whoever dies."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.handout import (
    GAP_SECONDS,
    GATHER_SECONDS,
    LEASE_SECONDS,
    LEAST_WINDOW,
    MOST_WINDOW,
    SILENT_SECONDS,
    SMALL_SHARE,
    WINDOW_SECONDS,
    Handout,
    handing_order,
)
from avalanche.manifest import PIECE

ROOM = 1 << 30


def make(count: int = 20, hosts: int = 1, size: int = PIECE) -> Handout:
    handout = Handout([size] * count, list(range(count)))
    for number in range(hosts):
        handout.join(f"h{number}", "all", range(count), (), 0.0)
    return handout


def test_pieces_go_out_in_order_and_each_to_one_host() -> None:
    handout, got = make(12, hosts=3), []
    for turn in range(40):
        host = f"h{turn % 3}"
        pieces = handout.ask(host, ROOM, turn * 0.1)
        handout.confirm(host, pieces, turn * 0.1)
        got += pieces
    assert got == list(range(12))
    assert handout.is_spent


def test_the_window_bounds_what_is_on_the_way() -> None:
    handout = make(100, hosts=10)
    taken = [piece for number in range(10) for piece in handout.ask(f"h{number}", ROOM, 0.0)]
    assert len(taken) * PIECE <= LEAST_WINDOW
    assert not handout.is_open(0.0)
    handout.confirm("h0", taken[:1], 0.1)
    assert handout.is_open(0.1)


def test_the_window_grows_with_what_is_confirmed_and_has_an_end() -> None:
    handout = make(4000, hosts=1)
    now, most = 0.0, 0
    for _ in range(800):
        pieces = handout.ask("h0", ROOM, now)
        most = max(most, len(pieces) * PIECE)
        now += 0.005
        handout.confirm("h0", pieces, now)
    assert LEAST_WINDOW < most <= MOST_WINDOW * WINDOW_SECONDS * 10


def test_a_host_without_room_gets_nothing_and_one_with_a_byte_of_it_a_piece() -> None:
    handout = make()
    assert handout.ask("h0", 0, 0.0) == []
    assert handout.ask("h0", 1, 0.0) == [0]


def test_a_silent_hosts_leases_go_to_another_one_first() -> None:
    handout = make(20, hosts=2)
    lost = handout.ask("h0", ROOM, 0.0)
    assert lost
    handout.confirm("h1", handout.ask("h1", ROOM, SILENT_SECONDS), SILENT_SECONDS)
    assert handout.advance(SILENT_SECONDS + 0.1)
    assert not handout.knows("h0")
    assert handout.ask("h1", ROOM, SILENT_SECONDS + 0.2)[: len(lost)] == lost


def test_a_lease_that_runs_out_goes_to_another_host_although_its_holder_speaks() -> None:
    handout = make(1, hosts=2)
    assert handout.ask("h0", ROOM, 0.0) == [0]
    at = 0.0
    while at <= LEASE_SECONDS:
        assert handout.ask("h0", 0, at) == handout.ask("h1", ROOM, at) == []
        handout.advance(at)
        at += 1.0
    assert handout.ask("h1", ROOM, at) == [] or handout.advance(at)
    handout.advance(at)
    assert handout.ask("h1", ROOM, at) == [0]


def test_the_frontends_own_turn_is_not_the_hosts_time() -> None:
    handout = make(1, hosts=2)
    assert handout.ask("h0", ROOM, 0.0) == [0]
    handout.halt("h0", [0], 1.0)

    def gets(at: float) -> list[int]:
        for host in ("h0", "h1"):
            handout.ask(host, 0, at)
        handout.advance(at)
        return handout.ask("h1", ROOM, at)

    assert gets(10 * LEASE_SECONDS) == []
    handout.go_on("h0", [0], 100.0)
    assert gets(98.9 + LEASE_SECONDS) == []
    assert gets(99.1 + LEASE_SECONDS) == [0]


def test_what_waits_for_its_turn_stays_in_the_window() -> None:
    handout = make(100, hosts=10)
    for number in range(10):
        host = f"h{number}"
        handout.halt(host, handout.ask(host, ROOM, 0.0), 0.0)
    assert not handout.is_open(60.0)


def test_what_was_not_sent_goes_to_the_next_who_asks() -> None:
    handout = make(20, hosts=2)
    lost = handout.ask("h0", ROOM, 0.0)
    handout.halt("h0", lost, 0.0)
    assert handout.give_back("h0", lost) and not handout.give_back("h0", lost)
    assert handout.ask("h1", ROOM, 0.1)[:1] == lost[:1]
    # What another one has meanwhile is not taken from it.
    assert not handout.give_back("h0", lost) and not handout.give_back("h2", lost)


def test_late_leases_hold_nobody_up() -> None:
    handout = make(100, hosts=4)
    for number in range(3):
        assert handout.ask(f"h{number}", ROOM, 0.0)
    assert handout.ask("h3", ROOM, 0.0) == []
    assert handout.ask("h3", ROOM, 2.0)


def test_a_piece_whose_holder_is_gone_is_given_to_who_misses_it_and_to_nobody_else() -> None:
    handout = make(1, hosts=3)
    assert handout.ask("h0", ROOM, 0.0) == [0]
    handout.confirm("h0", [0], 0.1)
    assert handout.ask("h1", ROOM, 0.2, missing=[0]) == []
    handout.leave("h0")
    assert handout.ask("h2", ROOM, 0.3) == []
    assert handout.ask("h1", ROOM, 0.3, missing=[0]) == [0]
    assert handout.ask("h2", ROOM, 0.3, missing=[0]) == []


def test_a_holder_that_passes_nothing_on_is_replaced_after_a_while() -> None:
    handout = make(1, hosts=2)
    handout.confirm("h0", handout.ask("h0", ROOM, 0.0), 0.0)
    assert handout.ask("h1", ROOM, GAP_SECONDS - 0.1, missing=[0]) == []
    assert handout.ask("h1", ROOM, GAP_SECONDS + 0.1, missing=[0]) == [0]


def test_what_an_installer_waits_for_goes_first() -> None:
    handout = make(20, hosts=1)
    assert handout.ask("h0", ROOM, 0.0, urgent=[17])[0] == 17


def test_a_host_that_takes_nothing_else_gets_what_is_urgent_alone() -> None:
    handout = make(20, hosts=2)
    lost = handout.ask("h1", ROOM, 0.0)
    handout.leave("h1")
    assert lost and handout.ask("h0", ROOM, 3.0, urgent=[17], only=True) == [17]
    assert handout.ask("h0", ROOM, 3.0, urgent=[17], only=True) == []


def test_hosts_get_only_what_they_want() -> None:
    handout = Handout([PIECE] * 10, list(range(10)))
    handout.join("h0", "even", range(0, 10, 2), (), 0.0)
    got: list[int] = []
    for turn in range(20):
        pieces = handout.ask("h0", ROOM, turn * 0.1, missing=[1], urgent=[3])
        handout.confirm("h0", pieces, turn * 0.1)
        got += pieces
    assert got == [0, 2, 4, 6, 8]


def test_after_a_restart_nothing_is_handed_out_that_somebody_has() -> None:
    handout = Handout([PIECE] * 6, list(range(6)))
    handout.join("h0", "all", range(6), [0, 1], 0.0)
    assert handout.ask("h0", ROOM, 0.1) == []
    handout.join("h1", "all", range(6), [2, 4], 0.5)
    got: list[int] = []
    for turn in range(10):
        now = GATHER_SECONDS + 0.1 * turn
        pieces = handout.ask("h0", ROOM, now)
        handout.confirm("h0", pieces, now)
        got += pieces
    assert got == [3, 5]


def test_numbers_that_are_no_pieces_change_nothing() -> None:
    handout = make(3)
    handout.join("h1", "all", range(3), [7, 99], 0.0)
    handout.confirm("h1", [3, 1 << 30], 0.0)
    assert handout.ask("h1", ROOM, 2.0, missing=[5], urgent=[9])[0] == 0


@given(st.lists(st.integers(1, PIECE), max_size=200))
def test_the_handing_order_has_every_piece_once_and_small_ones_at_both_ends(sizes: list[int]) -> None:
    order = handing_order(range(len(sizes)), sizes)
    assert sorted(order) == list(range(len(sizes)))
    # Without the small ones, which are few, the order is the one that was asked for.
    small = sorted(range(len(sizes)), key=lambda piece: sizes[piece])
    kept = [piece for piece in small if sizes[piece] <= PIECE // 4]
    while sum(sizes[piece] for piece in kept) > SMALL_SHARE * sum(sizes):
        kept.pop()
    rest = [piece for piece in order if piece not in kept]
    assert rest == sorted(rest)
    assert sum(sizes[piece] for piece in order[: len(kept) // 2]) <= SMALL_SHARE * sum(sizes)
    end = order[len(order) - (len(kept) + 1) // 2 :]
    assert set(end) <= set(kept)


def test_towards_the_end_everybody_gets_small_portions() -> None:
    handout = make(40, hosts=4, size=1000)
    assert 1 <= len(handout.ask("h0", ROOM, 0.0)) <= 5
    assert 1 <= len(handout.ask("h1", ROOM, 0.0)) <= 5


class World:
    """Hosts that lose, delay and die at random; who lives passes pieces on at random too."""

    def __init__(self, seed: int, hosts: int, pieces: int) -> None:
        self.chance = random.Random(seed)
        self.sizes = [self.chance.choice((10, 16384, PIECE)) for _ in range(pieces)]
        self.handout = Handout(self.sizes, list(range(pieces)))
        self.held: dict[str, set[int]] = {f"h{number}": set() for number in range(hosts)}
        self.arriving: dict[str, set[int]] = {name: set() for name in self.held}
        self.news: dict[str, set[int]] = {name: set() for name in self.held}
        self.sent = 0
        self.now = 0.0

    def step(self) -> None:
        self.now += self.chance.random() * 0.4
        self.handout.advance(self.now)
        if len(self.held) > 1 and self.chance.random() < 0.01:
            victim = self.chance.choice(sorted(self.held))
            for table in (self.held, self.arriving, self.news):
                del table[victim]
        for name in sorted(self.held):
            if self.chance.random() < 0.5:
                self._ask(name)
            if self.chance.random() < 0.8:
                kept = {piece for piece in self.arriving[name] if self.chance.random() < 0.95}
                self.held[name] |= kept
                self.news[name] |= kept
                self.arriving[name] = set()
            other = self.chance.choice(sorted(self.held))
            if self.chance.random() < 0.5:
                self.held[name] |= {piece for piece in self.held[other] if self.chance.random() < 0.5}

    def _ask(self, name: str) -> None:
        if not self.handout.knows(name):
            self.handout.join(name, "all", range(len(self.sizes)), self.held[name], self.now)
        self.handout.confirm(name, self.news[name], self.now)
        self.news[name] = set()
        everywhere = set().union(*self.held.values())
        missing = [piece for piece in range(len(self.sizes)) if piece not in everywhere][:64]
        pieces = self.handout.ask(name, ROOM, self.now, missing=missing)
        assert len(set(pieces)) == len(pieces)
        self.handout.halt(name, pieces, self.now)
        if self.chance.random() < 0.1:
            self.handout.give_back(name, pieces)
            pieces = []
        self.handout.go_on(name, pieces, self.now + self.chance.random())
        self.sent += len(pieces)
        self.arriving[name] |= set(pieces)
        handout = self.handout
        assert handout._leased == sum(self.sizes[piece] for piece in handout._leases)
        assert (
            handout._late <= set(handout._leases) == {each for host in handout._hosts.values() for each in host.leased}
        )
        assert all(set(host.halted) <= set(host.leased) for host in handout._hosts.values())

    @property
    def is_done(self) -> bool:
        return all(len(held) == len(self.sizes) for held in self.held.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 12), st.integers(1, 120))
def test_everybody_who_lives_ends_with_every_piece(seed: int, hosts: int, pieces: int) -> None:
    world = World(seed, hosts, pieces)
    for _ in range(3000):
        world.step()
        if world.is_done:
            break
    assert world.is_done, world.handout


def test_without_faults_exactly_one_copy_leaves() -> None:
    handout = make(500, hosts=16, size=100_000)
    leaving = 0
    for turn in range(4000):
        host = f"h{turn % 16}"
        pieces = handout.ask(host, ROOM, turn * 0.01)
        leaving += len(pieces)
        handout.confirm(host, pieces, turn * 0.01)
    assert leaving == 500
