"""The socket in the run directory: how the stub asks after an agent, and how the installer's last script says *done*.

One line of JSON each way: ``{"command": "status"}`` is answered with order, state and the load's figures,
``{"command": "done", "status": "ok", "text": ""}`` with ``{"confirmed": true, "text": ""}`` once the frontend has
stored it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

LINE_BYTES = 65536
Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Control:
    """Answers commands for one agent."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: Optional[asyncio.AbstractServer] = None

    async def open(self) -> None:
        """Listen; a socket that an agent left behind is replaced. The caller holds the run directory's lock."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=LINE_BYTES)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

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


def ask(path: Path, row: Mapping[str, Any], *, seconds: float) -> Optional[dict[str, Any]]:
    """Send one command to the agent that listens at ``path``.

    Returns:
        Its answer, or None when there is no agent, or it ended or said nothing for ``seconds``.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(row).encode("ascii") + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline(LINE_BYTES))
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
