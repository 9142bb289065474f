"""What strace saw of a host: ``-f -ttt``, one line per call, made by a process of the host."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "open,openat,openat2,creat,bind,listen,connect,execve"
_LINE = re.compile(r"(?P<process>\d+)\s+(?P<at>\d+\.\d+) (?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")


def command(log: Path) -> tuple[str, ...]:
    """Run a program, and all that it starts, under strace; the program stays its parent's child."""
    # The judge of stage 2 is ended by SIGIO when nobody needs it any more; with no signals its end would not be told.
    options = ("-D", "-f", "--seccomp-bpf", "-ttt", "-s", "300", "-e", f"trace={CALLS}", "-e", "signal=io")
    return ("strace", *options, "-o", str(log), "--")


@dataclass
class Process:
    """One process: the program it ran last, what it called, and when it ended."""

    program: str = ""
    calls: list[str] = field(default_factory=list)
    ended: float | None = None


def read(log: Path) -> dict[int, Process]:
    """Return the processes of a log, by their number."""
    processes: dict[int, Process] = {}
    unfinished: dict[int, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        number, at, rest = int(found["process"]), float(found["at"]), found["rest"]
        process = processes.setdefault(number, Process())
        if rest.startswith("---"):
            continue
        if rest.startswith("+++"):
            process.ended = at
            continue
        if rest.endswith("<unfinished ...>"):
            unfinished[number] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            rest = unfinished.pop(number, "") + rest[resumed.end() :]
        if rest.startswith("execve(") and rest.endswith("= 0"):
            process.program = rest
            process.calls.clear()
        else:
            process.calls.append(rest)
    return processes


def running(processes: dict[int, Process], *words: str) -> list[Process]:
    """Return the processes whose program was started with these words, one after the other."""
    wanted = ", ".join(f'"{word}"' for word in words)
    return [process for process in processes.values() if wanted in process.program]
