"""Under which conditions something was measured: figures of one machine say little about another."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TREE = Path(__file__).parents[2]
_ADDITIONS = 10_000_000
_WRITTEN = (":!docs/benchmarks.md", ":!docs/benchmarks")
"""What a benchmark writes itself is no change of what is measured."""


def conditions(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides about figures. ``DATE`` is passed in, so that a repetition may say the same."""
    return {
        "date": environment.get("DATE") or "unknown",
        "commit": commit(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "yardstick_seconds": round(yardstick(), 2),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def yardstick() -> float:
    """Seconds that this Python needs for ten million additions: how fast one core is just now."""
    began = time.perf_counter()
    total = 0
    for number in range(_ADDITIONS):
        total += number
    return time.perf_counter() - began


def commit() -> str:
    """The checkout's commit, with a plus when files differ from it; empty where there is no git."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", *_WRITTEN) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(_TREE), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()
