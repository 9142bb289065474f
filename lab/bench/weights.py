"""What processes weigh: processor time and the most memory they had (proc(5): stat, status)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Weight:
    """What the processes of one host weighed when they were last seen. ``rss_mib`` is the largest process's peak."""

    cpu_seconds: float = 0.0
    rss_mib: float = 0.0


def weigh(processes: Iterable[int], weight: Weight) -> None:
    """Look at processes; those that have ended keep what they weighed."""
    seconds, memory = 0.0, 0.0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        # With what its children that have ended used.
        seconds += sum(map(int, fields[11:15])) / _TICKS
        memory = max(memory, _peak(status))
    weight.cpu_seconds = max(weight.cpu_seconds, seconds)
    weight.rss_mib = max(weight.rss_mib, memory)


def _peak(status: str) -> float:
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
