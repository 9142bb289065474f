"""Parents that lie, stall, trickle and vanish: the child gets every byte, right, and says who it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from avalanche.agent import frames
from avalanche.manifest import BLOCK
from tests.agent.faulty import ORDER, FaultyFrontend
from tests.agent.rig import Rig, until
from tests.agent.swarm import PARENT_ORDER, Asked, Behaviour, HostileParent, StubTracker, prove, send, silent


def objects_of(frontend: FaultyFrontend) -> dict[str, bytes]:
    return {entry.sha256: frontend.generation.objects[path] for path, entry in frontend.generation.entries.items()}


async def honest(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    send(writer, asked, data, asked.offset, len(data))
    writer.write(frames.bare(frames.END, asked.id))


async def garbage(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xa5" * 5000)


async def wrong_bytes(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    size = len(parent.objects[asked.sha256])
    send(writer, asked, bytes(size), asked.offset, size)


async def another_object(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    size = len(parent.objects[asked.sha256])
    other = next(data for sha256, data in parent.objects.items() if sha256 != asked.sha256)
    send(writer, asked, (other * size)[:size], asked.offset, size)


async def stall_at_the_end(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    parent.backlog = 100_000
    data = parent.objects[asked.sha256]
    send(writer, asked, data, asked.offset, max(asked.offset, len(data) * 99 // 100))


async def close_after_a_piece(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    send(writer, asked, data, asked.offset, min(asked.offset + 262144, len(data)))
    await writer.drain()
    writer.close()


async def endless(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    send(writer, asked, data, asked.offset, len(data))
    while not writer.transport.is_closing():
        writer.write(frames.data_head(asked.id, len(data), 1000) + bytes(1000))
        await writer.drain()
        await asyncio.sleep(0)


async def wrong_length(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(frames.data_head(asked.id, asked.offset, 1 << 30) + bytes(100_000))


async def wrong_offset(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(frames.data_head(asked.id, asked.offset + 1, 100) + bytes(100))


async def end_at_once(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(frames.bare(frames.END, asked.id))


async def refuse(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(frames.refuse(asked.id, frames.BUSY))


async def an_unknown_request(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(frames.bare(frames.END, asked.id + 1000))


async def false_leaves(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    prove(writer, asked, bytes(len(parent.objects[asked.sha256])), 0)


async def leaves_of_the_next_piece(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    prove(writer, asked, parent.objects[asked.sha256] + bytes(1 << 19), 1)


async def late_leaves(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    if len(data) <= 2 * BLOCK:
        await honest(parent, asked, writer)
        return
    send(writer, asked, data, 0, 5)
    prove(writer, asked, data, 0)


async def a_bad_block_after_good_leaves(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    data = parent.objects[asked.sha256]
    if len(data) <= 5 * BLOCK:
        await honest(parent, asked, writer)
        return
    prove(writer, asked, data, 0)
    send(writer, asked, data[: 3 * BLOCK] + bytes(BLOCK), 0, 4 * BLOCK)


A_BYTE_EVERY = 1.0
"""Seconds: never silent for as long as a dead parent is."""


async def trickle(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
    parent.backlog = 100_000
    data = parent.objects[asked.sha256]
    for place in range(asked.offset, len(data)):
        send(writer, asked, data, place, place + 1)
        await asyncio.sleep(A_BYTE_EVERY)


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (garbage, "corrupt"),
        (wrong_bytes, "corrupt"),
        (another_object, "corrupt"),
        (stall_at_the_end, "stalled"),
        (close_after_a_piece, "dead"),
        (endless, "corrupt"),
        (wrong_length, "corrupt"),
        (wrong_offset, "corrupt"),
        (end_at_once, "corrupt"),
        (an_unknown_request, "corrupt"),
        (false_leaves, "corrupt"),
        (leaves_of_the_next_piece, "corrupt"),
        (late_leaves, "corrupt"),
        (a_bad_block_after_good_leaves, "corrupt"),
        (refuse, "refused"),
        (trickle, "stalled"),
    ],
)
async def test_a_bad_parent_is_left_and_named(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, behave: Behaviour, why: str
) -> None:
    parent = HostileParent(objects_of(frontend), behave)
    name = tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
        await until(lambda: tracker.blames)
    await parent.stop()
    assert tracker.blames[0][:2] == (name, why)
    assert parent.asked


async def test_a_good_parent_gives_everything(frontend: FaultyFrontend, folder: Path, tracker: StubTracker) -> None:
    parent = HostileParent(objects_of(frontend), honest)
    tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        figures = rig.downloader.figures
        total = frontend.generation.manifest.total_bytes
        assert (figures.bytes_from_peers, figures.bytes_from_frontend) == (total, 0)
    await parent.stop()
    assert (parent.connections, tracker.blames) == (1, [])


@pytest.mark.parametrize(("greets", "beats"), [(False, False), (True, False)])
async def test_a_parent_that_says_nothing_is_dead_within_two_seconds(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, greets: bool, beats: bool
) -> None:
    parent = HostileParent(objects_of(frontend), silent, greets=greets, beats=beats)
    name = tracker.add_parent(PARENT_ORDER, await parent.start())
    tenths = 0

    async def count() -> None:
        nonlocal tenths
        while True:
            await asyncio.sleep(0.1)
            tenths += 1

    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        # Seconds as this process has them: when it stands still, neither it nor the parent's silence goes on.
        counting = asyncio.ensure_future(count())
        rig.load()
        await until(lambda: tracker.blames)
        counting.cancel()
        assert tenths < 20
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    await parent.stop()
    assert tracker.blames == [(name, "dead")]


async def test_a_parent_that_has_no_more_than_its_child_is_called_starved_once_a_second(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    parent = HostileParent(objects_of(frontend), silent)
    name = tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: len(tracker.blames) == 2)
        oldest = frontend.generation.manifest.entries[0].sha256
        assert tracker.blames == [(name, "starved", oldest)] * 2
        assert parent.connections == 1
        # It waits until the tracker decides.
        tracker.moves = [(entry.sha256, "frontend") for entry in frontend.generation.manifest.entries]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    await parent.stop()


async def test_nobody_listens_where_the_tracker_says(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    name = tracker.add_parent(PARENT_ORDER, 1)
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
    assert tracker.blames[0] == (name, "dead")


async def test_a_move_resumes_at_the_last_proven_block(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async def half(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = parent.objects[asked.sha256]
        if asked.sha256 != big.sha256:
            await honest(parent, asked, writer)
            return
        send(writer, asked, data, 0, 262144)
        prove(writer, asked, data, 1)
        send(writer, asked, data, 262144, 262144 + 3 * BLOCK + 77)

    big = frontend.generation.entries["Packages/p/p6+x-1048576.rpm"]
    parent, other = HostileParent(objects_of(frontend), half), HostileParent(objects_of(frontend), honest)
    tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        expected = frontend.generation.manifest.total_bytes - big.size + 262144 + 3 * BLOCK + 77
        await until(lambda: rig.downloader.figures.bytes_from_peers == expected)
        second = tracker.add_parent("dd" * 8, await other.start())
        tracker.moves = [(entry.sha256, second) for entry in frontend.generation.entries.values()]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    await parent.stop()
    await other.stop()
    assert [asked.offset for asked in other.asked if asked.sha256 == big.sha256] == [262144 + 3 * BLOCK]
    assert tracker.blames == []


async def test_a_move_resumes_at_the_last_verified_piece_where_no_block_is_proven(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async def half(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = parent.objects[asked.sha256]
        send(writer, asked, data, asked.offset, len(data) // 2)

    big = frontend.generation.entries["Packages/p/p6+x-1048576.rpm"]
    parent = HostileParent(objects_of(frontend), half)
    tracker.add_parent(PARENT_ORDER, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.load()
        await until(lambda: rig.item(big.path).verified == 524288)
        tracker.moves = [(entry.sha256, "frontend") for entry in frontend.generation.entries.values()]
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
    await parent.stop()
    assert [headers.get("range") for headers in frontend.asked(big.path)] == ["bytes=524288-"]
