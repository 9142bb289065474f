"""Stage 2 is a process of its own, and ends with the agent that wanted it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from avalanche.agent.preparation import Plan
from avalanche.errors import ProtocolError, VerificationFailed
from avalanche.membership import Membership
from tests.agent.bundle import ROOT, make_bundle
from tests.agent.faulty import FaultyFrontend, installation_of
from tests.agent.machine import Machine
from tests.agent.rig import until

BUNDLE = make_bundle()
PROFILE = """<profile version="1" root="compute" release="el9">
<node name="base" file="nodes/base.xml" roll="base"/>
<main command="lang" node="base" line="4">en_US.UTF-8</main>
<pre node="base" line="9" interpreter="/bin/sh">echo $PPID $$ &gt; {file}
exec sleep 600
</pre>
</profile>
"""


@pytest_asyncio.fixture
async def machine(folder: Path, frontend: FaultyFrontend) -> AsyncIterator[Machine]:
    frontend.bundle = BUNDLE
    profile = PROFILE.format(file=folder / "pids")
    frontend.installation = installation_of(frontend.generation, profile=profile)
    async with Machine(folder) as machine:
        yield machine


async def in_its_script(machine: Machine, frontend: FaultyFrontend) -> tuple[asyncio.Task[tuple[int, str]], int, int]:
    """Boot until the script runs; return the boot, and the processes of stage 2 and of the script."""
    booting = asyncio.ensure_future(machine.boot(frontend.document()))
    pids = machine.folder / "pids"
    await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    stage2, script = map(int, pids.read_text().split())
    return booting, stage2, script


def test_the_agent_that_stays_never_imports_what_renders_and_judges() -> None:
    code = "import sys, avalanche.agent.program; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in found.stdout.split()}
    assert not {"xml", "pyexpat", "pykickstart"} & roots
    assert not {"argparse", "zipfile", "lzma", "bz2"} & roots, "what only other commands and planes need"
    assert "avalanche.profile" not in found.stdout.split()


@pytest.mark.parametrize(("plane", "resumed"), [("relay", "relay"), ("http", "http"), ("swarm", "relay")])
def test_a_plan_that_was_kept_is_the_same_but_that_a_swarm_is_left(
    frontend: FaultyFrontend, plane: str, resumed: str
) -> None:
    membership = None if plane == "http" else Membership(("http://127.0.0.1:7969",), "e30.e30", "0" * 64)
    plan = Plan(frontend.generation.manifest, membership, plane)
    row = json.loads(json.dumps(plan.to_row()))
    assert Plan.from_row(row, plan.manifest.to_bytes()) == replace(plan, plane=resumed)
    with pytest.raises(VerificationFailed, match="not the plan's"):
        Plan.from_row(row, plan.manifest.to_bytes() + b"\n")
    with pytest.raises(ProtocolError, match="cannot be read"):
        Plan.from_row({"digest": row["digest"]}, plan.manifest.to_bytes())


async def test_a_script_ends_with_the_agent(machine: Machine, frontend: FaultyFrontend) -> None:
    booting, stage2, script = await in_its_script(machine, frontend)
    agent = machine.agent()
    assert agent is not None
    os.kill(agent, signal.SIGTERM)
    for process in (agent, stage2, script):
        await asyncio.wait_for(machine.ended(process), 10)
    status, _ = await booting
    assert status == 1


async def test_a_script_does_not_outlive_an_agent_that_was_killed(machine: Machine, frontend: FaultyFrontend) -> None:
    booting, stage2, script = await in_its_script(machine, frontend)
    agent = machine.agent()
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    for process in (stage2, script):
        await asyncio.wait_for(machine.ended(process), 10)
    await booting


async def test_stage_2_that_dies_is_named(machine: Machine, frontend: FaultyFrontend) -> None:
    booting, stage2, script = await in_its_script(machine, frontend)
    os.kill(stage2, signal.SIGKILL)
    status, output = await booting
    assert (status, "stage 2 ended with status -9 and no word; see " in output) == (1, True)
    assert frontend.outcomes("pre") == [("failed", output.removeprefix("avalanche: ").strip())]
    os.kill(script, signal.SIGKILL)
