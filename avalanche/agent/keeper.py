"""``agent.pyz keep``: starts the agent, and starts it again when it was killed, so that an install survives that.

A process of its own, as small as Python permits: it sleeps in waitpid(2) for the whole install. It holds the socket on
which the package proxy listens, so that an installer that asks while there is no agent waits instead of being refused.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

CRASHED = 70
"""Status of an agent that ended by a fault of its own (EX_SOFTWARE of sysexits.h)."""
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new start; after the last one the install has failed."""


def main(words: Sequence[str]) -> int:
    """Run ``keep --run RUN``; return the agent's status."""
    if len(words) != 3 or words[1] != "--run":
        print("usage: agent.pyz keep --run RUN", file=sys.stderr)
        return 2
    return Keeper(sys.argv[0], words[2]).work()


class Keeper:
    """Keeps one agent.

    Args:
        bundle: the agent's file.
        run: the run directory.
    """

    def __init__(self, bundle: str, run: str) -> None:
        self._bundle = bundle
        self._run = run
        self._child = 0
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Keeper of {self._child}>"

    def work(self) -> int:
        """Stay until the agent has ended for good; return its status."""
        signal.signal(signal.SIGTERM, self._stop)
        self._hold_lock()
        # Not bound yet: the agent knows where. What it does to the socket it does to ours.
        listener = socket.socket()
        os.set_inheritable(listener.fileno(), True)
        status = self._agent("--listener", str(listener.fileno()))
        for number, pause in enumerate(PAUSES, start=1):
            if not self._must_go_on(status):
                return _exit_status(status)
            reason = f"{_cause(status)}; started again, {number} of {len(PAUSES)} times"
            self._say(f"agent {reason}")
            time.sleep(pause)
            if self._is_stopping:
                return 0
            status = self._agent("--listener", str(listener.fileno()), "--again", reason)
        if self._must_go_on(status):
            listener.close()
            reason = f"the agent {_cause(status)}, and was started again {len(PAUSES)} times before"
            self._say(reason)
            self._wait_for(self._start("done", "failed", reason))
        return _exit_status(status)

    def _must_go_on(self, status: int) -> bool:
        """Was an agent that had said *ready* killed? Before that, its <pre> scripts must not run twice."""
        was_ready = os.access(f"{self._run}/ready", os.F_OK)
        return (status < 0 or status == CRASHED) and was_ready and not self._is_stopping

    def _agent(self, *more: str) -> int:
        return self._wait_for(self._start("agent", *more))

    def _start(self, *words: str) -> int:
        # Whatever site-packages the installer has, the agent may need: pykickstart is there.
        command = [sys.executable, "-I", self._bundle, *words, "--run", self._run]
        self._child = os.posix_spawn(sys.executable, command, os.environ)
        if self._is_stopping:  # said so just now, when there was nobody to pass it on to
            self._stop()
        return self._child

    def _wait_for(self, child: int) -> int:
        _, status = os.waitpid(child, 0)
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    def _stop(self, *ignored: object) -> None:
        self._is_stopping = True
        if self._child:
            os.kill(self._child, signal.SIGTERM)

    def _hold_lock(self) -> None:
        """Hold a lock on ``keeper.pid`` as long as this process lives: ``done`` waits for its end."""
        descriptor = os.open(f"{self._run}/keeper.pid", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another one keeps an agent here; ours will say so
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def _say(self, line: str) -> None:
        print(f"keeper: {line}", file=sys.stderr, flush=True)


def _cause(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else "crashed"


def _exit_status(status: int) -> int:
    return status if status >= 0 else 128 - status
