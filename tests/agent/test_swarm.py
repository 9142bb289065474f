"""What a host asks its tracker, when, and what it does without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from avalanche.agent import swarm
from avalanche.membership import Membership
from tests.agent.faulty import ORDER, FaultyFrontend
from tests.agent.rig import Rig, until
from tests.agent.swarm import HostileParent, StubTracker, silent, token_of
from tests.agent.test_parents import honest, objects_of


def entries(frontend: FaultyFrontend) -> list[str]:
    return [entry.sha256 for entry in frontend.generation.manifest.entries]


async def lose(tracker: StubTracker, rig: Rig) -> swarm.Swarm:
    """The tracker dies, and the host has noticed."""
    assert rig.feed.relay is not None
    route = rig.feed.relay.route
    await tracker.stop()
    await until(lambda: route._must_register)
    return route


async def test_who_is_held_back_stands_in_no_line_and_then_registers_with_its_questions(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        assert rig.feed.relay is not None
        route = rig.feed.relay.route
        for _ in range(20):  # whatever it would do by itself
            await asyncio.sleep(0)
        assert (tracker.lookups, route._unanswered, rig.downloader.is_held) == ([], None, True)
        rig.load()
        await until(lambda: tracker.lookups)
        first = tracker.lookups[0]
        assert first["register"] == {"manifest": frontend.generation.manifest.digest, "have": [], "fetch": []}
        assert (first["state"], first["port"]) == ("fetching", route.port)
        assert first["ask"][0][0] == entries(frontend)[0]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)
        await until(lambda: tracker.lookups[-1]["state"] == "complete")
    assert tracker.asked() == entries(frontend)
    assert {done for row in tracker.lookups for done in row.get("done", [])} == set(entries(frontend))
    assert [("register" in row) for row in tracker.lookups].count(True) == 1


async def test_it_asks_no_further_ahead_than_its_progress(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "BATCH", 600_000)
    monkeypatch.setattr(swarm, "AHEAD", 600_000)
    frontend.gate = asyncio.Event()
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: frontend.open_objects)
        seen = len(tracker.lookups)
        await until(lambda: len(tracker.lookups) >= seen + 2)  # what it wanted to ask, it could have asked
        sizes = [entry.size for entry in frontend.generation.manifest.entries]
        starts = [sum(sizes[:place]) // 600_000 * 600_000 for place in range(len(sizes))]
        expected = [sha256 for sha256, start in zip(entries(frontend), starts) if start <= 600_000]
        assert tracker.asked() == expected
        frontend.gate.set()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    assert tracker.asked() == entries(frontend)


async def test_who_has_nothing_to_ask_is_not_alone_however_long_it_is_silent(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "BATCH", 600_000)
    monkeypatch.setattr(swarm, "AHEAD", 0)
    tracker.next = 60.0
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        assert rig.feed.relay is not None
        route = rig.feed.relay.route
        rig.load()
        await until(lambda: rig.downloader.figures.packages and not list(rig.downloader.flights))
        assert set(route._given.values()) == {None}, "it waits for the tracker, and asks in a minute"
        monkeypatch.setattr(swarm, "ALONE_SECONDS", 0.0)
        rig.downloader.advance()
        assert not list(rig.downloader.flights), "they come from where the tracker will say"


async def test_while_its_window_grows_it_asks_at_once_however_rare_lookups_are(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "BATCH", 200_000)
    monkeypatch.setattr(swarm, "WINDOW", 100_000)
    monkeypatch.setattr(swarm, "GROWTH", 1)
    tracker.next = 60.0
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await asyncio.wait_for(rig.loaded(), 20)
    assert tracker.asked() == entries(frontend)
    assert sum("ask" in row for row in tracker.lookups) >= 2, "one question for everything would be no growth"


async def test_what_the_installer_waits_for_is_asked_at_once(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    path = "Packages/p/p9+x-4242.rpm"
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        assert (await rig.get("/" + path)).body == frontend.generation.objects[path]
        assert tracker.asked() == [rig.item(path).entry.sha256]


async def test_a_tracker_that_was_restarted_hears_everything_again(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    tracker.gives_nothing = True
    small = "Packages/p/p9+x-4242.rpm"
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: set(tracker.asked()) == set(entries(frontend)))
        tracker.moves = [(rig.item(small).entry.sha256, "frontend")]
        await until(lambda: rig.item(small).has_arrived)
        await until(lambda: any("done" in row for row in tracker.lookups))
        tracker.forgets = True
        await until(lambda: sum("register" in row for row in tracker.lookups) == 2)
        again = [row for row in tracker.lookups if "register" in row][1]
        assert again["register"]["have"] == [rig.item(small).entry.sha256]
        assert again["register"]["place"] == 0
        # What has no answer is asked once more.
        assert {ask[0] for ask in again["ask"]} == set(entries(frontend)) - {rig.item(small).entry.sha256}
        tracker.moves = [(sha256, "frontend") for sha256 in entries(frontend)]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)


async def test_without_a_tracker_the_frontend_feeds_two_at_a_time(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "ALONE_SECONDS", 0.5)
    await tracker.stop()
    frontend.gate = asyncio.Event()
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: frontend.open_objects == 1)
        assert len(list(rig.downloader.flights)) == 2
        frontend.gate.set()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 60)
        await tracker.start()


async def test_without_a_tracker_nothing_comes_from_the_frontend_while_a_parent_is_there(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "ALONE_SECONDS", 0.2)
    monkeypatch.setattr(swarm, "BATCH", 600_000)
    monkeypatch.setattr(swarm, "AHEAD", 600_000)
    parent = HostileParent({}, silent)
    tracker.add_parent("a" * 16, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: parent.asked)
        assert len(tracker.asked()) < len(entries(frontend)), "some are not asked for yet"
        route = await lose(tracker, rig)
        assert route._unanswered is not None
        since = route._unanswered
        await until(lambda: route._now() - since > 2 * swarm.ALONE_SECONDS)
        rig.downloader.advance()
        assert {str(flight.source) for flight in rig.downloader.flights} == {"host-aa"}
        await tracker.start()
    await parent.stop()


@pytest.mark.parametrize("lost", [1, 2], ids=["its parent", "everybody ahead"])
async def test_without_a_tracker_the_next_one_ahead_takes_the_place_of_a_lost_parent(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, lost: int
) -> None:
    first, second = HostileParent({}, silent), HostileParent(objects_of(frontend), honest)
    tracker.ahead = [
        tracker.add_parent("a" * 16, await first.start()),
        tracker.add_parent("b" * 16, await second.start()),
    ]
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: first.asked and set(tracker.asked()) == set(entries(frontend)))
        await tracker.stop()
        for parent in (first, second)[:lost]:
            await parent.stop()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)
        packages = [path for _, path, _ in frontend.requests if path.startswith("/install/packages/")]
        assert bool(packages) == (lost == 2), "who has lost all that stood ahead is the first in line"
        assert bool(second.asked) == (lost == 1)
        await tracker.start()
    await second.stop()


async def test_when_all_who_were_named_are_lost_a_tracker_is_waited_for(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    parents = [HostileParent({}, silent) for _ in range(swarm.lookup.NAMED_AHEAD)]
    tracker.ahead = [tracker.add_parent(letter * 16, await parent.start()) for letter, parent in zip("abcde", parents)]
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: parents[0].asked)
        await tracker.stop()
        for parent in parents:
            await parent.stop()
        assert rig.feed.relay is not None
        route = rig.feed.relay.route
        await until(lambda: len(route._lost) == len(parents) and not list(rig.downloader.flights))
        assert set(route._given.values()) == {None}, "others may stand ahead, whom nobody has named"
        tracker.parents.clear()
        tracker.ahead = None
        await tracker.start()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)


async def test_a_tracker_that_comes_back_wakes_what_waits_for_the_frontend(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(
        frontend, folder, membership=tracker.membership(ORDER), delay=lambda tries, retry_after: 3600.0
    ) as rig:
        await frontend.stop()
        rig.load()
        await until(lambda: set(tracker.asked()) == set(entries(frontend)))
        await until(lambda: not list(rig.downloader.flights))
        await lose(tracker, rig)
        await frontend.start()
        await tracker.start()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 20)


async def test_what_was_said_of_pace_while_no_tracker_heard_it_is_not_said_later(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        route = await lose(tracker, rig)
        route.blame("a" * 16, "starved", entries(frontend)[0])
        route.blame("b" * 16, "slow")
        route.blame("c" * 16, "dead")
        await tracker.start()
        await until(lambda: tracker.blames)
    assert tracker.blames == [("c" * 16, "dead")]


async def test_a_tracker_that_comes_back_is_told_what_is_here(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        await lose(tracker, rig)
        tracker.lookups.clear()
        await tracker.start()
        await until(lambda: tracker.lookups)
    assert set(tracker.lookups[0]["register"]["have"]) == set(entries(frontend))


async def test_the_frontend_may_starve_a_host_too(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "STARVED_SECONDS", 0.3)
    gate = frontend.gate = asyncio.Event()
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: tracker.blames)
        gate.set()
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    assert tracker.blames[0] == ("frontend", "starved", entries(frontend)[0])


async def test_the_same_bytes_under_two_paths_are_asked_for_once(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    from tests.agent.faulty import Generation

    objects = {"Packages/a.rpm": b"same", "Packages/b.rpm": b"same", "Packages/c.rpm": b"other"}
    frontend.generation = Generation(objects)
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        for path, data in objects.items():
            assert (await rig.get("/" + path)).body == data
    assert len(tracker.asked()) == 2


async def test_a_host_behind_a_translated_address_installs_without_peers(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    key = tracker.membership(ORDER).peer_key
    elsewhere = Membership((f"http://127.0.0.1:{tracker.port}",), token_of(ORDER, address="192.0.2.1"), key)
    async with Rig(frontend, folder, membership=elsewhere) as rig:
        await rig.loaded()
        assert await rig.events.flush(5)
    assert any("fetches from the frontend alone: 192.0.2.1" in event["text"] for event in frontend.events)


async def test_a_ticket_that_has_expired_is_asked_for_again(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    name = tracker.add_parent("a" * 16, 1)
    tracker.lifetime = -1
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: len(tracker.asked()) > 2 * len(entries(frontend)))
        del tracker.parents[name]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    assert tracker.blames == []


async def test_what_one_parent_is_slow_to_have_keeps_no_other_one_idle(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "OPEN_REQUESTS", 3)
    parent = HostileParent({}, silent)
    name = tracker.add_parent("a" * 16, await parent.start())
    first, rest = entries(frontend)[:5], entries(frontend)[5:]
    tracker.by_object = {**dict.fromkeys(first, name), **dict.fromkeys(rest, "frontend")}
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        arrived = {item.entry.sha256: item for item in rig.catalogue.closure}
        await until(lambda: all(arrived[sha256].has_arrived for sha256 in rest))
        assert not any(arrived[sha256].has_arrived for sha256 in first)
        # Only so much is asked of the silent one.
        assert len(parent.asked) < len(first)
    await parent.stop()


async def test_what_is_asked_of_a_parent_grows_with_what_has_come(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "WINDOW", 50_000)
    parent = HostileParent({}, silent)
    tracker.by_object = dict.fromkeys(entries(frontend), tracker.add_parent("a" * 16, await parent.start()))
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:

        def opened() -> list[int]:
            rig.downloader.advance()
            return [flight.item.entry.size for flight in rig.downloader.flights]

        rig.load()
        await until(lambda: parent.asked and set(tracker.asked()) == set(entries(frontend)))
        await until(lambda: sum(opened()) >= 50_000)
        assert sum(opened()[:-1]) < 50_000
        rig.downloader.figures.count_peer(100_000)
        assert sum(opened()[:-1]) < 50_000 + swarm.GROWTH * 100_000 <= sum(opened())
    await parent.stop()


async def test_what_the_installer_waits_for_is_asked_for_without_a_pause(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "PAUSE", 3600.0)
    first, (path, data) = list(frontend.generation.objects.items())[:2]
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        # Whatever it has to say by itself waits; for the installer it speaks at once.
        tracker.next = 3600.0
        await rig.get("/" + first[0])
        assert tracker.lookups
        await until(lambda: rig.feed.relay is not None and rig.feed.relay.route.time is not None)
        assert (await rig.get("/" + path)).body == data


async def test_an_installer_in_a_hurry_does_not_make_the_tracker_s_limit(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    """Invariant: however often it is asked, no more lookups skip the pause than the tracker takes."""
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        assert rig.feed.relay is not None
        route = rig.feed.relay.route
        await rig.get("/" + next(iter(frontend.generation.objects)))
        before, began = len(tracker.lookups), route._now()
        route._leave, route._leave_at = 0.0, began
        for path in frontend.generation.objects:
            await rig.get("/" + path)
        # One may have begun before, and news are told without any hurry too.
        elapsed = route._now() - began
        assert len(tracker.lookups) - before <= 2 + elapsed * (swarm.LOOKUPS_PER_SECOND + 1 / route._spacing)
        assert route._leave <= swarm.LOOKUPS_AT_ONCE


@pytest_asyncio.fixture
async def second() -> AsyncIterator[StubTracker]:
    tracker = StubTracker()
    await tracker.start()
    yield tracker
    await tracker.stop()


def of_both(first: StubTracker, second: StubTracker) -> Membership:
    one, other = first.membership(ORDER), second.membership(ORDER)
    return Membership(one.trackers + other.trackers, one.token, one.peer_key)


async def test_when_a_tracker_dies_the_next_one_is_told_everything(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, second: StubTracker
) -> None:
    second.forgets = True
    async with Rig(frontend, folder, membership=of_both(tracker, second)) as rig:
        await rig.loaded()
        assert second.lookups == []
        await tracker.stop()
        await until(lambda: any("register" in row for row in second.lookups))
        told = next(row for row in second.lookups if "register" in row)
        assert set(told["register"]["have"]) == set(entries(frontend))
        await tracker.start()


async def test_a_host_goes_back_to_the_first_tracker_when_it_is_there_again(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, second: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "RETURN_SECONDS", 0.3)
    await tracker.stop()
    async with Rig(frontend, folder, membership=of_both(tracker, second)) as rig:
        await rig.loaded()
        await until(lambda: second.lookups and second.lookups[-1]["state"] == "complete")
        tracker.forgets = True
        await tracker.start()
        await until(lambda: any("register" in row for row in tracker.lookups))
        seen = len(second.lookups)
        await until(lambda: len(tracker.lookups) >= 5)
        assert len(second.lookups) <= seen + 1
