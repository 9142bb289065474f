"""pykickstart's verdict over a rendered kickstart, with warnings as errors, from a process of its own.

pykickstart is the installer's; it and what it imports take more memory than the whole agent, so `ask_judge` starts
``agent.pyz judge RELEASE FILE``, reads its one line, and the memory is free again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from avalanche.agent.deadline import within
from avalanche.errors import KickstartRefused
from avalanche.judge import judge_kickstart

JUDGE_SECONDS = 120.0


def judge_file(path: Path, release: str) -> None:
    """Accept a kickstart that the installer of ``release`` takes without a warning.

    Raises:
        KickstartRefused: the first thing that is wrong with it, or pykickstart is missing.
    """
    try:
        found = judge_kickstart(path.read_text(encoding="utf-8"), release=release)
    except ImportError as error:
        raise KickstartRefused(f"pykickstart, which every installer has, cannot be imported: {error}") from error
    if found:
        raise KickstartRefused(f"pykickstart warns about the kickstart: {found[0]}")


async def ask_judge(bundle: Path, path: Path, release: str) -> None:
    """Let `judge_file` decide in a process of its own.

    Raises:
        KickstartRefused: as `judge_file`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(bundle),
        "judge",
        release,
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await within(JUDGE_SECONDS, process.communicate())
    except asyncio.TimeoutError as error:
        process.kill()
        await process.wait()
        raise KickstartRefused(f"pykickstart did not answer within {JUDGE_SECONDS:g} s", file=str(path)) from error
    if process.returncode != 0:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        raise KickstartRefused(lines[-1] if lines else f"pykickstart ended with status {process.returncode}")
