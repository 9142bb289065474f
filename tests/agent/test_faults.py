"""A real frontend process that is stopped, killed and started again while a host loads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent.bundle import ROOT
from tests.agent.faulty import Certificates, FaultyFrontend, Generation
from tests.agent.machine import free_port
from tests.agent.rig import Rig, until


class FrontendProcess(FaultyFrontend):
    """The same frontend in a process of its own; here only its ports and what it serves are known."""

    def __init__(self, certificates: Certificates, generation: Generation) -> None:
        super().__init__(certificates, generation)
        self.http, self.https = free_port(), free_port()
        for path, data in generation.objects.items():
            target = certificates.folder / "objects" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    async def start(self, http: int = 0, https: int = 0) -> None:
        arguments = ["-m", "tests.agent.faulty", str(self.certificates.folder), str(self.http), str(self.https)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"ready\n"

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()


@contextlib.asynccontextmanager
async def loading(certificates: Certificates, folder: Path, objects: dict[str, bytes]) -> AsyncIterator[Rig]:
    """A host in mid-load, that must have everything at the end."""
    frontend = FrontendProcess(certificates, Generation(objects))
    await frontend.start()
    try:
        async with Rig(frontend, folder, stall=0.5) as rig:
            rig.load()
            await until(lambda: rig.downloader.figures.bytes_from_frontend > 200_000)
            yield rig
            await asyncio.wait_for(rig.downloader.has_closure.wait(), 30)
            for path, data in objects.items():
                assert (await rig.get("/" + path)).body == data
    finally:
        await frontend.stop()


def given_up(rig: Rig) -> int:
    """How often an object was tried in vain."""
    return max((flight.trouble._tries for flight in rig.downloader.flights), default=0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_frontend_that_dies_and_comes_back_costs_only_time(
    number: signal.Signals, certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    async with loading(certificates, folder, objects) as rig:
        assert isinstance(rig.frontend, FrontendProcess)
        os.kill(rig.frontend.process.pid, number)
        await rig.frontend.process.communicate()
        assert not rig.downloader.has_closure.is_set()
        await rig.frontend.start()


async def test_a_frontend_that_is_stopped_is_waited_for(
    certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    async with loading(certificates, folder, objects) as rig:
        assert isinstance(rig.frontend, FrontendProcess)
        os.kill(rig.frontend.process.pid, signal.SIGSTOP)
        # The installer asks meanwhile; the answer comes when the frontend goes on.
        path, data = list(objects.items())[6]
        asking = asyncio.ensure_future(rig.get("/" + path))
        # Its connections are given up again and again; the kernel makes new ones for a process that stands still.
        await asyncio.wait_for(until(lambda: given_up(rig) >= 3), 30)
        assert not rig.downloader.has_closure.is_set()
        os.kill(rig.frontend.process.pid, signal.SIGCONT)
        assert (await asking).body == data
