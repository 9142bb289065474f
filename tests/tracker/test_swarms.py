"""Swarms: who is in, who is handed out, who has gone."""

from __future__ import annotations

import random
from collections import Counter, deque
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.announce import Announce, Counts, Reply
from tracker.swarms import EXPIRY, FRONTEND_SHARES, PER_ADDRESS, Client, Swarms

HASH = b"h" * 20


class World:
    """A swarm whose peers are numbers: peer ``n`` is host ``n`` at 10.0.x.y."""

    def __init__(self, *, size: int = 20_000) -> None:
        self.swarms = Swarms(size=size)
        self.chance = random.Random(1)
        self.now = 0.0

    def say(
        self, number: int, event: str = "", *, rack: str = "0", done: bool = False, wanted: int = 50, port: int | None =
            6881,
        peer_id: bytes | None = None, key: bytes = b"", host: str | None = None, address: str | None = None,
    ) -> Reply:  # fmt: skip
        where = ip_address(address or f"10.0.{number // 250}.{number % 250 + 1}")
        announce = Announce(HASH, peer_id or b"%020d" % number, port, done, event, wanted, key=key)
        client = Client(host or f"h{number}", rack, where)
        return self.swarms.announce(
            announce, client, now=self.now, chance=self.chance.random(), shuffle=self.chance.shuffle
        )

    def seen(self, number: int, event: str = "", **more: object) -> list[int]:
        """The numbers of the peers that peer ``number`` is given."""
        return [int(peer.peer_id) for peer in self.say(number, event, **more).peers]  # type: ignore[arg-type]

    @property
    def counts(self) -> tuple[int, int]:
        counts = self.swarms.scrape(HASH, now=self.now)
        return counts.complete, counts.incomplete


@pytest.fixture
def world() -> World:
    return World()


def test_the_sequence_of_bittorrent_trackers_server_test(world: World) -> None:
    world.say(1, "started")
    assert world.counts == (0, 1)
    world.say(1, "completed", done=True)
    assert world.counts == (1, 0)
    world.say(2, "started")
    assert world.counts == (1, 1)
    world.say(3, "started")
    assert world.counts == (1, 2)
    world.say(3, "stopped")
    assert world.counts == (1, 1)
    world.say(2, "stopped")
    assert world.counts == (1, 0)


def test_a_lone_peer_gets_nobody_and_the_second_gets_the_first(world: World) -> None:
    assert world.seen(1, "started") == []
    assert world.seen(1) == []
    assert world.seen(2, "started") == [1]


def test_as_many_as_wanted_and_nobody_twice(world: World) -> None:
    for number in range(10):
        world.say(number)
    assert len(world.seen(99, wanted=1)) == 1
    assert world.seen(99, wanted=0) == []
    everybody = world.seen(99)
    assert sorted(everybody) == list(range(10))


def test_a_seed_gets_no_seeds_and_a_leecher_gets_both(world: World) -> None:
    world.say(1, done=True)
    world.say(2)
    world.say(3, "paused")
    assert world.seen(4, done=True) == [2]
    assert world.seen(5, "paused") == [2]
    assert sorted(world.seen(6)) == [1, 2, 3, 4, 5]


def test_a_leecher_that_completes_is_a_seed_in_no_more_than_one_place(world: World) -> None:
    world.say(1)
    world.say(1, "completed", done=True)
    assert world.seen(2, done=True) == []
    assert world.counts == (2, 0)


def test_completed_counts_once_and_only_for_who_was_downloading(world: World) -> None:
    world.say(1, "completed", done=True)
    assert world.say(2, "completed").counts.downloaded == 0, "it says completed and has not everything"
    world.say(2, "completed", done=True)
    assert world.say(2, "completed", done=True).counts.downloaded == 1


def test_partial_seeds_are_incomplete_and_no_downloaders(world: World) -> None:
    world.say(1, "paused")
    world.say(2)
    world.say(3, done=True)
    assert world.swarms.scrape(HASH, now=0.0) == Counts(1, 2, 1, 0)


def test_stopping_who_was_never_there_changes_nothing(world: World) -> None:
    reply = world.say(1, "stopped")
    assert (reply.peers, reply.counts) == ((), Counts())
    assert repr(world.swarms) == "<Swarms 0 torrents, 0 peers>"


def test_started_twice_is_one_peer_and_left_zero_makes_a_seed(world: World) -> None:
    world.say(1, "started")
    world.say(1, "started")
    assert world.counts == (0, 1)
    world.say(1, done=True)
    assert world.counts == (1, 0)


def test_nobody_stops_another_start_of_a_client(world: World) -> None:
    world.say(1, key=b"secret")
    world.say(1, "stopped", key=b"guess")
    world.say(1, "stopped", key=b"secret", peer_id=b"x" * 20)
    assert world.counts == (0, 1)
    world.say(1, "stopped", key=b"secret")
    assert world.counts == (0, 0)


def test_a_multi_homed_client_is_two_endpoints_and_never_its_own_peer(world: World) -> None:
    world.say(1, address="10.1.0.1")
    assert world.seen(1, address="10.2.0.1", host="h1b") == []
    assert world.counts == (0, 2)


def test_a_reinstalled_host_replaces_its_old_entry(world: World) -> None:
    world.say(1, done=True)
    world.say(1, peer_id=b"1" * 20)
    assert world.counts == (0, 1)
    assert world.seen(1, peer_id=b"2" * 20, port=7000) == [], "another start of the same host is no peer for it"


def test_who_does_not_listen_gets_peers_and_is_handed_to_nobody(world: World) -> None:
    world.say(1)
    assert world.seen(2, port=None) == [1]
    assert world.seen(3) == [1]


def test_the_silent_expire_and_a_clock_that_goes_back_harms_nobody(world: World) -> None:
    world.say(1)
    world.now = EXPIRY - 1.0
    world.say(2)
    world.now = -1000.0
    assert sorted(world.seen(3)) == [1, 2]
    world.now = EXPIRY + 1.0
    assert 1 not in world.seen(4)
    world.now = 10 * EXPIRY
    assert world.swarms.expire(world.now) == 3
    assert repr(world.swarms) == "<Swarms 0 torrents, 0 peers>"


def test_a_full_swarm_makes_room_before_it_answers() -> None:
    world = World(size=2)
    for number in (1, 2):
        world.say(number)
    assert world.seen(3) == [2]
    assert world.counts == (0, 2)


def test_one_address_has_a_bounded_number_of_entries(world: World) -> None:
    for port in range(7000, 7000 + 3 * PER_ADDRESS):
        world.say(1, port=port, peer_id=b"%020d" % port)
    assert world.counts == (0, PER_ADDRESS)


def test_scraping_does_not_create_a_swarm(world: World) -> None:
    assert world.swarms.scrape(b"x" * 20, now=0.0) == Counts()
    assert repr(world.swarms) == "<Swarms 0 torrents, 0 peers>"


def test_most_peers_are_of_the_own_rack_and_some_are_not(world: World) -> None:
    for number in range(100):
        world.say(number, rack=str(number % 2))
    for number in range(20):
        peers = world.seen(number, rack=str(number % 2), wanted=50)
        own = sum(peer % 2 == number % 2 for peer in peers)
        assert len(peers) == 50
        assert 0.6 <= own / 50 <= 0.8


def test_at_least_three_are_of_other_racks_even_when_few_are_wanted(world: World) -> None:
    for number in range(100):
        world.say(number, rack=str(number % 2))
    peers = world.seen(0, rack="0", wanted=5)
    assert sum(peer % 2 == 1 for peer in peers) >= 3


def test_who_is_alone_in_its_rack_gets_others(world: World) -> None:
    for number in range(60):
        world.say(number, rack="0")
    assert len(world.seen(99, rack="7")) == 50


def test_the_frontend_is_spared_once_others_hold_something(world: World) -> None:
    world.say(900, done=True, host="frontend")
    given = [number for number in range(100) if 900 in world.seen(number, "started")]
    assert given == list(range(FRONTEND_SHARES))
    assert 900 in world.seen(0), "who has it keeps it"


def test_the_frontend_is_given_to_anybody_when_there_is_nobody_else(world: World) -> None:
    world.say(900, done=True, host="frontend")
    for number in range(2 * FRONTEND_SHARES):
        assert world.seen(number) == [900]
        world.say(number, "stopped")


@pytest.mark.parametrize("size", [2, 10, 100, 1000, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_handouts_connect_everybody_and_burden_nobody(size: int) -> None:
    world = World()
    for number in range(size):
        world.say(number, "started", rack=str(number % 8))
    given = {number: world.seen(number, rack=str(number % 8)) for number in range(size)}
    neighbours: dict[int, set[int]] = {number: set(peers) for number, peers in given.items()}
    for number, peers in given.items():
        for peer in peers:
            neighbours[peer].add(number)
    reached, waiting = {0}, deque([0])
    while waiting:
        for peer in neighbours[waiting.popleft()] - reached:
            reached.add(peer)
            waiting.append(peer)
    assert len(reached) == size
    degrees = Counter(peer for peers in given.values() for peer in peers)
    assert max(degrees.values()) <= 4 * sum(degrees.values()) / size


def test_intervals_are_spread_and_grow_with_the_swarm(world: World) -> None:
    first = [world.say(1, "started").interval for _ in range(1)] + [
        world.say(n, "started").interval for n in range(2, 1000)
    ]
    assert min(first) <= 4 and max(first) >= 6
    for number in range(1000, 6000):
        world.say(number, "started")
    later = [world.say(number).interval for number in range(1, 1001)]
    mean = sum(later) / 1000
    assert mean == pytest.approx(6000 / 200, rel=0.1)
    assert max(later) - min(later) >= 0.2 * mean
    assert all(reply.minimum_interval == reply.interval // 2 for reply in (world.say(1), world.say(2)))


steps = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["", "started", "completed", "stopped", "paused"]),
        st.booleans(),
        st.integers(0, 80),
    ),
    max_size=60,
)


@given(steps)
def test_the_counts_are_a_recount_whatever_happens(actions: list[tuple[int, str, bool, int]]) -> None:
    world, entries = World(), dict[int, tuple[str, float]]()
    for number, event, done, seconds in actions:
        world.now += seconds
        entries = {n: entry for n, entry in entries.items() if world.now - entry[1] <= EXPIRY}
        peers = world.seen(number, event, done=done, rack=str(number % 3), wanted=5)
        assert number not in peers and len(set(peers)) == len(peers) <= 5
        assert set(peers) <= set(entries)
        if event == "stopped":
            entries.pop(number, None)
            assert peers == []
        else:
            entries[number] = ("seed" if done else "partial" if event == "paused" else "leecher", world.now)
        kinds = [kind for kind, _ in entries.values()]
        counts = world.swarms.scrape(HASH, now=world.now)
        assert (counts.complete, counts.incomplete) == (kinds.count("seed"), len(kinds) - kinds.count("seed"))
        assert counts.downloaders == kinds.count("leecher")
