"""The port for other hosts: who is let in, what is served, and what children may do to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
import pytest_asyncio

from avalanche.agent import children, frames, parents, peers, swarm
from avalanche.manifest import BLOCK, PIECE
from avalanche.tokens import peer_id
from tests.agent.faulty import ORDER, FaultyFrontend
from tests.agent.rig import ATTEMPT, Answer, Rig, read_answer, until
from tests.agent.swarm import ADDRESS, Asked, HostileParent, Stream, StubTracker, prove, send, ticket_for

BIG = "Packages/p/p6+x-1048576.rpm"
TINY = "Packages/p/p0+x-1.rpm"
SMALL = "Packages/p/p9+x-4242.rpm"


@pytest_asyncio.fixture
async def rig(frontend: FaultyFrontend, folder: Path, tracker: StubTracker) -> AsyncIterator[Rig]:
    """A host that has everything."""
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        rig.run.bundle.write_bytes(b"the bundle")
        await rig.loaded()
        yield rig


def port(rig: Rig) -> int:
    assert rig.feed.relay is not None
    return rig.feed.relay.route.port


async def ask(rig: Rig, target: str, *, method: str = "GET", **headers: str) -> Answer:
    reader, writer = await asyncio.open_connection(ADDRESS, port(rig))
    try:
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        return await asyncio.wait_for(read_answer(reader, method=method), 10)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def acquainted(rig: Rig) -> None:
    """Let a host that holds its prefetch back meet the tracker: it does so with its first question."""
    assert (await rig.get("/" + TINY)).status == 200
    await until(lambda: rig.feed.relay is not None and rig.feed.relay.route.time)


async def opened(rig: Rig, ticket: Optional[str] = None, early: bytes = b"") -> Stream:
    """Open a relay connection as a child does."""
    reader, writer = await asyncio.open_connection(ADDRESS, port(rig))
    lines = ["GET /relay HTTP/1.1", "Host: x", "Connection: Upgrade", f"Upgrade: {frames.PROTOCOL}"]
    lines += [f"Authorization: Bearer {ticket or ticket_for(ORDER)}", "", ""]
    writer.write("\r\n".join(lines).encode() + early)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def next_frame(reader: asyncio.StreamReader, *, beats: bool = False) -> tuple[frames.Head, bytes]:
    while True:
        head = frames.read_head(memoryview(await asyncio.wait_for(reader.readexactly(frames.HEAD_BYTES), 10)))
        payload = await asyncio.wait_for(reader.readexactly(head.length), 10)
        if beats or head.kind != frames.HEARTBEAT:
            return head, payload


async def received(reader: asyncio.StreamReader, id: int, start: int = 0) -> bytes:
    """The bytes of a request, until its END."""
    data = b""
    while True:
        head, payload = await next_frame(reader)
        assert head.id == id
        if head.kind == frames.END:
            return data
        if head.kind == frames.LEAVES:
            assert int.from_bytes(payload[:8], "big") == (start + len(data)) // PIECE * PIECE
            continue
        assert head.kind == frames.DATA
        assert int.from_bytes(payload[:8], "big") == start + len(data)
        data += payload[8:]


async def is_closed(stream: Stream, seconds: float = 60) -> bool:
    reader, writer = stream
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), seconds)
    writer.close()
    return True


# --- who is let in ---


async def test_only_a_ticket_for_this_host_and_address_lets_in(rig: Rig) -> None:
    entry = rig.item(SMALL).entry
    good = ticket_for(ORDER)
    assert (await ask(rig, f"/object/{entry.sha256}", Authorization=f"Bearer {good}")).status == 200
    assert (await ask(rig, f"/object/{entry.sha256}?ticket={good}")).status == 200
    forged = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
    for bad in (
        forged,
        ticket_for("b" * 16),
        ticket_for(ORDER, address="10.9.9.9"),
        ticket_for(ORDER, generation="g-" + "f" * 16),
        ticket_for(ORDER, seconds=-1),
        "",
        "x" * 5000,
    ):
        assert (await ask(rig, f"/object/{entry.sha256}", Authorization=f"Bearer {bad}")).status == 403
    assert (await ask(rig, f"/object/{entry.sha256}")).status == 403


async def test_a_refusal_is_told_once_and_names_the_address(rig: Rig, frontend: FaultyFrontend) -> None:
    replayed = ticket_for(ORDER, address="127.0.0.9")
    for _ in range(3):
        assert (await ask(rig, "/relay", Authorization=f"Bearer {replayed}")).status == 403
    await rig.events.flush(10)
    told = [event["text"] for event in frontend.events if "refused" in event["text"]]
    assert told == [f"refused {ADDRESS}: the ticket is for 127.0.0.9, and came from {ADDRESS}"]


async def test_time_is_the_tracker_s(rig: Rig, tracker: StubTracker) -> None:
    assert rig.feed.relay is not None
    await tracker.stop()  # it would tell the time again
    entry = rig.item(SMALL).entry
    rig.feed.relay.route._offset = None
    answer = await ask(rig, f"/object/{entry.sha256}?ticket={ticket_for(ORDER)}")
    assert (answer.status, b"tracker" in answer.body) == (403, True)


async def test_a_child_that_is_early_waits_for_the_tracker_s_first_answer(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "FIRST_SECONDS", 60.0)
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        opening = asyncio.ensure_future(opened(rig))
        assert rig.feed.relay is not None
        heard = rig.feed.relay.route._heard
        await until(lambda: heard._waiters)
        assert not opening.done()
        await acquainted(rig)
        _, writer = await opening
        writer.close()


async def test_a_child_that_no_tracker_can_have_sent_is_refused(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "FIRST_SECONDS", 0.0)
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        answer = await ask(rig, "/relay", Authorization=f"Bearer {ticket_for(ORDER)}")
    assert (answer.status, answer.body) == (403, b"this host has not heard of its tracker yet\n")


def test_a_parent_answers_within_its_child_s_patience() -> None:
    assert swarm.FIRST_SECONDS < parents.CONNECT_SECONDS


async def test_it_listens_on_the_token_s_address_alone(rig: Rig) -> None:
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert f"0100007F:{port(rig):04X}" in listening
    assert f"00000000:{port(rig):04X}" not in listening


# --- what is served ---


async def test_nothing_but_objects_is_served(rig: Rig) -> None:
    ticket = ticket_for(ORDER)
    for target in (
        "/",
        "/etc/passwd",
        "/object/",
        f"/object/{'0' * 64}",
        f"/object/../{BIG}",
        f"/{BIG}",
        "/object/%2e%2e",
    ):
        assert (await ask(rig, f"{target}?ticket={ticket}")).status == 404, target


async def test_an_object_by_plain_http_knows_ranges(rig: Rig, frontend: FaultyFrontend) -> None:
    data, entry = frontend.generation.objects[BIG], rig.item(BIG).entry
    target = f"/object/{entry.sha256}?ticket={ticket_for(ORDER)}"
    whole = await ask(rig, target)
    assert (whole.status, whole.body, whole.headers["etag"]) == (200, data, f'"{entry.sha256}"')
    part = await ask(rig, target, Range="bytes=300000-300009")
    assert (part.status, part.body) == (206, data[300000:300010])
    assert (await ask(rig, target, Range="bytes=1048576-")).status == 416
    assert (await ask(rig, target, method="HEAD")).headers["content-length"] == "1048576"


async def test_the_bundle_is_served(rig: Rig, frontend: FaultyFrontend) -> None:
    answer = await ask(rig, f"/object/{frontend.document().bundle}?ticket={ticket_for(ORDER)}")
    assert answer.body == b"the bundle"


async def test_a_part_that_is_not_verified_is_not_served(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        gate = frontend.gate = asyncio.Event()
        rig.load()
        await until(lambda: frontend.open_objects)
        await until(lambda: tracker.lookups)
        target = f"/object/{rig.item('Packages/p/p0+x-1.rpm').entry.sha256}?ticket={ticket_for(ORDER)}"
        answer = await ask(rig, target)
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        gate.set()


async def test_a_child_gets_an_object_from_a_piece_on(rig: Rig, frontend: FaultyFrontend) -> None:
    reader, writer = await opened(rig, early=frames.get(1, rig.item(BIG).entry.sha256, 262144))
    assert await received(reader, 1, 262144) == frontend.generation.objects[BIG][262144:]
    writer.write(frames.get(2, rig.item(SMALL).entry.sha256, 0))
    assert await received(reader, 2) == frontend.generation.objects[SMALL]
    writer.close()


async def test_a_child_has_a_block_before_its_piece_is_whole_and_the_installer_does_not(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    rest = asyncio.Event()

    async def block_by_block(parent: HostileParent, asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = parent.objects[asked.sha256]
        prove(writer, asked, data, 0)
        if len(data) > PIECE:
            for start in range(0, 5 * BLOCK, BLOCK):
                send(writer, asked, data, start, start + BLOCK)
            await rest.wait()
            send(writer, asked, data, 5 * BLOCK, PIECE)
            for piece in range(1, -(-len(data) // PIECE)):
                prove(writer, asked, data, piece)
                send(writer, asked, data, piece * PIECE, min((piece + 1) * PIECE, len(data)))
        else:
            send(writer, asked, data, 0, len(data))
        writer.write(frames.bare(frames.END, asked.id))

    data = frontend.generation.objects[BIG]
    objects = {entry.sha256: frontend.generation.objects[path] for path, entry in frontend.generation.entries.items()}
    parent = HostileParent(objects, block_by_block)
    tracker.add_parent("aa" * 8, await parent.start())
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await acquainted(rig)
        reader, writer = await opened(rig, early=frames.get(1, rig.item(BIG).entry.sha256, 0))
        rig.load()
        head, payload = await next_frame(reader)
        assert (head.kind, payload[:8]) == (frames.LEAVES, bytes(8))
        assert payload[8:40] == hashlib.sha256(data[:BLOCK]).digest()
        got = b""
        while len(got) < 5 * BLOCK:
            got += (await next_frame(reader))[1][8:]
        assert got == data[: 5 * BLOCK]
        assert (rig.item(BIG).verified, rig.item(BIG).checked) == (0, 5 * BLOCK)
        rest.set()
        assert await received(reader, 1, len(got)) == data[len(got) :]
        assert (await rig.get("/" + BIG)).body == data
        writer.close()
    await parent.stop()
    assert tracker.blames == []


async def test_a_hurried_request_comes_before_others(rig: Rig) -> None:
    reader, writer = await opened(rig)
    big, small = rig.item(BIG).entry, rig.item(SMALL).entry
    hurried = frames.get(2, small.sha256, 0) + frames.bare(frames.HURRY, 2)
    writer.write(frames.get(1, big.sha256, 0) + hurried)
    order = [(await next_frame(reader))[0].id for _ in range(3)]
    assert 2 in order
    writer.close()


async def test_a_child_waits_for_what_has_not_begun(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await acquainted(rig)
        reader, writer = await opened(rig, early=frames.get(1, rig.item(BIG).entry.sha256, 0))
        head, _ = await next_frame(reader, beats=True)
        assert head.kind == frames.HEARTBEAT
        # What a child hurries is fetched although the prefetch is held.
        writer.write(frames.bare(frames.HURRY, 1))
        assert await received(reader, 1) == frontend.generation.objects[BIG]
        assert frontend.asked(SMALL) == []
        writer.close()


async def test_heartbeats_say_what_is_held(frontend: FaultyFrontend, folder: Path, tracker: StubTracker) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await acquainted(rig)
        reader, writer = await opened(rig, early=frames.get(7, rig.item(BIG).entry.sha256, 0))
        _head, payload = await next_frame(reader, beats=True)
        beat = frames.read_heartbeat(memoryview(payload))
        assert (beat.backlog, beat.egress, beat.held) == (0, 0, {7: 0})
        writer.close()


# --- what children may do ---


@pytest.mark.parametrize(
    "attack",
    [
        b"\xa5" * 1000,
        frames.bare(frames.CANCEL, 5),
        frames.get(0, "ab" * 32, 0),
        frames.get(3, "ab" * 32, 0) * 2,
        frames.data_head(1, 0, 10) + bytes(10),
        b"\x01\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff" + bytes(5000),
        frames.heartbeat(0, 0, 0, ()),
    ],
)
async def test_a_child_that_breaks_the_protocol_is_closed(rig: Rig, attack: bytes) -> None:
    reader, writer = await opened(rig)
    writer.write(attack)
    assert await is_closed((reader, writer))


async def test_ten_thousand_bogus_objects_are_refused_one_by_one(rig: Rig) -> None:
    reader, writer = await opened(rig)
    bogus = [frames.get(id, os.urandom(32).hex(), 0) for id in range(1, 10_001)]
    writer.write(b"".join(bogus))
    for id in range(1, 10_001):
        head, payload = await next_frame(reader)
        assert (head.kind, head.id, payload[0]) == (frames.REFUSE, id, frames.NOT_HERE)
    writer.write(frames.get(10_001, rig.item(SMALL).entry.sha256, 0))
    assert len(await received(reader, 10_001)) == 4242
    writer.close()


async def test_a_bad_offset_is_refused(rig: Rig) -> None:
    reader, writer = await opened(rig)
    sha256 = rig.item(BIG).entry.sha256
    for id, offset in enumerate((1, 262145, 1048576, 1 << 40), start=1):
        writer.write(frames.get(id, sha256, offset))
        head, payload = await next_frame(reader)
        assert (head.kind, payload[0]) == (frames.REFUSE, frames.BAD_OFFSET)
    writer.close()


async def test_no_more_than_256_requests_are_open(frontend: FaultyFrontend, folder: Path, tracker: StubTracker) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await acquainted(rig)
        sha256 = rig.item(BIG).entry.sha256
        reader, writer = await opened(rig)
        writer.write(b"".join(frames.get(id, sha256, 0) for id in range(1, 258)))
        head, payload = await next_frame(reader)
        assert (head.kind, head.id, payload[0]) == (frames.REFUSE, 257, frames.BUSY)
        writer.close()
        await until(lambda: not rig.item(BIG).is_watched)


async def test_a_second_connection_of_an_order_replaces_the_first(rig: Rig) -> None:
    first = await opened(rig)
    _, writer = await opened(rig)
    assert await is_closed(first)
    writer.close()


async def test_an_address_has_four_connections(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "LIMITS", replace(peers.LIMITS, head_seconds=3600.0))  # nothing else closes it
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        streams = [await asyncio.open_connection(ADDRESS, port(rig)) for _ in range(4)]
        assert await is_closed(await asyncio.open_connection(ADDRESS, port(rig)))
        for _, writer in streams:
            writer.close()


async def test_a_slow_loris_is_closed_without_an_answer(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "LIMITS", replace(peers.LIMITS, head_seconds=0.3))
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        half_open = await asyncio.open_connection(ADDRESS, port(rig))
        reader, writer = await asyncio.open_connection(ADDRESS, port(rig))
        writer.write(b"GET /relay HTTP/1.1\r\nX: ")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        assert await is_closed(half_open)


async def test_a_head_that_never_ends_is_closed(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection(ADDRESS, port(rig))
    writer.write(b"GET /relay HTTP/1.1\r\nX: " + b"x" * 20_000)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 3) == b""
    writer.close()


async def test_a_child_that_reads_nothing_is_closed_and_pins_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STUCK_SECONDS", 0.7)
    _reader, writer = await opened(rig)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    sha256 = rig.item(BIG).entry.sha256
    writer.write(b"".join(frames.get(id, sha256, 0) for id in range(1, 50)))
    await until(lambda: rig.item(BIG).is_watched)
    await asyncio.wait_for(until(lambda: not rig.item(BIG).is_watched), 10)
    writer.transport.abort()


# --- the end ---


async def test_nothing_answers_after_the_end(frontend: FaultyFrontend, folder: Path, tracker: StubTracker) -> None:
    async with Rig(frontend, folder, membership=tracker.membership(ORDER)) as rig:
        await rig.loaded()
        where = port(rig)
        child = await opened(rig)
    assert await is_closed(child)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(ADDRESS, where)
    assert tracker.lookups[-1]["state"] == "leaving"


async def test_a_chain_of_three_hosts_takes_one_copy_from_the_frontend(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker
) -> None:
    orders = ["1" * 16, "2" * 16, "3" * 16]
    async with contextlib.AsyncExitStack() as stack:
        rigs = []
        for order in orders:
            place = folder / order[0]
            place.mkdir()
            membership = tracker.membership(order, f"compute-0-{order[0]}")
            rigs.append(await stack.enter_async_context(Rig(frontend, place, membership=membership, attempt=ATTEMPT)))
        # Each is sent to the one before it.
        names = [peer_id(order, ATTEMPT) for order in orders]
        tracker.line = dict(zip(orders, ["frontend", *names]))
        tracker.parents = {name: (order, port(rig)) for name, order, rig in zip(names, orders, rigs)}
        await asyncio.gather(*(rig.loaded() for rig in rigs))
        total = frontend.generation.manifest.total_bytes
        figures = [rig.downloader.figures for rig in rigs]
        assert [each.bytes_from_frontend for each in figures] == [total, 0, 0]
        assert [each.bytes_from_peers for each in figures] == [0, total, total]
        for rig in rigs:
            for path, data in frontend.generation.objects.items():
                assert (await rig.get("/" + path)).body == data
    assert tracker.blames == []
