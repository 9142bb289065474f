"""The socket in the run directory: how the stub asks after an agent, and how the installer's last script says *done*.

One line of JSON each way: ``{"command": "status"}`` is answered with order, state and the load's figures,
``{"command": "done", "status": "ok", "text": ""}`` with ``{"confirmed": true, "text": ""}`` once the frontend has
stored it. The agent that answers *done* serves nobody any more and has removed its files; it ends with the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

LINE_BYTES = 65536
ANSWER_SECONDS = 2.0
"""So long an agent that ends waits for answers that are on their way."""
Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Control:
    """Answers commands for one agent."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: Optional[asyncio.AbstractServer] = None
        self._answers: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen; a socket that an agent left behind is replaced. The caller holds the run directory's lock."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._accept, str(self._path), limit=LINE_BYTES)

    async def close(self) -> None:
        """Stop listening, and let answers that are on their way leave."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        if self._answers:
            await asyncio.wait(self._answers, timeout=ANSWER_SECONDS)
        for task in list(self._answers):
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            row = json.loads(await reader.readline())
            answer = await self._handler(row) if isinstance(row, dict) else {"error": "not an object"}
            writer.write(json.dumps(answer).encode("ascii") + b"\n")
            await writer.drain()
        except (ValueError, OSError):
            pass  # not a line of ours, or whoever asked has gone
        finally:
            writer.close()


def ask(
    path: Path, row: Mapping[str, Any], *, seconds: float, ending: Optional[float] = None
) -> Optional[dict[str, Any]]:
    """Send one command to the agent that listens at ``path``.

    Args:
        ending: the agent ends with its answer; wait for so many seconds until it has.

    Returns:
        Its answer, or None when there is no agent, or it ended or said nothing for ``seconds``.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            with _process_behind(connection) as process:
                connection.sendall(json.dumps(row).encode("ascii") + b"\n")
                with connection.makefile("rb") as lines:
                    answer = json.loads(lines.readline(LINE_BYTES))
                if ending is not None and process is not None:
                    select.select([process], [], [], ending)
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


@contextlib.contextmanager
def _process_behind(connection: socket.socket) -> Iterator[Optional[int]]:
    """A descriptor that is readable once the process at the other end is gone (pidfd_open(2)); None: none to be had."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    try:
        descriptor = os.pidfd_open(struct.unpack("3i", peer)[0])
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
