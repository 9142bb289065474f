"""Commands that cannot outlive us, whatever they start and however we end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from avalanche.errors import AvalancheError

# The kernel kills the command when the thread that started it is gone.
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class CommandFailed(AvalancheError):
    """A program the lab needs failed; the message holds the end of what it printed."""


def dependent(*command: str) -> list[str]:
    """Return the command so that it dies with us. Its own children may not."""
    return [*_DIES_WITH_US, *command]


def contained(*command: str) -> list[str]:
    """Return the command in PID and mount namespaces of its own: all that it starts or mounts ends with it."""
    return [*_DIES_WITH_US, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *command]


def run(
    command: Sequence[str],
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        CommandFailed: it failed, or took longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{error.filename} is missing: install it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{_short(command)}: not done after {timeout:g} seconds") from error
    if done.returncode:
        raise CommandFailed(f"{_short(command)}: exit {done.returncode}: {tail(done.stderr or done.stdout)}")
    return done.stdout


def tail(output: str, *, lines: int = 3) -> str:
    """Return the last lines that say something, as one."""
    return " | ".join([line.strip() for line in output.splitlines() if line.strip()][-lines:])


def _short(command: Sequence[str]) -> str:
    words = [word for word in command if word not in _DIES_WITH_US and word != "unshare"]
    return " ".join(word for word in words[:8] if not word.startswith("--"))
