"""The listening tracker against clients that are slow, rude, many, or old."""

from __future__ import annotations

import asyncio

import pytest

from tests.loopclock import LoopClock
from tests.tracker.polling import until
from tests.tracker.worlds import Running, lookup, running, token_of
from tracker.server import Gate


async def talk(world: Running, data: bytes, *, half_closed: bool = False) -> bytes:
    """Send ``data`` and read until the tracker closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    try:
        writer.write(data)
        if half_closed:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def scrape(version: str = "1.1", *, method: str = "GET", more: str = "Connection: close\r\n") -> bytes:
    return f"{method} /scrape/{token_of(1)} HTTP/{version}\r\nHost: t\r\n{more}\r\n".encode()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as world:
        answer = await talk(world, scrape(more="") + scrape(more="") + scrape())
        assert answer.count(b"HTTP/1.1 200") == answer.count(b"d5:files") == 3


async def test_http_1_0_and_half_closed_connections_are_answered() -> None:
    async with running() as world:
        assert b"d5:files" in await talk(world, scrape("1.0", more=""))
        assert b"d5:files" in await talk(world, scrape(), half_closed=True)


async def test_head_has_no_body_and_other_methods_are_refused() -> None:
    async with running() as world:
        head = await talk(world, scrape(method="HEAD"))
        assert head.startswith(b"HTTP/1.1 200") and head.endswith(b"\r\n\r\n")
        assert (await talk(world, scrape(method="POST"))).startswith(b"HTTP/1.1 405")
        assert (await talk(world, b"GET /nothing HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 404")


async def test_an_overlong_address_and_garbage_are_refused() -> None:
    async with running() as world:
        long = b"GET /announce?x=" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"
        assert (await talk(world, long)).startswith(b"HTTP/1.0 400")
        assert (await talk(world, b"\x13BitTorrent protocol" + bytes(60) + b"\r\n\r\n")).startswith(b"HTTP/1.0 400")


async def test_a_slow_head_is_cut_off_and_a_patient_connection_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, gate = LoopClock(monkeypatch), Gate(100, head_seconds=40.0)
    async with running(gate=gate) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        for _ in range(2):
            writer.write(scrape(more=""))
            assert b"200" in await reader.readuntil(b"eeee")
            # Between two requests the patient one says nothing for longer than a head may take.
            await be_cut_off(world, gate, clock)
        writer.close()


async def be_cut_off(world: Running, gate: Gate, clock: LoopClock) -> None:
    """Send a head that never ends, as long as the tracker listens: for forty seconds."""
    _, slow = await asyncio.open_connection("127.0.0.1", world.port)
    slow.write(b"GET /scrape HTTP/1.1\r\nX-Slow: ")
    await until(lambda: repr(gate) == "<Gate 2 of 100 connections>")
    for _ in range(5):
        slow.write(b"a")
        await clock.forward(4.0)
    assert repr(gate) == "<Gate 2 of 100 connections>"
    await clock.forward(20.0)
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionError):
            while True:
                slow.write(b"a")
                await slow.drain()
                await asyncio.sleep(0.02)
        slow.close()


async def test_a_lookup_whose_body_never_ends_harms_nobody_else() -> None:
    async with running() as world:
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        head = (
            f"POST /lookup HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token_of(1)}\r\nContent-Length: 1000\r\n\r\n"
        )
        writer.write(head.encode() + lookup(1)[:10])
        await world.look_up(2)
        writer.close()


async def test_connections_are_bounded_and_come_free_again() -> None:
    gate = Gate(100, per_address=20)
    async with running(gate=gate) as world:
        streams = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(20)]
        assert await talk_or_reset(world) == b""
        for _, writer in streams:
            writer.close()
        await until(lambda: is_answered(world))
    await until(lambda: repr(gate) == "<Gate 0 of 100 connections>")


async def is_answered(world: Running) -> bool:
    return b"d5:files" in await talk_or_reset(world)


async def talk_or_reset(world: Running) -> bytes:
    try:
        return await talk(world, scrape())
    except ConnectionError:
        return b""
