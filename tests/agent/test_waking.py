"""A process sleeps until there is enough to do, and never longer than its other end lives."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest

from avalanche.agent.waking import Waking


class _Transport(asyncio.Transport):
    def __init__(self, ours: socket.socket) -> None:
        super().__init__(extra={"socket": ours})


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ours, _ = server.accept()
        with ours:
            yield ours, theirs


def wakes(ours: socket.socket, *, seconds: float = 0.0) -> bool:
    return bool(select.select([ours], [], [], seconds)[0])


def arrive(ours: socket.socket, count: int) -> None:
    """Wait until so many bytes are here."""
    found, end = b"", time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end
        with contextlib.suppress(BlockingIOError):
            found = ours.recv(2000, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def test_nobody_is_woken_before_enough_has_come(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waking = Waking(_Transport(ours))
    waking.at(1000)
    theirs.sendall(bytes(999))
    arrive(ours, 999)
    assert not wakes(ours)
    theirs.sendall(bytes(1))
    assert wakes(ours, seconds=5.0)
    assert repr(waking) == "<Waking at 1000 bytes>"


def test_who_asks_for_less_finds_what_is_there(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waking = Waking(_Transport(ours))
    waking.at(1000)
    theirs.sendall(bytes(10))
    arrive(ours, 10)
    assert not wakes(ours)
    waking.at(1)
    assert wakes(ours)


def test_the_end_wakes_whatever_was_awaited(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    Waking(_Transport(ours)).at(1000)
    theirs.sendall(bytes(10))
    theirs.shutdown(socket.SHUT_WR)
    assert wakes(ours, seconds=5.0)
