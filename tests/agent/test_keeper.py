"""An agent that is killed in the middle of an install: somebody starts it again, and the installer hardly notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from avalanche.agent.keeper import PAUSES
from tests.agent.bundle import make_bundle
from tests.agent.faulty import Fault, FaultyFrontend, installation_of
from tests.agent.machine import Machine
from tests.agent.rig import Answer, read_answer, until
from tests.agent.swarm import StubTracker

BIG = "Packages/p/p6+x-1048576.rpm"
BUNDLE = make_bundle()


@pytest_asyncio.fixture
async def machine(folder: Path) -> AsyncIterator[Machine]:
    async with Machine(folder) as machine:
        yield machine


@pytest_asyncio.fixture
async def site(frontend: FaultyFrontend) -> FaultyFrontend:
    frontend.bundle = BUNDLE
    return frontend


async def get(machine: Machine, path: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
    writer.write(f"GET /{quote(path)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await asyncio.wait_for(read_answer(reader), 60)
    writer.close()
    return answer


async def kill_agent(machine: Machine) -> int:
    agent = machine.agent()
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    await machine.ended(agent)
    return agent


def wrong_owner_of(machine: Machine, path: str) -> Path:
    """The file in which the cache holds an object."""
    (found,) = (machine.folder / "cache").glob(f"*{path.rpartition('/')[2]}.object")
    return found


async def test_an_agent_that_was_killed_goes_on_with_what_it_had(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    asked = {path: len(site.asked(path)) for path in site.generation.objects}
    first, profiles = await kill_agent(machine), [target for _, target, _ in site.requests].count("/install/profile")
    # Nobody is refused meanwhile: the answer comes when there is an agent again.
    for path, data in site.generation.objects.items():
        assert (await get(machine, path)).body == data, machine.log()
    assert {path: len(site.asked(path)) for path in site.generation.objects} == asked
    assert machine.agent() not in (None, first)
    # It asks for no profile and runs no script again: the installer has its kickstart.
    assert [target for _, target, _ in site.requests].count("/install/profile") == profiles
    await until(lambda: any("objects were still in the cache" in text for _, text in site.outcomes("packages")))
    told = [text for _, text in site.outcomes("packages")]
    assert f"the agent was killed by signal 9; started again, 1 of {len(PAUSES)} times" in told
    count = len(site.generation.objects)
    assert f"{count} of {count} objects were still in the cache" in told
    assert [event["seq"] for event in site.events] == list(range(1, len(site.events) + 1))
    assert (await machine.done("ok"))[0] == 0
    assert (machine.keeper(), machine.agent()) == (None, None)
    assert not (machine.folder / "cache").exists()


async def test_a_damaged_leftover_is_fetched_again(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    keeper = machine.keeper()
    assert keeper is not None
    os.kill(keeper, signal.SIGSTOP)
    await kill_agent(machine)
    with wrong_owner_of(machine, BIG).open("r+b") as file:
        file.seek(600_000)
        file.write(b"not what was there")
    os.kill(keeper, signal.SIGCONT)
    assert (await get(machine, BIG)).body == site.generation.objects[BIG]
    # From the piece that was damaged on, and no byte of it was believed.
    assert site.asked(BIG)[-1]["range"] == f"bytes={2 * 262144}-"


async def test_what_was_arriving_is_resumed_at_its_last_piece(site: FaultyFrontend, machine: Machine) -> None:
    site.always[BIG] = Fault(stall=600_000)
    await machine.boot(site.document())
    await until(lambda: wrong_owner_of(machine, BIG).stat().st_size == 2 * 262144 if cached(machine, BIG) else False)
    await kill_agent(machine)
    del site.always[BIG]
    assert (await get(machine, BIG)).body == site.generation.objects[BIG]
    assert site.asked(BIG)[-1]["range"] == f"bytes={2 * 262144}-"


def cached(machine: Machine, path: str) -> bool:
    return bool(list((machine.folder / "cache").glob(f"*{path.rpartition('/')[2]}.object")))


async def test_an_installer_that_is_cut_off_resumes_with_a_range(site: FaultyFrontend, machine: Machine) -> None:
    data = site.generation.objects[BIG]
    site.always[BIG] = Fault(stall=600_000)
    await machine.boot(site.document())
    reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
    writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    got = await reader.readexactly(2 * 262144)
    del site.always[BIG]
    await kill_agent(machine)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
    writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\nRange: bytes={len(got)}-\r\n\r\n".encode())
    answer = await asyncio.wait_for(read_answer(reader), 60)
    assert (answer.status, got + answer.body) == (206, data)
    writer.close()


async def test_a_host_that_is_started_again_tells_the_tracker_what_it_has(
    site: FaultyFrontend, machine: Machine
) -> None:
    tracker = StubTracker()
    await tracker.start()
    site.installation = installation_of(site.generation, membership=tracker.membership(site.document().order))
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    attempt = tracker.lookups[-1]["attempt"]
    await kill_agent(machine)
    everything = {entry.sha256 for entry in site.generation.manifest.entries}

    def again() -> set[str]:
        rows = [row for row in tracker.lookups if row["attempt"] != attempt]
        return {
            sha for row in rows for sha in [*row.get("done", []), *row.get("register", {}).get("have", [])]
        }  # fmt: skip

    await until(lambda: again() == everything)
    assert (await machine.done("ok"))[0] == 0
    await tracker.stop()


async def test_an_agent_that_ends_with_a_reason_is_not_started_again(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    keeper = machine.keeper()
    assert keeper is not None
    os.kill(keeper, signal.SIGSTOP)
    await kill_agent(machine)
    (machine.run / "agent.json").write_text("{")
    os.kill(keeper, signal.SIGCONT)
    await machine.ended(keeper)
    assert "not JSON" in machine.log()
    assert "started again, 1 of" in machine.log() and "started again, 2 of" not in machine.log()


KEPT = """
import os, sys
from pathlib import Path
run = Path(sys.argv[-1])
with (run / "calls").open("a") as file:
    file.write(" ".join(sys.argv[1:-2]) + "\\n")
if sys.argv[1] == "agent":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("is_ready", [True, False])
async def test_an_agent_is_started_again_a_bounded_number_of_times(folder: Path, is_ready: bool) -> None:
    (folder / "agent.pyz").write_text(KEPT)
    if is_ready:
        (folder / "ready").touch()
    code = (
        "import sys; from avalanche.agent import keeper; keeper.PAUSES = (0, 0);"
        "sys.exit(keeper.Keeper(sys.argv[1] + '/agent.pyz', sys.argv[1]).work())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(folder))
    assert await process.wait() == 128 + signal.SIGKILL
    calls = [re.sub("--listener [0-9]+", "L", line) for line in (folder / "calls").read_text().splitlines()]
    if not is_ready:  # its <pre> scripts must not run twice
        assert calls == ["agent L"]
        return
    assert calls == [
        "agent L",
        "agent L --again was killed by signal 9; started again, 1 of 2 times",
        "agent L --again was killed by signal 9; started again, 2 of 2 times",
        "done failed the agent was killed by signal 9, and was started again 2 times before",
    ]


async def test_done_ends_a_keeper_whose_agent_is_not_there(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    # Killed twice: the keeper waits a while before it starts the third one.
    await kill_agent(machine)
    await until(lambda: machine.agent() is not None and (machine.run / "agent.sock").exists())
    await kill_agent(machine)
    assert (await machine.done("ok"))[0] == 0
    assert (machine.keeper(), machine.agent()) == (None, None)
    assert not (machine.folder / "cache").exists()
    assert json.loads((machine.run / "done.json").read_text())["status"] == "ok"
