"""Runs the ``<pre>`` scripts of a profile, one after the other, as the installer would run a ``%pre``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Sequence

from avalanche.agent.deadline import within
from avalanche.agent.rundir import RunDirectory
from avalanche.errors import NodeFileError
from avalanche.kickstart import PreScript

SCRIPT_SECONDS = 600.0
"""After so long a script is killed: the stub waits 900 s for the kickstart."""
LAST_BYTES = 1500
"""Bytes of a failed script's output that are reported; the whole is in its log."""


async def run_pre_scripts(scripts: Sequence[PreScript], run: RunDirectory) -> None:
    """Run every script; output goes to ``pre-NN-NODE.log`` in the run directory.

    Raises:
        NodeFileError: a script failed; names its node file and line, and ends with its last lines.
    """
    for number, script in enumerate(scripts, start=1):
        await _run(script, run, f"pre-{number:02d}-{re.sub('[^A-Za-z0-9_.-]', '_', script.node)}")


async def _run(script: PreScript, run: RunDirectory, name: str) -> None:
    run.write(name, script.body)
    path, log = run.path / name, run.path / f"{name}.log"
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(script.interpreter),
                str(path),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise _failure(script, f"{script.interpreter} cannot be started: {error.strerror}") from error
    try:
        status = await within(SCRIPT_SECONDS, process.wait())
    except asyncio.TimeoutError as error:
        raise _failure(script, f"the <pre> script ran longer than {SCRIPT_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        ended = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
        tail = log.read_bytes()[-LAST_BYTES:].decode("utf-8", "replace").strip().splitlines()[-10:]
        raise _failure(script, f"the <pre> script {ended}: " + " | ".join(tail or ["it wrote nothing"]))


def _failure(script: PreScript, message: str) -> NodeFileError:
    return NodeFileError(message, file=script.file, line=script.line)
