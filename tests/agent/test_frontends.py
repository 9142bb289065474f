"""Several frontends in order: who fails rests, and has its turn again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent.connection import Address, Head, Request, Sink
from avalanche.agent.frontends import REST_SECONDS, Frontends, Order
from avalanche.agent.item import Item
from avalanche.agent.pool import Pool
from avalanche.agent.transfer import Transfer
from avalanche.manifest import Entry, hash_stream
from tests.agent.faulty import GENERATION, Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import Rig


def test_the_first_one_is_asked_again_after_its_rest() -> None:
    order = Order(3)
    assert order.first(0) == 0
    order.failed(0, 0, None)
    assert order.first(0) == 1
    order.failed(1, 1, 2.0)
    assert order.first(1) == 2
    assert order.first(3) == 1  # it said when to come back
    assert order.first(REST_SECONDS[0]) == 0


def test_when_all_rest_the_one_that_rests_the_shortest_is_asked() -> None:
    order = Order(2)
    order.failed(0, 0, 30.0)
    order.failed(1, 0, 3.0)
    assert order.first(1) == 1


def test_who_fails_again_and_again_rests_longer_until_it_serves() -> None:
    order, now, rests = Order(2), 0.0, []
    for _ in range(8):
        order.failed(0, now, None)
        began = now
        while order.first(now) != 0:
            now += 0.5
        rests.append(now - began)
    assert rests == sorted(rests) and (rests[0], rests[-1]) == REST_SECONDS
    order.served(0)
    order.failed(0, now, None)
    assert order.first(now + REST_SECONDS[0]) == 0


def test_one_failure_that_many_transfers_see_counts_once() -> None:
    order = Order(2)
    for _ in range(8):
        order.failed(0, 0.0, None)
    assert order.first(REST_SECONDS[0]) == 0


@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=50))
def test_somebody_is_always_asked_and_a_single_frontend_never_rests(
    count: int, moments: list[tuple[float, bool]]
) -> None:
    order, now = Order(count), 0.0
    for pause, fails in moments:
        now += pause
        number = order.first(now)
        assert 0 <= number < count
        order.failed(number, now, None) if fails else order.served(number)
    assert Order(1).first(now) == 0


async def test_a_refused_host_takes_the_next_frontend_at_once(
    certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    busy, mirror = (FaultyFrontend(certificates, Generation(objects)) for _ in range(2))
    await busy.start()
    await mirror.start()
    busy.always["*"] = Fault(status=503, retry_after="3600")
    others = (f"http://127.0.0.1:{busy.http}",)
    # Who is told to come back in an hour would need one, were there nobody else.
    async with Rig(mirror, folder, others=others, delay=lambda tries, asked: asked or 0.0) as rig:
        await rig.loaded()
        for path, data in objects.items():
            assert (await rig.get("/" + path)).body == data
    assert any(busy.asked(path) for path in objects)
    assert sum(len(busy.asked(path)) for path in objects) <= 8
    await busy.stop()
    await mirror.stop()


async def test_a_mirror_that_lacks_or_damages_objects_costs_only_time(
    certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    paths = list(objects)
    mirror = FaultyFrontend(certificates, Generation({path: objects[path] for path in paths[::2]}))
    frontend = FaultyFrontend(certificates, Generation(objects))
    await mirror.start()
    await frontend.start()
    mirror.always[paths[0]] = Fault(flip=0)
    async with Rig(frontend, folder, others=(f"http://127.0.0.1:{mirror.http}",)) as rig:
        await rig.loaded()
        for path, data in objects.items():
            assert (await rig.get("/" + path)).body == data
    await mirror.stop()
    await frontend.stop()


class Counting:
    """A pool that counts, with one exchange that never ends."""

    def __init__(self) -> None:
        self.begun = self.given_back = 0
        self.head = Head(200, {"content-length": "1"})

    async def begin(self, address: Address, request: Request, *, in_line: bool) -> Counting:
        await asyncio.sleep(0)
        self.begun += 1
        return self

    async def receive(self, sink: Sink) -> None:
        await asyncio.Event().wait()

    def give_back(self, exchange: Counting) -> None:
        self.given_back += 1


class Empty:
    """A transfer of which nothing has come."""

    item = Item(Entry.of(hash_stream([b"x"]), "x.rpm", None))
    received_bytes = 0


@pytest.mark.parametrize("turns", range(8))
async def test_whenever_a_fetch_is_given_up_its_place_in_line_is_given_back(turns: int) -> None:
    pool = Counting()
    frontends = Frontends(
        [Address("http", "127.0.0.1", 1)],
        GENERATION,
        pool=cast(Pool, pool),
        count=lambda received: None,
        clock=lambda: 0.0,
    )
    fetching = asyncio.ensure_future(frontends.fetch(cast(Transfer, Empty())))
    for _ in range(turns):
        await asyncio.sleep(0)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    for _ in range(4):
        await asyncio.sleep(0)
    assert pool.given_back == pool.begun
    assert pool.begun or turns < 7
