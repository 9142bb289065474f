"""Stage 2: from the profile to the kickstart the installer reads, on the host itself (docs/protocol.md, section 3).

A process of its own, ``agent.pyz stage2``: what parses, renders and judges takes more memory than the agent that stays,
and memory is the cache. It reads the number of the document's bytes, those bytes, and a line that lets it go on after
its plan; the end of its input ends it. It writes lines of JSON: ``plan``, ``pre``, ``kickstart`` as each is done, or
``failed``. `avalanche.agent.preparation` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any, TextIO

from avalanche.agent.judge import JudgeProcess
from avalanche.agent.rundir import RunDirectory
from avalanche.agent.scripts import run_pre_scripts
from avalanche.errors import AvalancheError
from avalanche.kickstart import pre_scripts, render
from avalanche.profile import Installation, parse_installation

UNJUDGED = "ks.cfg.unjudged"


def run_stage2(run: RunDirectory, judge: JudgeProcess) -> int:
    """Do all of it; return the exit status."""
    # Whatever a library prints goes where errors go: on our standard output stands nothing but our lines.
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        os.dup2(2, 1)
        return asyncio.run(_talk(run, judge, out))


async def _talk(run: RunDirectory, judge: JudgeProcess, out: TextIO) -> int:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    document = await reader.readexactly(int(await reader.readline()))
    go = asyncio.Event()
    work = asyncio.ensure_future(_prepare(run, judge, document, go, out))
    listening = asyncio.ensure_future(_listen(reader, go))
    await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
    # Whoever asked has gone: a script that runs is ended, too.
    is_done = work.done()
    for task in (work, listening):
        task.cancel()
    await asyncio.wait({work, listening})
    return work.result() if is_done else 1


async def _listen(reader: asyncio.StreamReader, go: asyncio.Event) -> None:
    while await reader.readline():
        go.set()


async def _prepare(run: RunDirectory, judge: JudgeProcess, document: bytes, go: asyncio.Event, out: TextIO) -> int:
    stage, secrets = "profile", ()  # type: tuple[str, Iterable[str]]
    try:
        installation = parse_installation(document)
        secrets = installation.attributes.secrets
        judge.prepare(installation.profile.release)
        _say(out, plan=_plan(installation))
        await go.wait()
        stage = "pre"
        scripts = pre_scripts(installation.profile, installation.attributes)
        await run_pre_scripts(scripts, run)
        _say(out, pre=len(scripts))
        stage = "kickstart"
        run.write(UNJUDGED, render(installation.profile, installation.attributes))
        await judge.judge(run.path / UNJUDGED)
    except AvalancheError as error:
        _say(out, failed=stage, text=_without(secrets, str(error)))
        return 1
    except Exception as error:
        traceback.print_exc()
        _say(out, failed=stage, text=_without(secrets, f"stage 2 crashed ({type(error).__name__}: {error})"))
        return 1
    (run.path / UNJUDGED).replace(run.kickstart)
    _say(out, kickstart=run.kickstart.stat().st_size)
    return 0


def _plan(installation: Installation) -> dict[str, Any]:
    """What the agent itself needs to know."""
    found = installation.membership
    membership = found and {"trackers": found.trackers, "token": found.token, "peer_key": found.peer_key}
    return {
        "generation": installation.generation,
        "manifest": installation.manifest,
        "nodes": len(installation.profile.nodes),
        "membership": membership,
        "plane": installation.plane,
    }


def _without(secrets: Iterable[str], line: str) -> str:
    """The line travels to the installer's log and to the frontend's timeline."""
    for secret in filter(None, secrets):
        line = line.replace(secret, "***").replace(repr(secret)[1:-1], "***")
    return line


def _say(out: TextIO, **row: Any) -> None:
    out.write(json.dumps(row) + "\n")
    out.flush()
