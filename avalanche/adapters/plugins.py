"""insert-ethers' plugins: Python entry points, and executables in a folder. docs/insert-ethers.md has their interface.

Each call runs in a process of its own kind, with a time limit: a plugin that fails, hangs or crashes is named in one
line and stops nobody. Entry points share one worker process (adapters/plugin_worker.py), so that a thousand hosts do
not cost a thousand interpreters; a worker that hangs is killed, and the next call gets a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

_Way = Callable[[str, str, Mapping[str, str]], str]
"""How a plugin is called: name, event and facts in, problem out."""
EVENTS = ("added", "removed", "update", "done", "restart")
GROUP = "avalanche.insert_ethers"
CALL_SECONDS = 60.0
_SHOWN = 300  # characters of what a failing plugin said


@dataclass(frozen=True, slots=True)
class Call:
    """How one plugin's call ended; ``problem`` is empty when it went well."""

    plugin: str
    event: str
    host: str
    seconds: float
    problem: str = ""


class Plugins:
    """All plugins, sorted by name; an executable and an entry point of one name both run.

    Args:
        folder: where the executables are; it need not exist.
        facts: what every call is told, such as the state directory.
    """

    def __init__(self, folder: Path, facts: Mapping[str, str], *, seconds: float = CALL_SECONDS) -> None:
        self._folder = folder
        self._facts = dict(facts)
        self._seconds = seconds
        self._worker: _Worker | None = None
        self._entries = sorted(entry.name for entry in entry_points(group=GROUP))

    def __repr__(self) -> str:
        return f"<Plugins {', '.join(self.names())}>"

    def names(self) -> list[str]:
        """The plugins there are, in the order in which they run."""
        return sorted({*self._entries, *(path.name for path in self._executables())})

    def call(self, event: str, host: Mapping[str, str] | None = None) -> Iterator[Call]:
        """Call every plugin, one after the other, and tell how each ended.

        Args:
            event: one of ``EVENTS``.
            host: for ``added`` and ``removed``, the host: name, mac, ip, rack, rank, membership, appliance.
        """
        assert event in EVENTS
        told = {**self._facts, **(host or {})}
        for name in self.names():
            if name in self._entries:
                yield self._timed(name, event, told, self._call_entry)
            path = self._folder / name
            if path in self._executables():
                yield self._timed(name, event, told, self._call_executable)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _executables(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        # Editors' and packages' left-overs are no plugins.
        return sorted(
            path
            for path in self._folder.iterdir()
            if path.is_file() and os.access(path, os.X_OK) and not path.name.startswith(".") and path.suffix != ".bak"
            and not path.name.endswith("~")
        )  # fmt: skip

    def _timed(self, name: str, event: str, told: Mapping[str, str], call: _Way) -> Call:
        began = time.monotonic()
        try:
            problem = call(name, event, told)
        except OSError as error:
            problem = error.strerror or str(error)
        return Call(name, event, told.get("host", ""), time.monotonic() - began, problem)

    def _call_entry(self, name: str, event: str, told: Mapping[str, str]) -> str:
        if self._worker is None:
            self._worker = _Worker()
        problem = self._worker.call({"plugin": name, "event": event, "facts": dict(told)}, self._seconds)
        if not self._worker.is_alive:
            self.close()
        return problem

    def _call_executable(self, name: str, event: str, told: Mapping[str, str]) -> str:
        path = self._folder / name
        if (problem := _unsafe(path) or _unsafe(self._folder)) != "":
            return problem
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "AVALANCHE_EVENT": event,
            **{f"AVALANCHE_{key.upper()}": value for key, value in told.items()},
        }
        arguments = [str(path), event, *([told["host"]] if "host" in told else [])]
        process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            # What it started may hold the pipe in a session of its own: nobody waits for that.
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            return f"not done after {self._seconds:g} seconds, killed"
        if process.returncode == 0:
            return ""
        how = f"exit {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        return f"{how}: {_last_line(output)}".rstrip(": ")


class _Worker:
    """The process in which entry points run: one JSON object per line in, one out."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "avalanche.adapters.plugin_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._rest = b""

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def call(self, request: Mapping[str, object], seconds: float) -> str:
        """Have a plugin called; returns its problem."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(time.monotonic() + seconds)
        except TimeoutError:
            self.close()
            return f"not done after {seconds:g} seconds, killed"
        except (BrokenPipeError, EOFError):
            self.close()
            return "ended the process it ran in"
        return str(json.loads(line)["problem"])

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    raise EOFError
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        """End it, and what it started."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if self.is_alive:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _unsafe(path: Path) -> str:
    """Why a file or folder must not decide what this user runs."""
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user: not run"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} may be written by others: not run (chmod go-w)"
    return ""


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "backslashreplace").strip().splitlines()
    return lines[-1][:_SHOWN] if lines else ""
