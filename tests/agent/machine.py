"""An installing host for tests: runs the stub as an installer does, and the commands of the rendered kickstart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Optional

from pykickstart.constants import KS_SCRIPT_PRE
from pykickstart.parser import KickstartParser

from avalanche.messages import StubDocument
from avalanche.stub import render_stub
from tests.handlers import handler_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A host whose run directory is ``folder/run``. Kills its agent at the end of the test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)
        self.port = free_port()
        row = {"port": self.port, "cache_dir": str(folder / "cache"), "target_roots": [], **settings}
        (self.run / "agent.json").write_text(json.dumps(row))

    async def __aenter__(self) -> Machine:
        return self

    async def __aexit__(self, *reason: object) -> None:
        for pid in (self.keeper(), self.agent()):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                await self.ended(pid)

    def keeper(self) -> Optional[int]:
        """Process that would start another agent, or None."""
        return self._process("keeper.pid")

    def agent(self) -> Optional[int]:
        """Process of the agent that runs here, or None."""
        return self._process("agent.pid")

    def _process(self, name: str) -> Optional[int]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.run / name).read_text())
            if self.is_running(pid):
                return pid
        return None

    @staticmethod
    def is_running(pid: int) -> bool:
        """Is it there, and not a zombie? (Nobody may reap it where the tests are process 1's children.)"""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):  # it may end between opening and reading
            return False

    @staticmethod
    def ports(pid: Optional[int]) -> set[int]:
        """TCP ports on which a process listens."""
        inodes = set()
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                inodes.add(os.readlink(path))  # noqa: PTH115 - `socket:[1234]` is no path
        lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        listening = [words for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in inodes]
        return {int(words[1].rpartition(":")[2], 16) for words in listening}

    @classmethod
    def group(cls, pid: int) -> list[int]:
        """The processes of a process's group that run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(path.read_text().rpartition(")")[2].split()[2]) == pid and cls.is_running(int(path.parent.name)):
                    found.append(int(path.parent.name))
        return found

    async def ended(self, pid: int) -> None:
        while self.is_running(pid):  # noqa: ASYNC110 - not our child: nothing announces its end
            await asyncio.sleep(0.01)

    async def kill(self) -> int:
        """Kill the agent and who would start another one; return its process."""
        keeper, agent = self.keeper(), self.agent()
        assert keeper is not None and agent is not None
        for process in (keeper, agent):
            os.kill(process, signal.SIGKILL)
            await self.ended(process)
        return agent

    async def boot(self, document: StubDocument, *, wait_seconds: float = 60) -> tuple[int, str]:
        """Run the stub's ``%pre`` as Anaconda does: to the end of its output. Returns its status and that output."""
        stub = render_stub(document, run=str(self.run), wait_seconds=wait_seconds)
        made = handler_of("RHEL9")
        KickstartParser(made, missingIncludeIsFatal=False).readKickstartFromString(stub)
        (script,) = (script for script in made.scripts if script.type == KS_SCRIPT_PRE)
        path = self.folder / "ks-script"
        path.write_text(script.script)
        return await self.command(str(path))

    async def done(self, *words: str) -> tuple[int, str]:
        return await self.command("-I", str(self.run / "agent.pyz"), "done", *words, "--run", str(self.run))

    async def command(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def log(self) -> str:
        return (self.run / "agent.log").read_text()
