"""The least that a host of the chain does, without anything of the agent's: one connection in, one out, blocks in
order. A program of its own:

``send PORT BYTES``, ``sink ADDRESS PORT BYTES``, which fails when fewer come, or
``relay ADDRESS PORT BYTES STEP...``, which prints the processor seconds that it needed for all bytes, its start not
counted. Steps are ``hash``, ``write`` and ``send``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
import time
from collections.abc import Collection

BLOCK = 16384
PORT = 7071
_TRIES = 200


class Relay(asyncio.BufferedProtocol):
    """Takes blocks as the agent does: the kernel wakes it when one is there (SO_RCVLOWAT)."""

    def __init__(self, size: int, *, is_hashed: bool, file: int | None, child: socket.socket | None) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = size
        self._hash = hashlib.sha256() if is_hashed else None
        self._file = file
        self._child = child
        self._block = memoryview(bytearray(BLOCK))
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, BLOCK)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._block[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == BLOCK:
            self._filled = 0
            self._take()

    def _take(self) -> None:
        if self._hash is not None:
            # As a leaf of its piece, and as a part of its object.
            hashlib.sha256(self._block).digest()
            self._hash.update(self._block)
        if self._file is not None:
            os.write(self._file, self._block)
        if self._child is not None:
            self._child.sendall(self._block)
        self._missing -= BLOCK
        if not self._missing:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the sender ended"))


async def relay(address: str, port: int, size: int, steps: Collection[str]) -> float:
    """Take ``size`` bytes, and do with them what ``steps`` say; return processor seconds."""
    child = _accepted(PORT) if "send" in steps else None
    file = os.memfd_create("object") if "write" in steps else None
    parent = _connected(address, port)
    begun = time.process_time()
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: Relay(size, is_hashed="hash" in steps, file=file, child=child), sock=parent
    )
    await protocol.done
    return time.process_time() - begun


def _accepted(port: int) -> socket.socket:
    with socket.create_server(("", port)) as server:
        return server.accept()[0]


def _connected(address: str, port: int) -> socket.socket:
    """The other side may not listen yet."""
    for _ in range(_TRIES):
        try:
            return socket.create_connection((address, port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise ConnectionError(f"nobody listens at {address}, port {port}")


def main(role: str, *words: str) -> None:
    if role == "send":
        with _accepted(int(words[0])) as connection:
            connection.sendall(bytes(int(words[1])))
            connection.recv(1)
    elif role == "sink":
        with _connected(words[0], int(words[1])) as connection:
            missing = int(words[2])
            while data := connection.recv(1 << 18):
                missing -= len(data)
        if missing:
            sys.exit(f"{missing} bytes are missing")
    else:
        print(asyncio.run(relay(words[0], int(words[1]), int(words[2]), words[3:])))


if __name__ == "__main__":
    main(*sys.argv[1:])
