"""Results of a cell as the benchmark writes them, to be judged and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONDITIONS = {
    "date": "2026-01-02", "commit": "abc1234", "cores": 2, "kernel": "6.1", "python": "3.11.2",
    "yardstick_seconds": 0.5, "load": [0.1, 0.2, 0.3], "work": "memory",
}  # fmt: skip


def result_document(**changes: Any) -> dict[str, Any]:
    """What one plane took: four hosts, the slowest of them 10.2 s."""
    names = [f"compute-0-{number}" for number in range(4)]
    return {
        "seconds": dict(zip(names, (10.0, 10.1, 10.2, 9.9), strict=True)),
        "alone": dict.fromkeys(names, 9.8), "hit": {}, "killed": [], "problems": {}, "verified": 4,
        "frontend_copies": 1.01, "frontend_wire_copies": 1.06, "trunk_copies": {}, "busy": 0.5, "cpu_bound": False,
        "cpu_seconds_per_host": {"median": 0.2, "max": 0.3}, "rss_mib_per_host": 25.0, "server_cpu_seconds": 1.0,
        "server_rss_mib": 60.0, "outages": [], "setup_seconds": 3.0, "took_seconds": 15.0, **changes,
    }  # fmt: skip


def cell_document(planes: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """One cell: a host alone takes 10 s."""
    return {
        "name": "scaled-16", "about": "N = 16", "hosts": 16, "size": 32_000_000, "files": 330, "rate_mbit": 24.0,
        "seed": 1, "faults": "", "racks": 1, "stagger": 0.0, "changes": {}, "conditions": CONDITIONS,
        "closures": {"union": 32_000_000, "largest": 32_000_000, "total": 512_000_000}, "limit_seconds": 9.8,
        "single_host_http_seconds": 10.0, "planes": {"relay": result_document()} if planes is None else dict(planes),
        **changes,
    }  # fmt: skip
