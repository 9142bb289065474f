"""Whatever a peer sends, in whatever order and however cut: no byte that is released is other than the manifest's;
every request ends; nothing is left behind; who broke the protocol is named, and nobody else is.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Callable, Optional

from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent import frames
from avalanche.agent.cache import Place, Slot
from avalanche.agent.item import Item, State
from avalanche.agent.transfer import DiskFull, Transfer
from avalanche.errors import VerificationFailed
from avalanche.manifest import BLOCK, PIECE, Entry, hash_stream
from tests.agent.hostile import ANSWER, ChildEnd, ParentEnd, Wire, blob, leaves_of, split

OBJECTS = {"a": blob(2 * PIECE + 3 * BLOCK + 5), "b": blob(5 * BLOCK), "c": blob(77), "d": blob(PIECE)}
DATA = list(OBJECTS.values())


def in_folder(work: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix="av-") as folder:
        work(Path(folder))


def in_loop(work: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    """In a loop of its own; the current one of the thread, if there is any, stays what it is."""
    loop = asyncio.new_event_loop()
    try:
        in_folder(lambda folder: loop.run_until_complete(work(folder)))
    finally:
        loop.close()


def flipped(data: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in data[:1]) + data[1:]


def cutter(seed: int) -> Callable[[], int]:
    """How many bytes come at once: heads and hashes are cut anywhere."""
    chance = random.Random(seed)
    return lambda: chance.choice((1, 7, 12, 13, 20, 21, 600, BLOCK - 1, 1 << 18, 1 << 18))


class Program:
    """A parent that sends what it should until it sends what it must not."""

    def __init__(self, end: ChildEnd) -> None:
        self.end = end
        self.sent = [0] * len(DATA)
        self.proven = [-1] * len(DATA)
        self.is_over = [False] * len(DATA)
        self.is_closed = [False] * len(DATA)

    def good(self, number: int, blocks: int, proves: bool) -> bytes:
        """The next blocks of an object; as the page says, their hashes go before a piece's first one."""
        data, start, id = DATA[number], self.sent[number], number + 1
        if self.is_over[number]:
            return frames.bare(frames.END, id)
        if start == len(data):
            self.is_over[number] = self.is_closed[number] = True
            return frames.bare(frames.END, id)
        piece = start // PIECE
        out = b""
        if proves and start % PIECE == 0 and len(leaves_of(data, piece)) > 32:
            out = frames.leaves(id, start, leaves_of(data, piece))
        end = self.sent[number] = min(start + blocks * BLOCK, len(data), (piece + 1) * PIECE)
        return out + frames.data_head(id, start, end - start) + data[start:end]

    def bad(self, number: int, kind: int) -> bytes:
        """A violation about an object that is open, or any other."""
        data, start, id = DATA[number], self.sent[number], number + 1
        rest = data[start : (start // PIECE + 1) * PIECE]
        if self.is_closed[number] or not rest:
            kind = kind % 3
        violations = [
            b"\x63" + bytes(11),
            frames.bare(frames.END, 1000),
            b"\x12\x00\x00\x01" + bytes(8),
            frames.data_head(id, start, len(rest)) + flipped(rest),
            frames.data_head(id, start + 1, 1) + b"x",
            frames.data_head(id, start, len(rest) + 1) + rest + b"x",
            frames.leaves(id, start // PIECE * PIECE + PIECE, bytes(32)),
            frames.leaves(id, start // PIECE * PIECE, bytes(96)) * 2,
            frames.bare(frames.END, id),
            frames.get(id, "00" * 32, 0),
            frames.heartbeat(0, 0, 0, [])[:-1] + b"\0" + frames.bare(frames.HEARTBEAT, 5),
        ]
        return violations[kind % len(violations)]


seeds = st.integers(0, 99)
goods = st.tuples(st.just("good"), st.integers(0, 3), st.integers(1, 16), st.booleans())
innocents = goods | st.tuples(st.sampled_from(["beat", "cancel", "refuse"]), st.integers(0, 3))


@given(
    steps=st.lists(innocents, max_size=25),
    bad=st.none() | st.tuples(st.integers(0, 3), st.integers(0, 10)),
    seed=seeds,
)
def test_a_parent_is_called_corrupt_for_what_it_sends_and_for_nothing_else(
    steps: list[tuple[Any, ...]], bad: Optional[tuple[int, int]], seed: int
) -> None:
    async def play(folder: Path) -> None:
        cut = cutter(seed)
        end = ChildEnd(folder / "cache", OBJECTS)
        await end.open()
        for number in range(len(DATA)):
            end.fetch(number)
        await asyncio.sleep(0)
        program = Program(end)
        for kind, number, *more in steps:
            if kind == "good":
                end.hear(program.good(number, *more), cut)
            elif kind == "beat":
                rows = [(id, 1 << 40) for id in range(250)]
                end.hear(frames.heartbeat(1, 2, 3, rows), cut)
            elif kind == "refuse" and not program.is_closed[number]:
                end.hear(frames.refuse(number + 1, frames.BUSY), cut)
                program.is_over[number] = program.is_closed[number] = True
            elif kind == "cancel":
                # What is on its way for it comes nevertheless, and is no fault.
                end.tasks[number].cancel()
                program.is_closed[number] = True
            await asyncio.sleep(0)
            assert not end.link.is_closed
            assert {why for why, _ in end.blames} <= {"refused"}
            end.judge()
        if bad is not None:
            end.hear(program.bad(*bad), cut)
            assert end.link.is_closed
            why, sha256 = end.blames[-1]
            assert why == "corrupt"
            assert sha256 in {item.entry.sha256 for item in end.items}
        await end.close()

    in_loop(play)


def recording() -> bytes:
    """All a good parent sends for the four objects, turn by turn."""
    out, open_ = b"", {1: 0, 2: 0, 3: 0, 4: 0}
    while open_:
        for id, start in list(open_.items()):
            data = DATA[id - 1]
            if start == len(data):
                out += frames.bare(frames.END, id)
                del open_[id]
                continue
            if start % PIECE == 0 and len(data) > BLOCK:
                out += frames.leaves(id, start, leaves_of(data, start // PIECE))
            stop = open_[id] = min(start + 4 * BLOCK, len(data), (start // PIECE + 1) * PIECE)
            out += frames.data_head(id, start, stop - start) + data[start:stop]
        out += frames.heartbeat(5, 5, 5, [(id, 0) for id in open_])
    return out


RECORDING = recording()
mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "drop", "double", "cut", "insert"]),
        st.integers(0, len(RECORDING) - 1),
        st.integers(1, 70_000),
    ),
    min_size=1,
    max_size=4,
)


def mutated(changes: list[tuple[str, int, int]]) -> bytes:
    out = bytearray(RECORDING)
    for kind, anywhere, size in changes:
        place = min(anywhere, len(out) - 1)
        if kind == "flip":
            out[place] ^= 1 << size % 8
        elif kind == "drop":
            del out[place : place + size]
        elif kind == "double":
            out[place:place] = out[place : place + size]
        elif kind == "insert":
            out[place:place] = blob(size % 100 + 1, place)
        else:
            del out[place + 1 :]
        out = out or bytearray(1)
    return bytes(out)


@given(changes=mutations, seed=seeds, is_early=st.booleans())
def test_no_stream_of_bytes_releases_a_wrong_one_or_keeps_a_request(
    changes: list[tuple[str, int, int]], seed: int, is_early: bool
) -> None:
    async def play(folder: Path) -> None:
        cut = cutter(seed)
        end = ChildEnd(folder / "cache", OBJECTS)
        stream = mutated(changes)
        await end.open(stream[:2000] if is_early else b"")
        is_gone = end.link.is_closed
        for number in range(len(DATA)):
            end.fetch(number, watched=number % 2 == 0)
        await asyncio.sleep(0)
        end.hear(stream, cut)
        end.judge()
        if is_gone:  # before anything was asked for
            assert end.blames == [("corrupt", end.items[0].entry.sha256)]
        await end.close()
        done = sum(task.exception() is None for task in end.tasks)
        assert done == len(DATA) or end.blames

    in_loop(play)


@given(data=st.binary(max_size=300) | st.binary(max_size=20).map(lambda tail: ANSWER + tail), seed=seeds)
def test_no_answer_to_the_opening_leaves_it_waiting(data: bytes, seed: int) -> None:
    async def play(folder: Path) -> None:
        cut = cutter(seed)
        end = ChildEnd(folder / "cache", OBJECTS)
        end.wire.connect(end.link)
        opening = asyncio.ensure_future(end.link.open(end.link._parent.row))
        await asyncio.sleep(0)
        end.hear(data, cut)
        end.wire.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        assert opening.done()
        opening.exception()
        await end.close()

    in_loop(play)


# --- the parent's end ---

offsets = st.integers(0, 40).map(lambda block: block * BLOCK) | st.sampled_from([1, PIECE + 1, 1 << 63])
child_steps = st.one_of(
    st.tuples(st.just("get"), st.integers(0, 4), offsets),
    st.tuples(st.sampled_from(["cancel", "hurry"]), st.integers(1, 12), st.just(0)),
    st.tuples(st.just("arrive"), st.integers(0, 3), st.integers(1, 40).map(lambda blocks: blocks * BLOCK)),
    st.tuples(st.just("give up"), st.integers(0, 3), st.just(0)),
    st.tuples(st.sampled_from(["stick", "take", "beat"]), st.just(0), st.just(0)),
)
violations = st.sampled_from(
    [
        b"\x63" + bytes(11),
        frames.get(0, "ab" * 32, 0),
        frames.bare(frames.HURRY, 1 << 31),
        frames.data_head(1, 0, 1) + b"x",
        b"\x01\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff",
        b"\x02\x01" + bytes(10),
    ]
)


def answers(wire: Wire, asked: dict[int, tuple[int, int]]) -> None:
    """What a parent sent is what its page allows: in order, without gaps, proven before, and right."""
    places = {id: offset for id, (_, offset) in asked.items()}
    proven: dict[int, int] = {}
    ended: set[int] = set()
    for head, payload in split(bytes(wire.written)):
        assert head.id not in ended
        if head.kind == frames.HEARTBEAT:
            assert len(frames.read_heartbeat(memoryview(payload)).held) <= frames.MAXIMUM_OPEN
            continue
        if head.kind == frames.REFUSE:
            ended.add(head.id)
            continue
        number, data = asked[head.id][0], DATA[asked[head.id][0]]
        place = places[head.id]
        offset = int.from_bytes(payload[:8], "big") if payload else 0
        if head.kind == frames.LEAVES:
            assert (offset, payload[8:]) == (place - place % PIECE, leaves_of(data, place // PIECE))
            assert proven.get(head.id) != offset
            proven[head.id] = offset
        elif head.kind == frames.DATA:
            assert (offset, payload[8:]) == (place, data[place : place + len(payload) - 8])
            assert place // PIECE == (place + len(payload) - 9) // PIECE
            assert proven.get(head.id) == place - place % PIECE or len(leaves_of(data, place // PIECE)) == 32
            places[head.id] = place + len(payload) - 8
        else:
            assert head.kind == frames.END
            assert places[head.id] == len(DATA[number])
            ended.add(head.id)


@given(
    steps=st.lists(st.tuples(st.integers(0, 1), child_steps), max_size=40),
    bad=st.none() | violations,
    cut=st.sampled_from([1, 5, 12, 52, 1 << 18]),
)
def test_a_parent_sends_only_what_is_proven_and_keeps_nothing_of_a_child_that_is_gone(
    steps: list[tuple[int, tuple[str, int, int]]], bad: Optional[bytes], cut: int
) -> None:
    async def play(folder: Path) -> None:
        end = ParentEnd(folder, OBJECTS)
        asked: list[dict[int, tuple[int, int]]] = [{}, {}]
        wires = [end.connect(), end.connect()]

        def say(place: int, data: bytes) -> None:
            for start in range(0, len(data), cut):
                end.children[place].data_received(data[start : start + cut])

        for place, (kind, number, more) in steps:
            wire, last = wires[place], len(asked[place])
            if kind == "get":
                sha256 = end.items[number].entry.sha256 if number < len(DATA) else "ab" * 32
                asked[place][last + 1] = (number, more)
                say(place, frames.get(last + 1, sha256, more))
            elif kind in ("cancel", "hurry") and number <= last:
                say(place, frames.bare(frames.CANCEL if kind == "cancel" else frames.HURRY, number))
            elif kind == "arrive" and end.items[number].state is not State.COMPLETE:
                end.arrive(number, more)
            elif kind == "give up":
                end.give_up(number)
            elif kind == "stick":
                wire.is_stuck = True
            elif kind == "take":
                wire.take()
            elif kind == "beat":
                end.children[place]._timer.cancel()  # type: ignore[union-attr]
                end.children[place]._beat()
            assert not wire.is_closing()
            assert wire.get_write_buffer_size() <= 524_288
        for wire, ids in zip(wires, asked):
            answers(wire, ids)
        if bad is not None:
            wires[0].take()
            say(0, bad + bytes(64))
            assert wires[0].is_closing()
            assert not wires[1].is_closing()
        await end.close()

    in_loop(play)


# --- one object on its way, whatever happens to it ---


class Tight(Slot):
    """A file on a disk that may be full, in the middle of a write too."""

    is_full = False

    def write(self, data: memoryview, start: int) -> None:
        if self.is_full:
            super().write(data[: len(data) // 3], start)
            raise OSError(28, "No space left on device")
        super().write(data, start)


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("blocks"), st.integers(1, 20)),
        st.tuples(st.just("bytes"), st.integers(1, 40_000)),
        st.tuples(
            st.sampled_from(
                ["leaves", "false leaves", "bad block", "move", "full", "room", "begin", "evict", "watch", "unwatch"]
            ),
            st.just(0),
        ),
    ),
    max_size=60,
)


@given(size=st.sampled_from([1, BLOCK, BLOCK + 1, PIECE, PIECE + 1, 2 * PIECE + 5 * BLOCK + 9]), steps=happenings)
def test_what_is_written_is_the_object_s_beginning_whatever_happens(size: int, steps: list[tuple[str, int]]) -> None:
    in_folder(lambda folder: _happen(folder, blob(size), hash_stream([blob(size)]).sha256, steps))


@given(steps=happenings)
def test_a_manifest_that_contradicts_itself_releases_no_last_piece(steps: list[tuple[str, int]]) -> None:
    in_folder(lambda folder: _happen(folder, blob(PIECE + 3 * BLOCK + 9), "ab" * 32, steps))


def _happen(folder: Path, data: bytes, sha256: str, steps: list[tuple[str, int]]) -> None:
    identity = hash_stream([data])
    entry = Entry("x", len(data), sha256, identity.root, identity.pieces)
    is_right = sha256 == identity.sha256
    place, item, full = Place(folder / "cache", limit=None), Item(entry), False
    count, watcher = 0, (lambda item: None)

    def take_off() -> Transfer:
        nonlocal count
        count += 1
        item.slot, item.state = Tight(place, f"{count:06d}-x.object", len(data)), State.ARRIVING
        return Transfer(item, item.slot, rate=lambda: 0, on_verified=lambda size: None, clock=lambda: 0.0)

    transfer = take_off()
    for kind, size in [*steps, ("room", 0), ("begin", 0), ("move", 0), ("bytes", len(data))]:
        slot, here = item.slot, transfer.received_bytes
        assert isinstance(slot, Tight)
        try:
            if kind == "begin":
                transfer.begin()
            elif kind in ("full", "room"):
                slot.is_full = full = kind == "full"
            elif kind == "evict":
                item.forget()
                transfer = take_off()
            elif kind == "watch":
                item.watch(watcher)
            elif kind == "unwatch" and item.is_watched:
                item.unwatch(watcher)
            elif kind == "move":
                transfer.rewind()
                assert transfer.received_bytes % BLOCK == 0 or transfer.left == 0
            else:
                # As `Downloader._run`: what could not be written before is, first of all.
                transfer.begin()
                if kind == "leaves" and here % PIECE == 0:
                    transfer.trust(leaves_of(data, here // PIECE))
                elif kind == "false leaves" and here % PIECE == 0 and transfer.left:
                    proven = len(item.leaves)
                    transfer.trust(bytes(len(leaves_of(data, here // PIECE))))
                    assert proven > here // BLOCK * 32  # they were known, and are not looked at
                elif kind == "bad block" and transfer.left:
                    transfer.put(memoryview(flipped(data[here : here + BLOCK])))
                elif kind in ("blocks", "bytes"):
                    transfer.put(memoryview(data)[here : here + size * (BLOCK if kind == "blocks" else 1)])
        except DiskFull:
            assert slot.is_full
        except VerificationFailed:
            assert kind in ("bad block", "false leaves", "blocks", "bytes")
        slot = item.slot
        assert isinstance(slot, Tight)
        slot.is_full = full
        assert item.verified <= item.checked <= transfer._verifier.received or not is_right
        assert item.verified % PIECE == 0 or item.verified == len(data)
        assert item.checked % BLOCK == 0 or item.checked == len(data)
        assert place.written == slot._written >= item.checked
        assert place.used == len(data)
        assert (
            bytes(item.leaves)
            == b"".join(leaves_of(data, piece) for piece in range(len(item.leaves) // 32 * BLOCK // PIECE + 2))[
                : len(item.leaves)
            ]
        )
        assert len(item.leaves) >= item.checked // BLOCK * 32
        with slot.open() as file:
            assert file.read(item.checked) == data[: item.checked]
    assert transfer.is_complete is is_right
    assert is_right or item.verified == (len(data) - 1) // PIECE * PIECE
    item.forget()
    assert (place.used, place.written) == (0, 0)
    place.close()
