"""``agent.pyz done``: the installer's last word, through the agent, or without it when it has died."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from avalanche.agent import control
from avalanche.agent.cache import remove_leftovers
from avalanche.agent.deadline import within
from avalanche.agent.frontend import Frontend
from avalanche.agent.rundir import RunDirectory
from avalanche.agent.settings import load_settings
from avalanche.errors import AvalancheError, ConfigError, TransferTimeout
from avalanche.messages import MAX_TEXT, Done, Scalar

TARGET = "/install/done"
CONFIRM_SECONDS = 300.0
"""So long the frontend may be away when an install ends; a restart takes seconds."""
END_SECONDS = 10.0
"""So long ``done`` waits for the end of an agent that has answered; it has nothing left to do."""
FLUSH_SECONDS = 30.0
"""So long events may take before *done* goes without them."""
log = logging.getLogger(__name__)


async def post_done(frontend: Frontend, run: RunDirectory, message: Done) -> None:
    """Tell the frontend how the attempt ended, until it has confirmed.

    The same outcome told twice is one message: what was kept from the first time is sent again.

    Raises:
        AvalancheError: the frontend refuses it, or did not confirm within `CONFIRM_SECONDS`.
    """
    kept = run.done()
    if kept is not None and (kept.attempt, kept.status, kept.text) == (message.attempt, message.status, message.text):
        message = kept
    try:
        run.keep_done(message)
    except ConfigError as error:
        log.warning("not kept for a repetition reason=%s", error)
    try:
        await within(CONFIRM_SECONDS, frontend.post(TARGET, message.to_json()))
    except asyncio.TimeoutError as error:
        raise TransferTimeout(f"the frontend did not confirm within {CONFIRM_SECONDS:g} s") from error


def outcome(attempt: str, status: str, text: str, summary: Optional[Mapping[str, Scalar]] = None) -> Done:
    """The message for an outcome; a failure without words gets some."""
    if status == "failed" and not text:
        text = "the installer gave no reason"
    return Done(attempt, status, text[-MAX_TEXT:], dict(summary or {}))


def tell_done(path: Path, status: str, text: str) -> tuple[bool, str]:
    """Say how the install ended, from a process of its own.

    Returns:
        Has the frontend confirmed it, and one line for the installer's log.
    """
    run = RunDirectory(path)
    command = {"command": "done", "status": status, "text": text}
    answer = control.ask(run.socket, command, seconds=CONFIRM_SECONDS + FLUSH_SECONDS + 10, ending=END_SECONDS)
    if answer is None:
        run.end_keeper()
    _wait_for_keeper(run)
    if answer is not None and isinstance(answer.get("confirmed"), bool):
        return answer["confirmed"], str(answer.get("text", ""))
    try:
        remove_leftovers(load_settings(path))
        asyncio.run(_post_alone(run, status, text))
    except AvalancheError as error:
        return False, f"install {status}, and no agent runs, and the frontend has not confirmed it: {error}"
    return True, f"install {status}, confirmed by the frontend; no agent was running"


def _wait_for_keeper(run: RunDirectory) -> None:
    deadline = time.monotonic() + END_SECONDS
    while run.is_kept() and time.monotonic() < deadline:
        time.sleep(0.01)


async def _post_alone(run: RunDirectory, status: str, text: str) -> None:
    order = run.order()
    attempt = run.attempt()
    frontend = Frontend(order, attempt)
    try:
        await post_done(frontend, run, outcome(attempt, status, text))
    finally:
        frontend.close()
