"""What a bare relay costs."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from lab.bench.bare import BLOCK, relay
from lab.bench.processor import STEPS, relay_seconds


@pytest.mark.parametrize("steps", [(), STEPS])
def test_all_bytes_come_through_whatever_is_done_with_them(steps: tuple[str, ...]) -> None:
    assert relay_seconds(64 * BLOCK, steps) > 0


def test_a_sender_that_ends_early_is_an_error_and_no_figure() -> None:
    def send_half() -> None:
        with server.accept()[0] as connection:
            connection.sendall(bytes(BLOCK))

    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=send_half)
        sender.start()
        with pytest.raises(ConnectionError, match="the sender ended"):
            asyncio.run(relay("127.0.0.1", server.getsockname()[1], 2 * BLOCK, ()))
        sender.join()
