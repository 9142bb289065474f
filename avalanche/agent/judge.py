"""pykickstart's verdict over a rendered kickstart, with warnings as errors. pykickstart is the installer's own.

It judges in a process of its own, forked before stage 2 begins: what it imports (requests, for one) takes as long as
all the rest of stage 2, and is there by the time the kickstart is. The two share a socket: stage 2 says the release,
then the file, a line each; the answer is a line of JSON.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from avalanche.errors import KickstartRefused
from avalanche.judge import Judge


class JudgeProcess:
    """A process that judges one kickstart; it ends with that, or with this process, however that ends.

    Forks: to be made while nothing but a single thread runs.
    """

    def __init__(self) -> None:
        self._socket, other = socket.socketpair()
        life, self._life = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            self._socket.close()
            os.close(self._life)
            _work(other, life)
        other.close()
        os.close(life)

    def __repr__(self) -> str:
        return f"<JudgeProcess {self._process}>"

    def prepare(self, release: str) -> None:
        """Say which release's installer will read the kickstart."""
        self._say(release)

    async def judge(self, path: Path) -> None:
        """Accept a kickstart that the installer takes without a warning; `prepare` came first.

        Raises:
            KickstartRefused: the first thing that is wrong with it, or pykickstart is missing.
            RuntimeError: pykickstart crashed.
        """
        from asyncio import get_running_loop

        self._say(str(path))
        self._socket.setblocking(False)
        answer = b""
        while not answer.endswith(b"\n"):
            data = await get_running_loop().sock_recv(self._socket, 65536)
            if not data:
                raise RuntimeError("pykickstart's process ended without a word")
            answer += data
        row: dict[str, Any] = json.loads(answer)
        if "crashed" in row:
            raise RuntimeError(f"pykickstart: {row['crashed']}")
        if "refused" in row:
            raise KickstartRefused(row["refused"])

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        os.close(self._life)
        os.waitpid(self._process, 0)

    def _say(self, line: str) -> None:
        # If it has ended, the answer that does not come says so.
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(line.encode() + b"\n")


def _work(line: socket.socket, life: int) -> NoReturn:
    """All that the new process does. Its standard output is where errors go, its input is nothing."""
    try:
        # As soon as the other end is gone, SIGIO ends this process, whatever pykickstart is doing.
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        with line.makefile("rwb") as lines:
            answer = _answer(iter(lines))
            lines.write(json.dumps(answer).encode() + b"\n")
    except ConnectionError:
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _answer(lines: Iterator[bytes]) -> dict[str, str]:
    try:
        # Most of the work does not depend on the release.
        import pykickstart.handlers.control
        import pykickstart.parser  # noqa: F401

        judge = Judge(_next(lines))
        found = judge.hear(Path(_next(lines)).read_text(encoding="utf-8"))
    except ImportError as error:
        return {"refused": f"pykickstart, which every installer has, cannot be imported: {error}"}
    except KickstartRefused as error:
        return {"refused": str(error)}
    except ConnectionError:
        raise
    except Exception as error:
        traceback.print_exc()
        return {"crashed": f"{type(error).__name__}: {error}"}
    return {"refused": f"pykickstart warns about the kickstart: {found[0]}"} if found else {}


def _next(lines: Iterator[bytes]) -> str:
    line = next(lines, b"")
    if not line:
        raise ConnectionError
    return line.decode().rstrip("\n")
