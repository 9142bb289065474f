"""What a person sees while hosts install: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lab.progress import say

_LINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HostView:
    """A host at one moment. ``bytes_in`` came over its link; ``bytes_from_peers`` of them from other hosts."""

    name: str
    stage: str
    detail: str
    bytes_in: int
    bytes_from_peers: int = 0


class Display:
    """Shows the hosts until it is closed."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), auto_refresh=False) if sys.stderr.isatty() else None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, hosts: Sequence[HostView], *, seconds: float) -> None:
        """Show the hosts as they are ``seconds`` after the barrier."""
        if self._live is not None:
            self._live.update(hosts_table(hosts, seconds=seconds), refresh=True)
        elif time.monotonic() - self._said >= _LINE_SECONDS:
            self._said = time.monotonic()
            say(hosts_line(hosts, seconds=seconds))


def hosts_table(hosts: Sequence[HostView], *, seconds: float) -> Table:
    table = Table(title=f"{seconds:.0f} s")
    for heading in ("host", "stage", "packages", "MB from frontend", "MB from peers"):
        table.add_column(heading, justify="left" if heading in ("host", "stage") else "right")
    for host in hosts:
        frontend = host.bytes_in - host.bytes_from_peers
        table.add_row(host.name, host.stage, host.detail, f"{frontend / 1e6:.1f}", f"{host.bytes_from_peers / 1e6:.1f}")
    return table


def hosts_line(hosts: Sequence[HostView], *, seconds: float) -> str:
    """Return how many hosts are in which stage, and what has arrived."""
    stages: dict[str, int] = {}
    for host in hosts:
        stages[host.stage] = stages.get(host.stage, 0) + 1
    where = ", ".join(f"{count} {stage}" for stage, count in stages.items())
    arrived, shared = sum(host.bytes_in for host in hosts), sum(host.bytes_from_peers for host in hosts)
    return f"{seconds:5.0f} s: {where}; {arrived / 1e6:.0f} MB arrived, {shared / 1e6:.0f} of them from other hosts"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout, headings first."""
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
