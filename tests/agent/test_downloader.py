"""Loading the closure from frontends that fail in every way they can, and into caches that are too small."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avalanche.agent import trouble
from avalanche.agent.item import Item, State
from avalanche.agent.source import DEMANDS, PREFETCHES, Load, Route, Source
from avalanche.agent.transfer import Transfer
from tests.agent.faulty import Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import Rig, until
from tests.loopclock import LoopClock

BIG = "Packages/p/p6+x-1048576.rpm"
SMALL = "Packages/p/p9+x-4242.rpm"


async def assert_everything_arrives(rig: Rig) -> None:
    await rig.loaded()
    for path, data in rig.frontend.generation.objects.items():
        assert (await rig.get("/" + path)).body == data


async def test_a_broken_connection_is_resumed_where_it_broke(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults[BIG].extend([Fault(cut=300001), Fault(cut=262144), Fault(cut=0)])
    async with Rig(frontend, folder) as rig:
        assert (await rig.get("/" + BIG)).body == frontend.generation.objects[BIG]
        await assert_everything_arrives(rig)
    offsets = [headers.get("range") for headers in frontend.asked(BIG)]
    assert offsets == [None, "bytes=300001-", "bytes=562145-", "bytes=562145-"]


async def test_a_corrupt_piece_is_fetched_again_and_reported_with_its_source(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.faults[BIG].append(Fault(flip=600000))
    async with Rig(frontend, folder) as rig:
        await assert_everything_arrives(rig)
        await rig.events.flush(5)
    assert [headers.get("range") for headers in frontend.asked(BIG)] == [None, "bytes=524288-"]
    reports = [text for status, text in frontend.outcomes("packages") if "piece 2" in text]
    assert len(reports) == 1
    assert f"from http://127.0.0.1:{frontend.http}" in reports[0]


async def test_an_object_that_stays_corrupt_fails_with_a_reason_and_never_leaves_the_proxy(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.always[SMALL] = Fault(flip=17)
    async with Rig(frontend, folder) as rig:
        answer = await rig.get("/" + SMALL)
        assert answer.status == 502
        assert b"piece 0 is not what the manifest says" in answer.body
        await rig.events.flush(5)
        assert [status for status, _ in frontend.outcomes("packages")][-1] == "failed"
        assert len(frontend.asked(SMALL)) == trouble.MISMATCHES + 1
        # Once the frontend is mended, asking again is enough.
        del frontend.always[SMALL]
        assert (await rig.get("/" + SMALL)).body == frontend.generation.objects[SMALL]


async def test_corruption_after_the_first_piece_breaks_the_answer_off(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.always[BIG] = Fault(flip=900000)
    async with Rig(frontend, folder) as rig:
        answer = await rig.get("/" + BIG)
    assert not answer.is_whole
    assert answer.body == frontend.generation.objects[BIG][: 3 * 262144]


async def test_when_the_frontend_is_back_objects_come_one_after_the_other_as_before(
    frontend: FaultyFrontend, folder: Path
) -> None:
    await frontend.stop()
    async with Rig(frontend, folder, delay=lambda tries, retry_after: 3600.0) as rig:
        rig.load()
        await until(lambda: len(rig.downloader._hopeful) >= 2)
        frontend.gate = asyncio.Event()
        await frontend.start()
        rig.downloader.resume()
        await until(lambda: frontend.open_objects and len(list(rig.downloader.flights)) > 1)
        await rig.events.flush(5)  # asked after them all, and answered
        assert frontend.open_objects == 1, "all at the same time would be whole at the same time, at the end"
        frontend.gate.set()
        await assert_everything_arrives(rig)


async def test_a_silent_frontend_is_given_up_and_asked_again(
    frontend: FaultyFrontend, folder: Path, clock: LoopClock
) -> None:
    frontend.faults[BIG].append(Fault(stall=100000))
    async with Rig(frontend, folder, stall=30.0) as rig:
        rig.load()
        paths = [item.entry.path for item in rig.catalogue.closure]
        before = sum(frontend.generation.entries[path].size for path in paths[: paths.index(BIG)])
        await until(lambda: rig.downloader.figures.bytes_from_frontend == before + 100000)
        await clock.forward(30.0)
        await until(rig.downloader.has_closure.is_set)
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
    assert [headers.get("range") for headers in frontend.asked(BIG)] == [None, "bytes=100000-"]


async def test_a_busy_frontend_is_asked_again_not_before_it_said(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults[SMALL].append(Fault(status=503, retry_after="1"))
    loop = asyncio.get_running_loop()
    async with Rig(frontend, folder, delay=trouble.jittered_delay) as rig:
        began = loop.time()
        assert (await rig.get("/" + SMALL)).body == frontend.generation.objects[SMALL]
        assert loop.time() - began >= 0.5  # one second times the least random factor


async def test_a_wrong_length_never_counts_as_the_object(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults[BIG].extend([Fault(length=1), Fault(length=-1)])
    async with Rig(frontend, folder) as rig:
        await assert_everything_arrives(rig)


async def test_an_object_the_frontend_no_longer_has_fails_with_its_words(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.always[SMALL] = Fault(status=404)
    async with Rig(frontend, folder) as rig:
        answer = await rig.get("/" + SMALL)
    assert answer.status == 502
    assert b"404: told to fail" in answer.body


async def test_a_second_frontend_takes_over(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder, others=("http://127.0.0.1:1",)) as rig:
        await assert_everything_arrives(rig)


async def test_a_frontend_that_restarts_in_mid_load_costs_only_time(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.always["*"] = Fault(chunk=65536, pause=0.02)
    async with Rig(frontend, folder) as rig:
        rig.load()
        await until(lambda: rig.downloader.figures.bytes_from_frontend >= 500000)
        await frontend.stop()
        assert not rig.downloader.has_closure.is_set()
        await frontend.start()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 30)
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data


async def test_what_a_frontend_failed_to_send_comes_when_it_sends_something_else(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.faults[SMALL].append(Fault(status=500))
    frontend.faults[BIG].append(Fault(cut=300001))
    async with Rig(frontend, folder, delay=lambda tries, retry_after: 3600.0) as rig:
        await assert_everything_arrives(rig)
    assert (len(frontend.asked(SMALL)), len(frontend.asked(BIG))) == (2, 2)


@pytest.mark.parametrize(
    ("fault", "times"),
    [(Fault(status=500), 2), (Fault(status=503, retry_after="7"), 1), (Fault(flip=17), 1), (Fault(status=404), 1)],
    ids=["it failed", "it said when", "wrong bytes", "a final answer"],
)
async def test_what_fails_for_a_reason_of_its_own_keeps_its_pace(
    frontend: FaultyFrontend, folder: Path, fault: Fault, times: int
) -> None:
    frontend.always[SMALL] = fault
    async with Rig(frontend, folder, delay=lambda tries, retry_after: 3600.0) as rig:
        rig.load()
        others = [item for item in rig.catalogue.closure if item.entry.path != SMALL]
        await until(lambda: all(item.has_arrived for item in others))
        for _ in range(2):
            rig.downloader.resume()
            rig.downloader.advance()  # what was woken begins
            await until(lambda: not list(rig.downloader.flights))
        assert len(frontend.asked(SMALL)) == times


async def test_a_long_outage_is_remembered_once_for_each_object(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.always["*"] = Fault(status=500)
    async with Rig(frontend, folder) as rig:
        rig.load()
        objects = len(rig.catalogue.closure)
        await until(lambda: len(frontend.requests) > 5 * objects)
        assert len(rig.downloader._hopeful) <= objects
        frontend.always.clear()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)


async def test_eight_objects_are_asked_for_and_one_comes(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.gate = asyncio.Event()
    async with Rig(frontend, folder) as rig:
        rig.load()
        await until(lambda: frontend.open_objects == 1)
        asked = [flight.item for flight in rig.downloader.flights]
        assert asked == list(rig.catalogue.closure[:PREFETCHES])
        assert frontend.asked(asked[0].entry.path) and not frontend.asked(asked[1].entry.path)  # nor has it answered
        frontend.gate.set()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)


async def test_what_the_installer_asks_for_does_not_wait_for_the_prefetch(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.gate = asyncio.Event()
    last = list(frontend.generation.objects)[-1]
    async with Rig(frontend, folder) as rig:
        rig.load()
        await until(lambda: frontend.open_objects == 1)
        waiting = asyncio.ensure_future(rig.get("/" + last))
        await until(lambda: frontend.asked(last))
        assert frontend.open_objects <= 1 + DEMANDS
        frontend.gate.set()
        assert (await waiting).body == frontend.generation.objects[last]


async def test_what_the_installer_asks_for_leaves_the_line(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder, stall=600.0) as rig:
        first, second = (item.entry.path for item in rig.catalogue.closure[:2])
        frontend.faults[first].append(Fault(stall=0))
        rig.load()
        await until(lambda: frontend.asked(first))
        answer = await asyncio.wait_for(rig.get("/" + second), 60)
        assert answer.body == frontend.generation.objects[second]
        assert len(frontend.asked(first)) == 1  # and has not moved


async def test_what_failed_once_holds_up_nobody_again(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder, stall=600.0) as rig:
        first = rig.catalogue.closure[0].entry.path
        frontend.faults[first].extend([Fault(cut=0), Fault(stall=0)])
        rig.load()
        others = [item for item in rig.catalogue.closure if item.entry.path != first]
        await until(lambda: all(item.state is State.COMPLETE for item in others))
        assert len(frontend.asked(first)) == 2


async def test_nothing_is_prefetched_while_held(frontend: FaultyFrontend, folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "hold").touch()
    async with Rig(frontend, folder) as rig:
        rig.load()
        assert (await rig.get("/" + SMALL)).body == frontend.generation.objects[SMALL]
        assert [path for path in frontend.generation.objects if frontend.asked(path)] == [SMALL]
        (folder / "run" / "hold").unlink()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)


async def test_prefetch_stops_at_the_cap_and_goes_on_as_the_installer_takes(
    frontend: FaultyFrontend, folder: Path
) -> None:
    # The biggest object and the rest of the limit that prefetch leaves alone: never everything at once.
    limit = 2_000_000
    async with Rig(frontend, folder, limit=limit) as rig:
        rig.load()
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
            assert rig.cache.used <= limit
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)
    assert {len(frontend.asked(path)) for path in frontend.generation.objects} == {1}


async def test_what_the_installer_has_not_taken_is_never_dropped(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder, limit=1_200_000) as rig:
        rig.load()
        await until(lambda: rig.downloader.is_full and not any(rig.downloader.flights))
        kept = [item for item in rig.catalogue.closure if item.state is State.COMPLETE]
        assert kept
        for path in reversed(list(frontend.generation.objects)):
            await rig.get("/" + path)
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)
    # Neither what was kept nor what the installer took before its turn came is fetched again.
    assert {len(frontend.asked(path)) for path in frontend.generation.objects} == {1}


async def test_an_object_larger_than_the_cap_is_served_all_the_same(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder, limit=10_000) as rig:
        rig.load()
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data


async def test_the_installer_is_told_no_when_its_order_has_ended_and_the_frontend_is_gone(
    frontend: FaultyFrontend, folder: Path
) -> None:
    frontend.always["/install/events"] = Fault(status=403)
    async with Rig(frontend, folder) as rig:
        rig.events.report("stub", "ok", "hello")
        assert await rig.events.flush(5)
        frontend.always[SMALL] = Fault(status=503)
        answer = await rig.get("/" + SMALL)
    assert (answer.status, b"has ended the order" in answer.body) == (502, True)


async def test_a_fault_of_the_agent_costs_one_object(
    frontend: FaultyFrontend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divide(transfer: Transfer, *ignored: object) -> None:
        1 / 0  # noqa: B018

    async with Rig(frontend, folder) as rig:
        with monkeypatch.context() as patch:
            patch.setattr(Transfer, "begin", divide)
            answer = await rig.get("/" + SMALL)
            assert (answer.status, b"ZeroDivisionError" in answer.body) == (502, True)
        assert (await rig.get("/" + SMALL)).body == frontend.generation.objects[SMALL]


async def test_the_cache_is_gone_at_the_end(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        await rig.loaded()
        assert len(list((folder / "cache").iterdir())) == len(frontend.generation.objects)
    assert not (folder / "cache").exists()


async def test_progress_tells_packages_and_bytes(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        await rig.loaded()
        await until(lambda: "ok" in dict(frontend.outcomes("packages")))
    data = [event["data"] for event in frontend.events if event["status"] == "ok"][-1]
    total = frontend.generation.manifest.total_bytes
    assert (data["packages"], data["total"], data["bytes_from_frontend"]) == (12, 12, total)


FAULTS = st.builds(
    Fault,
    status=st.sampled_from([200, 200, 200, 500, 503]),
    flip=st.none() | st.integers(0, 599_999),
    cut=st.none() | st.integers(0, 600_000),
    length=st.sampled_from([0, 0, 0, -1, 1, 1000]),
    chunk=st.sampled_from([1 << 20, 262144, 100_001, 16384]),
)


@settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(faults=st.lists(FAULTS, max_size=7), limit=st.sampled_from([300_000, 700_000, 5_000_000]))
async def test_whatever_goes_wrong_the_proxy_releases_a_prefix_of_the_true_object(
    certificates: Certificates, faults: list[Fault], limit: int
) -> None:
    """Invariant: bytes from the proxy are the object's, in order; an answer that ends whole is the whole object."""
    path, data = "Packages/x/x-1.rpm", (bytes(range(256)) * 2344)[:600_000]
    frontend = FaultyFrontend(certificates, Generation({path: data}))
    await frontend.start()
    frontend.faults[path].extend(faults)
    with tempfile.TemporaryDirectory(prefix="av-") as folder:
        async with Rig(frontend, Path(folder), limit=limit) as rig:
            answers = await asyncio.gather(rig.get("/" + path), rig.get("/" + path, Range="bytes=262143-"))
            for start, answer in zip((0, 262143), answers):
                if answer.status < 300:
                    assert data[start:].startswith(answer.body)
                    assert not answer.is_whole or answer.body == data[start:]
    await frontend.stop()


class Silent(Source):
    """Never sends anything."""

    def __init__(self) -> None:
        self.asked: list[Item] = []

    async def fetch(self, transfer: Transfer) -> None:
        self.asked.append(transfer.item)
        await asyncio.Event().wait()


class Turning(Route):
    """Everything from one source that takes three at a time, and then from another."""

    def source(self, item: Item) -> Source:
        return self._frontend

    def admits(self, source: Source, load: Load, *, is_waited_for: bool) -> bool:
        return load.count < 3

    def turn(self, source: Source) -> None:
        self._frontend = source


async def test_what_is_sent_elsewhere_goes_before_what_was_not_begun(frontend: FaultyFrontend, folder: Path) -> None:
    one, other = Silent(), Silent()
    async with Rig(frontend, folder) as rig:
        route = Turning(one)
        rig.downloader.follow(route)
        rig.load()
        await until(lambda: len(one.asked) == 3)
        route.turn(other)
        for item in reversed(one.asked):
            rig.downloader.redirect(item)
        rig.downloader.advance()
        await until(lambda: len(other.asked) == 3)
        assert other.asked == one.asked == list(rig.catalogue.closure[:3])
