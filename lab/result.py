"""The figures of a demo: ``result.json`` and the table. Pure; DESIGN §7 defines every key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

SINGLE_EXCESS = 1.08
"""So much longer than its bytes one host alone may take over plain HTTP; else the lab itself is the limit."""
SINGLE_TRIES = 3
"""So often it is measured before that is believed."""
BUSY = 0.9
"""Above this share of the processors' time a measurement says more about them than about the plane."""


@dataclass(frozen=True, slots=True)
class HostResult:
    """What became of one host. Times in seconds from the barrier; None where the host did not get so far."""

    name: str
    appliance: str
    plane: str
    download_seconds: float | None
    install_seconds: float | None
    packages: int
    bytes_from_peers: int
    bytes_from_frontend: int
    verified: bool
    killed: bool
    agent_rss_mib: float | None = None
    """The most memory the agent was seen with, in MiB; the files of its cache are not in it."""
    agent_cpu_seconds: float | None = None
    """Processor time the agent had used when it was last seen."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Closures:
    """What the hosts want, in bytes: all different objects together, the largest wish, and the wishes' sum."""

    union: int
    largest: int
    total: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions a demo ran."""

    rate_mbit: int
    mode: str
    faults: str
    generation: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured beside the hosts' own figures."""

    single_host_http_seconds: float
    frontend_wire_bytes: int
    busy: float


def seconds_at(size: float, rate_mbit: float) -> float:
    """Return how long ``size`` bytes occupy a link."""
    return size * 8 / (rate_mbit * 1e6)


def least_disturbed(measure: Callable[[], float], best: float) -> float:
    """Return what one host alone needs, in seconds: the least of a few tries when it needs much more than ``best``.

    What disturbs the lab only ever lengthens it.
    """
    found = measure()
    for _ in range(SINGLE_TRIES - 1):
        if found <= best * SINGLE_EXCESS:
            break
        found = min(found, measure())
    return found


def limit_seconds(closures: Closures, *, hosts: int, frontend_mbit: float, host_mbit: float) -> float:
    """Return the time no plane can beat.

    The frontend sends the union once, a host receives its closure, and all links out together carry what all want.
    """
    return max(
        seconds_at(closures.union, frontend_mbit),
        seconds_at(closures.largest, host_mbit),
        seconds_at(closures.total, frontend_mbit + hosts * host_mbit),
    )


def result_document(
    hosts: Sequence[HostResult], closures: Closures, conditions: Conditions, measured: Measured
) -> dict[str, object]:
    """Return ``result.json``."""
    rate = conditions.rate_mbit
    limit = limit_seconds(closures, hosts=len(hosts), frontend_mbit=rate, host_mbit=rate)
    slowest = max((host.download_seconds for host in hosts if host.download_seconds is not None), default=None)
    payload = sum(host.bytes_from_frontend for host in hosts)
    return {
        "hosts": [_row(host) for host in hosts],
        "hosts_total": len(hosts),
        "single_host_http_seconds": round(measured.single_host_http_seconds, 3),
        "limit_seconds": round(limit, 3),
        "ratio": None if slowest is None else round(slowest / max(measured.single_host_http_seconds, limit), 4),
        "frontend_copies": round(payload / closures.union, 4),
        "frontend_wire_copies": round(measured.frontend_wire_bytes / closures.union, 4),
        "cpu_bound": measured.busy > BUSY,
        "generation": conditions.generation,
        "rate_mbit": rate,
        "mode": conditions.mode,
        "faults": conditions.faults,
    }


def _row(host: HostResult) -> dict[str, object]:
    row = asdict(host)
    if not row["problem"]:
        del row["problem"]
    return row


def complaints(hosts: Sequence[HostResult], closures: Closures, *, single: float, rate_mbit: int) -> list[str]:
    """Return why the demo failed, a line each; none when it succeeded. A host that was killed is no failure."""
    found = [
        f"{host.name}: {host.problem or 'packages differ'}" for host in hosts if not host.killed and not host.verified
    ]
    best = seconds_at(closures.largest, rate_mbit)
    if single > best * SINGLE_EXCESS:
        found.append(
            f"one host alone took {single:.1f} s over plain HTTP, its bytes need {best:.1f} s: something else keeps "
            "this machine busy, or RATE is more than it can carry"
        )
    return found


def table(document: Mapping[str, object]) -> list[tuple[str, ...]]:
    """Return the rows of the final table, headings first."""
    rows: list[tuple[str, ...]] = [
        ("host", "download s", "install s", "packages", "MB frontend", "MB peers", "verified")
    ]
    hosts = document["hosts"]
    assert isinstance(hosts, list)
    for host in hosts:
        rows.append(
            (
                str(host["name"]),
                _seconds(host["download_seconds"]),
                _seconds(host["install_seconds"]),
                str(host["packages"]),
                f"{host['bytes_from_frontend'] / 1e6:.1f}",
                f"{host['bytes_from_peers'] / 1e6:.1f}",
                "killed" if host["killed"] else "yes" if host["verified"] else "NO",
            )
        )
    return rows


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
