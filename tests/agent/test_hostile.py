"""What hostile hosts cost, and what becomes of them: bounds in frames, bytes and requests, never in seconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from avalanche.agent import children, frames, link
from avalanche.agent.children import Child
from avalanche.agent.item import Item, State
from avalanche.manifest import BLOCK, PIECE, Manifest
from avalanche.tokens import peer_id
from tests.agent.faulty import ORDER, FaultyFrontend
from tests.agent.hostile import ChildEnd, ParentEnd, blob, leaves_of, split
from tests.agent.rig import ATTEMPT, Rig, until
from tests.agent.swarm import PARENT_ORDER, Asked, Behaviour, HostileParent, StubTracker, prove, send
from tests.agent.test_parents import honest, objects_of

BIG = blob(2 * PIECE)
MANY = {f"p{number:03d}": blob(BLOCK + number) for number in range(300)}


# --- parents, over sockets ---


class Abrupt(HostileParent):
    """Says ``words`` to everybody who connects, and hangs up: at once, or when it was asked to open."""

    def __init__(self, words: bytes, *, at_once: bool = False) -> None:
        super().__init__({}, honest)
        self._words = words
        self._at_once = at_once

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self._at_once:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(self._words)
        writer.close()


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize(
    ("words", "at_once", "why"),
    [
        (SWITCH, False, "dead"),
        (SWITCH + b"\xa5" * 40, False, "corrupt"),
        (SWITCH + frames.bare(frames.END, 1), False, "corrupt"),
        (SWITCH, True, "dead"),
        (b"", True, "dead"),
        (b"HTTP/1.1 200 \x1b[2J\n\x07ok\r\n\r\n", False, "refused"),
    ],
)
async def test_a_parent_that_ends_as_it_begins_is_left_at_once_and_named(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, words: bytes, at_once: bool, why: str
) -> None:
    parent = Abrupt(words, at_once=at_once)
    name = tracker.add_parent(PARENT_ORDER, await parent.start())
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        await until(lambda: tracker.blames)
    await parent.stop()
    assert tracker.blames[0][:2] == (name, why)
    assert parent.connections == 1
    assert complaints == []


async def withhold_the_end(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    send(writer, asked, data, asked.offset, len(data))


async def lie_about_backlog(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Proves a piece, sends a block, and says that it has everything and that nothing waits."""
    data = parent.objects[asked.sha256]
    prove(writer, asked, data, 0)
    send(writer, asked, data, 0, min(BLOCK, len(data)))
    while not writer.transport.is_closing():
        writer.write(frames.heartbeat(0, 0, 0, [(asked.id, len(data))]))
        await asyncio.sleep(0.1)


async def repeat_the_leaves(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    if len(data) <= 2 * BLOCK:
        await honest(parent, asked, writer)
        return
    prove(writer, asked, data, 0)
    prove(writer, asked, data, 0)


@pytest.mark.parametrize(
    ("behave", "why"), [(withhold_the_end, "stalled"), (lie_about_backlog, "stalled"), (repeat_the_leaves, "corrupt")]
)
async def test_a_parent_that_holds_up_its_child_is_left_and_named(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, behave: Behaviour, why: str
) -> None:
    parent = HostileParent(objects_of(frontend), behave)
    name = tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        await until(lambda: tracker.blames)
    await parent.stop()
    assert tracker.blames[0][:2] == (name, why)


async def test_half_a_block_of_a_parent_that_left_is_not_held_against_the_frontend(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async def poison(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
        size = len(parent.objects[asked.sha256])
        if size <= BLOCK:
            await honest(parent, asked, writer)
            return
        send(writer, asked, bytes(size), asked.offset, asked.offset + 5000)
        await writer.drain()
        writer.close()

    parent = HostileParent(objects_of(frontend), poison)
    tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        await rig.events.flush(10)
    await parent.stop()
    assert parent.asked
    assert {why for _, why, *_ in tracker.blames} == {"dead"}
    assert not [event for event in frontend.events if "manifest" in event["text"]]


async def test_a_manifest_that_contradicts_itself_fails_its_object_and_nobody_else(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    wrong = "Packages/p/p6+x-1048576.rpm"
    generation = frontend.generation
    generation.entries[wrong] = replace(generation.entries[wrong], sha256="ab" * 32)
    generation.manifest = Manifest(generation.manifest.generation, tuple(generation.entries.values()))
    parent = HostileParent(objects_of(frontend), honest)
    tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        others = [item for item in rig.catalogue.closure if item.entry.path != wrong]
        await until(lambda: all(item.has_arrived for item in others))
        await until(lambda: rig.item(wrong).state is State.ABSENT)
        await rig.events.flush(10)
    await parent.stop()
    assert (tracker.blames, parent.connections) == ([], 1)
    failed = [event["text"] for event in frontend.events if event["status"] == "failed"]
    assert [text.partition(": ")[0] for text in failed] == [wrong]
    assert "every piece is right" in failed[0]


# --- parents that cost a child its processor ---


def bytewise(id: int, data: bytes) -> list[bytes]:
    return [frames.data_head(id, place, 1) + data[place : place + 1] for place in range(20_000)]


@pytest.mark.parametrize(
    "flood",
    [
        bytewise(1, BIG),
        [frames.heartbeat(0, 0, 0, [(id, 1 << 60) for id in range(1000, 1256)])] * 20_000,
        [frames.bare(frames.END, 2)] * 20_000,
        [frames.leaves(2, 0, leaves_of(BIG, 0))] * 20_000,
        [frames.refuse(2, frames.BUSY)] * 20_000,
        [frames.data_head(2, 0, 1) + b"x"] * 20_000,
    ],
    ids=["a byte at a time", "heartbeats", "ends", "leaves of what was cancelled", "refusals", "what was cancelled"],
)
async def test_a_child_reads_a_bounded_number_of_frames_and_names_who_sends_more(
    folder: Path, flood: list[bytes]
) -> None:
    end = ChildEnd(folder / "cache", {"a": BIG, "b": blob(PIECE)})
    await end.open()
    end.fetch(0)
    end.fetch(1)
    await asyncio.sleep(0)
    end.tasks[1].cancel()
    await asyncio.sleep(0)
    read = 0
    for frame in flood:
        end.hear(frame)
        if end.link.is_closed:
            break
        read += 1
    assert read <= link.CREDIT + 8
    assert end.blames == [("corrupt", end.items[0].entry.sha256)]  # the one that is open
    await end.close()


async def test_a_good_parent_never_spends_its_credit(folder: Path) -> None:
    """The smallest objects, and heartbeats between them; and an object in frames of a KiB."""
    objects = {f"p{number:04d}": blob(1 + number % 40) for number in range(3000)}
    end = ChildEnd(folder / "cache", {**objects, "z": blob(9 * PIECE)})
    await end.open()
    for id, data in enumerate(objects.values(), start=1):
        end.fetch(id - 1)
        await asyncio.sleep(0)
        end.hear(frames.data_head(id, 0, len(data)) + data + frames.bare(frames.END, id))
        if id % 10 == 0:
            end.hear(frames.heartbeat(0, 0, 0, []))
    end.fetch(3000)
    await asyncio.sleep(0)
    data = blob(9 * PIECE)
    for start in range(0, len(data), 1024):
        end.hear(frames.data_head(3001, start, 1024) + data[start : start + 1024])
    end.hear(frames.bare(frames.END, 3001))
    assert (end.link._credit, end.blames) == (link.CREDIT - 1, [])
    await end.close()


async def test_hashes_of_a_piece_are_checked_once_a_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = ChildEnd(folder / "cache", {"a": BIG})
    await end.open()
    end.fetch(0)
    await asyncio.sleep(0)
    checked = []
    trust = end.transfers[0].trust
    monkeypatch.setattr(end.transfers[0], "trust", lambda hashes: (checked.append(1), trust(hashes)))
    end.hear(frames.leaves(1, 0, leaves_of(BIG, 0)) * 1000)
    assert (len(checked), end.blames) == (1, [("corrupt", end.items[0].entry.sha256)])
    await end.close()


# --- parents that send right bytes, and few of them, and say that all is well ---


class Dripping:
    """A parent whose bytes come at a pace, on a clock that the test moves; each heartbeat says what it likes."""

    def __init__(self, folder: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        self.end = ChildEnd(folder / "cache", {"a": data, "b": data[::-1]})
        self.end.parents.count = self.end.parents.meter.count
        self._data = data
        self._sent = 0

    async def open(self) -> None:
        await self.end.open()
        self.end.fetch(0)
        await asyncio.sleep(0)

    def drip(self, seconds: float, rate: int, *, backlog: int = 0, more: int = 0) -> None:
        """``rate`` bytes a second come, and heartbeats that claim ``more`` of the object than was sent."""
        for _ in range(round(10 * seconds)):
            self.now += 0.1
            for start in range(self._sent, self._sent + rate // 10, 4096):
                part = self._data[start : min(start + 4096, self._sent + rate // 10)]
                self.end.hear(frames.data_head(1, start, len(part)) + part)
            self._sent += rate // 10
            self.end.hear(frames.heartbeat(backlog, rate, rate, [(1, self._sent + more)]))
            self.end.parents.look(self.now, forgive=False)
            self.end.link.tick(self.now, forgive=False)


@pytest_asyncio.fixture
async def dripping(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dripping]:
    parent = Dripping(folder, blob(16 << 20), monkeypatch)
    await parent.open()
    yield parent
    await parent.end.close()


far_behind = pytest.mark.parametrize(("place", "filling"), [(0, 0.0), (1000, 20.0)])


@pytest.mark.parametrize(("more", "why"), [(0, "starved"), (1 << 20, "slow")])
async def test_what_comes_is_believed_and_not_what_a_slow_parent_says(dripping: Dripping, more: int, why: str) -> None:
    dripping.drip(2.0, 2_048_000)
    dripping.drip(2.0, 204_800, backlog=more, more=more)
    assert dripping.end.blames == [], "a moment is no proof"
    dripping.drip(4.0, 204_800, backlog=more, more=more)
    sha256 = dripping.end.items[0].entry.sha256 if why == "starved" else None
    assert set(dripping.end.blames) == {(why, sha256)}
    assert 2 <= len(dripping.end.blames) <= 4


async def test_who_never_gave_more_than_a_trickle_is_named_too(dripping: Dripping) -> None:
    dripping.drip(5.0, 81_920)
    assert {why for why, _ in dripping.end.blames} == {"starved"}


@far_behind
async def test_who_stands_far_behind_waits_longer_for_the_first_byte_and_not_for_others(
    dripping: Dripping, place: int, filling: float
) -> None:
    dripping.end.parents.place = place
    dripping.drip(2.5 + filling, 0)
    assert dripping.end.blames == []
    dripping.drip(1.0, 0)
    assert {why for why, _ in dripping.end.blames} == {"starved"}
    dripping.drip(1.0, 2_048_000)
    dripping.end.blames.clear()
    dripping.drip(1.5, 0)
    assert dripping.end.blames == []
    dripping.drip(2.0, 0)
    assert {why for why, _ in dripping.end.blames} == {"starved"}


@far_behind
async def test_a_parent_that_never_sends_anything_is_left_at_last(
    dripping: Dripping, place: int, filling: float
) -> None:
    dripping.end.parents.place = place
    dripping.drip(29.5 + filling, 0)
    assert {why for why, _ in dripping.end.blames} == {"starved"}
    dripping.drip(1.0, 0)
    assert {why for why, _ in dripping.end.blames} == {"starved", "stalled"}


async def test_a_pace_that_is_kept_and_a_pause_of_this_host_itself_are_nobodys_fault(dripping: Dripping) -> None:
    dripping.drip(3.0, 2_048_000)
    dripping.drip(8.0, 819_200)
    dripping.now += 60
    dripping.end.parents.look(dripping.now, forgive=True)
    dripping.end.link.tick(dripping.now, forgive=True)
    dripping.drip(2.0, 204_800)
    assert dripping.end.blames == []


# --- children that cost a parent its memory, its processor, or its room ---


def rewind_clock(child: Child) -> None:
    """It is time for a heartbeat."""
    assert child._timer is not None
    child._timer.cancel()
    child._beat()


@pytest.mark.parametrize("kind", ["get and cancel", "hurry", "bogus"])
async def test_a_parent_reads_a_bounded_number_of_frames_between_two_heartbeats(folder: Path, kind: str) -> None:
    end = ParentEnd(folder, {"a": BIG})
    end.arrive(0, len(BIG))
    wire, sha256 = end.connect(), end.items[0].entry.sha256
    child = end.children[0]
    if kind == "get and cancel":
        flood = b"".join(frames.get(id, sha256, 0) + frames.bare(frames.CANCEL, id) for id in range(1, 4000))
    elif kind == "hurry":
        flood = frames.get(1, sha256, 0) + frames.bare(frames.HURRY, 1) * 8000
    else:
        flood = b"".join(frames.get(id, os.urandom(32).hex(), 0) for id in range(1, 8000))
    child.data_received(flood)
    assert (child._frames, wire.is_reading) == (children.FRAMES, False)
    for _ in range(len(flood) // 12 // children.FRAMES + 2):
        rewind_clock(child)
    assert (bytes(child._data), wire.is_reading) == (b"", True)
    if kind == "bogus":
        assert [head.id for head, _ in split(bytes(wire.written))] == list(range(1, 8000))
    await end.close()


async def test_a_child_is_heard_however_much_waits_for_it(folder: Path) -> None:
    end = ParentEnd(folder, {"a": BIG, "b": BIG[::-1]})
    for place in range(2):
        end.arrive(place, len(BIG))
    wire = end.connect()
    wire.is_stuck = True
    first, second = (item.entry.sha256 for item in end.items)
    child = end.children[0]
    child.data_received(frames.get(1, first, 0) + frames.get(2, second, 0))
    for _ in range(3):
        # It takes less than there is: a child far behind its parent, which may be given another one at any time.
        wire.take(is_all=False)
        assert (child._is_paused, wire.is_reading) == (True, True)
    child.data_received(frames.bare(frames.CANCEL, 1))
    before = len(wire.written)
    wire.take()
    sent = [head.id for head, _ in split(bytes(wire.written[before:])) if head.kind == frames.DATA]
    assert set(sent) == {2}
    await end.close()


async def test_a_child_that_takes_nothing_is_not_heard_without_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "FRAMES", 1 << 30)
    end = ParentEnd(folder, {"a": BIG})
    end.arrive(0, len(BIG))
    wire = end.connect()
    wire.is_stuck = True
    child = end.children[0]
    child.data_received(frames.get(1, end.items[0].entry.sha256, 0))
    bogus = bytes(32).hex()
    child.data_received(b"".join(frames.get(id, bogus, 0) for id in range(2, 20_000)))
    assert not wire.is_reading
    assert wire.get_write_buffer_size() <= children.CROWDED + 100
    wire.take()
    assert (bytes(child._data), wire.is_reading) == (b"", True)
    await end.close()


async def test_what_a_child_asks_for_again_and_again_is_remembered_once(folder: Path) -> None:
    end = ParentEnd(folder, {"a": BIG})
    end.arrive(0, len(BIG))
    item = end.items[0]
    item.take(0, len(BIG))
    end.connect()
    child = end.children[0]
    for id in range(1, 2001):
        child.data_received(frames.get(id, item.entry.sha256, 0) + frames.bare(frames.CANCEL, id))
        child._frames = 0
    assert len(end.downloader._delivered) == 1
    await end.close()


async def test_a_block_is_told_once_a_connection_however_many_requests_wait_for_it(folder: Path) -> None:
    data = blob(64 * BLOCK)
    end = ParentEnd(folder, {"a": data})
    told: list[Item] = []
    for place in range(4):
        end.connect()
        child = end.children[place]
        changed = child._changed
        child._changed = lambda item, changed=changed: (told.append(item), changed(item))  # type: ignore[method-assign,misc]
        child.data_received(
            b"".join(frames.get(id, end.items[0].entry.sha256, id % 64 * BLOCK) for id in range(1, 257))
        )
        assert len(child._open) == 256
    end.arrive(0, BLOCK)
    assert len(told) == 4
    assert all(wire.get_write_buffer_size() <= 524_288 for wire in end.wires)
    await end.close()


async def test_hurries_that_come_together_are_looked_at_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = ParentEnd(folder, MANY)
    advanced = []
    monkeypatch.setattr(end.downloader, "advance", lambda: advanced.append(1))
    end.connect()
    gets = b"".join(
        frames.get(id, item.entry.sha256, 0) + frames.bare(frames.HURRY, id)
        for id, item in enumerate(end.items[:256], start=1)
    )
    end.children[0].data_received(gets)
    await asyncio.sleep(0)
    assert sum(item.is_hurried for item in end.items) == 256
    assert len(advanced) == 1
    await end.close()


async def test_a_child_has_an_object_a_few_times_and_is_then_sent_elsewhere(folder: Path) -> None:
    end = ParentEnd(folder, {"a": BIG, "b": blob(PIECE)})
    end.arrive(0, len(BIG))
    end.arrive(1, PIECE)
    most = children.QUOTA_TIMES * len(BIG) + children.QUOTA_BYTES
    wires = []
    for _ in range(40):
        wires.append(end.connect())
        end.children[-1].data_received(frames.get(1, end.items[0].entry.sha256, 0))
    had = sum(len(payload) - 8 for wire in wires for head, payload in split(bytes(wire.written)) if head.kind == 16)
    assert most - len(BIG) < had <= most
    assert split(bytes(wires[-1].written))[0] == ((frames.REFUSE, 1, 1), bytes((frames.BUSY,)))
    assert set(end.spent) == {end.items[0]}
    end.children[-1].data_received(frames.get(2, end.items[1].entry.sha256, 0))
    assert split(bytes(wires[-1].written))[-1][0].kind == frames.END, "other objects are not meant"
    await end.close()


async def test_a_child_that_comes_back_a_hundred_times_where_it_was_gets_to_the_end(folder: Path) -> None:
    """Each time it lost what was on its way: a frame."""
    end = ParentEnd(folder, {"a": BIG})
    end.arrive(0, len(BIG))
    for number in range(100):
        wire, child = end.connect(), end.children[-1]
        wire.high, wire.is_stuck = 4096, True
        offset = number * len(BIG) // 100 // BLOCK * BLOCK
        child.data_received(frames.get(1, end.items[0].entry.sha256, offset))
        wire.abort()
        await asyncio.sleep(0)
    assert end.spent == []
    await end.close()


async def test_a_child_that_never_reads_makes_a_parent_keep_little(folder: Path) -> None:
    end = ParentEnd(folder, {"a": BIG})
    end.arrive(0, len(BIG))
    wire, child = end.connect(), end.children[0]
    wire.is_stuck = True
    for id in range(1, 4000):
        if wire.is_reading:
            child.data_received(frames.get(id, end.items[0].entry.sha256, 0))
    for _ in range(100):
        rewind_clock(child)
    assert len(wire.written) <= 2 * 65536 + frames.MAXIMUM_HEARTBEAT * 100
    assert wire.get_write_buffer_size() <= 524_288
    await end.close()


async def test_what_children_fetch_keeps_no_room_from_the_installer_and_keeps_it_from_the_prefetch(
    folder: Path,
) -> None:
    size = 20 * BLOCK
    end = ParentEnd(folder, {f"p{number}": blob(size, number) for number in range(2)})
    for number, item in enumerate(end.items):
        end.connect().is_stuck = True
        end.arrive(number, size)
        item.take(0, size)
        end.downloader.taken(item)
        end.children[number].data_received(frames.get(1, item.entry.sha256, 0))
    assert [item.is_watched for item in end.items] == [True, True]
    assert not end.downloader._evict(is_urgent=False)
    assert end.downloader._evict(is_urgent=True)
    assert [item.state for item in end.items] == [State.ABSENT, State.COMPLETE]
    for wire in end.wires:
        wire.take()
    last = [split(bytes(wire.written))[-1] for wire in end.wires]
    assert [(head.kind, payload) for head, payload in last] == [(frames.REFUSE, b"\1"), (frames.END, b"")]
    await end.close()


# --- real agents in a chain ---


async def test_a_host_that_alters_a_block_while_it_relays_is_named_by_its_child_and_nobody_else_is(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = ["1" * 16, "2" * 16, "3" * 16]
    read = os.pread
    liar = folder / "1"
    flipped: list[int] = []

    def alter(file: int, size: int, offset: int) -> bytes:
        data = read(file, size, offset)
        if size < 3 * BLOCK or liar not in Path(f"/proc/self/fd/{file}").readlink().parents:
            return data
        flipped.append(offset)
        return data[: 2 * BLOCK] + bytes((data[2 * BLOCK] ^ 1,)) + data[2 * BLOCK + 1 :]

    monkeypatch.setattr(os, "pread", alter)
    async with contextlib.AsyncExitStack() as stack:
        rigs = []
        for order in orders:
            place = folder / order[0]
            place.mkdir()
            membership = tracker.membership(order, f"compute-0-{order[0]}")
            rigs.append(await stack.enter_async_context(Rig(frontend, place, membership=membership, attempt=ATTEMPT)))
        names = [peer_id(order, ATTEMPT) for order in orders]
        ports = [rig.feed.relay.route.port for rig in rigs if rig.feed.relay is not None]
        tracker.parents = {name: (order, port) for name, order, port in zip(names, orders, ports)}
        tracker.line = dict(zip(orders, ["frontend", *names]))
        await asyncio.gather(*(rig.loaded() for rig in rigs))
        for rig in rigs:
            for path, data in frontend.generation.objects.items():
                assert (await rig.get("/" + path)).body == data
    assert flipped
    accused = {(child, blame[0]) for child, blame in zip(tracker.accusers, tracker.blames) if blame[1] == "corrupt"}
    assert accused == {(orders[1], names[0])}
