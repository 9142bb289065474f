"""What a person sees."""

from __future__ import annotations

import io

from rich.console import Console

from lab.display import HostView, hosts_line, hosts_table

HOSTS = [
    HostView("compute-0-0", "packages", "12/408 fetched", 5_000_000),
    HostView("compute-0-1", "packages", "", 9_000_000, bytes_from_peers=4_000_000),
    HostView("compute-0-2", "killed", "", 0),
]


def test_a_line_counts_hosts_by_stage() -> None:
    assert hosts_line(HOSTS, seconds=7.4) == "    7 s: 2 packages, 1 killed; 14 MB arrived, 4 of them from other hosts"


def test_the_table_splits_what_came_from_the_frontend_and_from_peers() -> None:
    written = io.StringIO()
    Console(width=100, file=written).print(hosts_table(HOSTS, seconds=7.4))
    text = written.getvalue()
    assert "12/408 fetched" in text
    (second,) = (line for line in text.splitlines() if "compute-0-1" in line)
    assert "5.0" in second and "4.0" in second
