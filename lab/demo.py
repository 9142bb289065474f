"""``python -m lab demo``: install hosts, measure, verify, and say how it went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from avalanche.errors import AvalancheError
from lab.cache import Cache
from lab.cluster import Cluster, Course
from lab.contained import run
from lab.display import Display, HostView, print_table
from lab.host import Host, Roots
from lab.packages.repository import rpm_repository
from lab.preflight import require_demo, require_machine
from lab.progress import progress, say
from lab.result import (
    Closures,
    Conditions,
    HostResult,
    Measured,
    complaints,
    least_disturbed,
    result_document,
    seconds_at,
    table,
)
from lab.roots import configured_root, installer_layer
from lab.settings import Settings
from lab.verify import digests, dnf_packages, install_problem, installed_nevras, package_problem

_JOBS = 2


class DemoFailed(AvalancheError):
    """The demo ran to its end, and something is not as it must be; the message holds a line per complaint."""


def roots_of(cache: Cache) -> Roots:
    """Return what hosts share, made if the cache has none."""
    return Roots(configured_root(cache), installer_layer(cache))


def run_demo(settings: Settings, var: Path, cache: Cache) -> None:
    """Run a demo and write ``var/demo/result.json``.

    Raises:
        ConfigError: this machine cannot run it; nothing was changed.
        DemoFailed: a host failed, or its packages are not the closure's.
    """
    require_machine()
    require_demo(settings, var)
    repository, roots = rpm_repository(cache), roots_of(cache)
    with Cluster(settings, var, repository=repository, roots=roots) as cluster:
        with progress("frontend", 1):
            cluster.prepare()
        single = _measure_single(cluster)
        course = observe(cluster)
        hosts = judge(cluster, course)
        document = _document(cluster, course, hosts, single)
        (var / "demo/result.json").write_text(json.dumps(document, indent=1) + "\n")
        print_table(table(document))
        _print_summary(document)
        closures = _closures(cluster)
    if found := complaints(hosts, closures, single=single, rate_mbit=settings.rate_mbit):
        raise DemoFailed("\n".join(found))


def _measure_single(cluster: Cluster) -> float:
    size, rate = cluster.largest.total_bytes, cluster.settings.rate_mbit
    with progress(f"one host alone, plain HTTP: {size / 1e6:.0f} MB at {rate} Mbit/s", 1):
        return least_disturbed(cluster.measure_single, seconds_at(size, rate))


def observe(cluster: Cluster) -> Course:
    """Run the hosts from power-on to their end, and show it."""
    with Display() as display:

        def ready(hosts: Sequence[HostView]) -> None:
            display.show(hosts, seconds=0)

        def installing(hosts: Sequence[HostView], seconds: float) -> None:
            display.show(hosts, seconds=seconds)

        cluster.start_hosts()
        cluster.wait_until_ready(ready)
        return cluster.install(installing)


def judge(cluster: Cluster, course: Course) -> list[HostResult]:
    """Verify every host and return the results in the hosts' order."""
    with progress("verifying", len(cluster.hosts)) as advance, ThreadPoolExecutor(_JOBS) as pool:
        found = []
        for result in pool.map(lambda host: judge_host(cluster, host, course), cluster.hosts):
            found.append(result)
            advance(len(found))
        return found


def judge_host(cluster: Cluster, host: Host, course: Course) -> HostResult:
    """Read what a host downloaded and installed, and what it told the frontend."""
    events = cluster.frontend.events(host.name)
    loaded = next((event for event in events if (event["stage"], event["status"]) == ("packages", "ok")), None)
    root = host.folder / "root"
    kept = dnf_packages(root)
    result = host.result()
    problem = _problem(cluster, host, kept, result)
    began = course.starts.get(host.name, course.barrier)
    seconds = None if result is None or result["problem"] else result["ended"] - began
    installs = cluster.settings.mode == "install"
    # The judged packages are not part of an installed system.
    run(["rm", "-rf", str(root / "var/cache/dnf")])
    return HostResult(
        name=host.name,
        appliance=host.appliance,
        plane=cluster.settings.plane,
        download_seconds=None if loaded is None else round(loaded["host_at"] - began, 3),
        install_seconds=round(seconds, 3) if installs and seconds is not None else None,
        packages=len(kept),
        bytes_from_peers=_largest(events, "bytes_from_peers"),
        bytes_from_frontend=_largest(events, "bytes_from_frontend"),
        verified=not problem,
        killed=host.is_killed,
        agent_rss_mib=host.agent_rss_mib,
        agent_cpu_seconds=host.agent_cpu_seconds,
        problem=problem,
    )


def _largest(events: Sequence[Mapping[str, Any]], name: str) -> int:
    return max((int((event["data"] or {}).get(name, 0)) for event in events), default=0)


def _problem(cluster: Cluster, host: Host, kept: Sequence[Path], result: Mapping[str, Any] | None) -> str:
    """Return the first thing that is wrong with a host, or nothing."""
    if host.is_killed:
        return "killed"
    if result is None:
        return f"ended without a result: {host.last_words()}"
    if result["problem"]:
        return str(result["problem"])
    closure = cluster.closure(host)
    found = package_problem(digests(kept), closure)
    if not found and cluster.settings.mode == "install":
        found = install_problem(installed_nevras(host.folder / "root"), closure)
    if not found and (host.folder / "ks.cfg").read_bytes() != cluster.frontend.kickstart(host.name):
        found = f"the kickstart it used differs from 'avalanche kickstart {host.name}'"
    return found


def _closures(cluster: Cluster) -> Closures:
    return Closures(union=cluster.union_bytes, largest=cluster.largest.total_bytes, total=cluster.wanted_bytes)


def _document(cluster: Cluster, course: Course, hosts: Sequence[HostResult], single: float) -> dict[str, object]:
    settings = cluster.settings
    faults = ",".join(str(fault) for fault in settings.faults)
    conditions = Conditions(settings.rate_mbit, settings.mode, faults, cluster.generation.id)
    last = max((host.download_seconds for host in hosts if host.download_seconds is not None), default=0.0)
    measured = Measured(single, course.frontend_sent, course.busy_until(course.barrier + last))
    return result_document(hosts, _closures(cluster), conditions, measured)


def _print_summary(document: Mapping[str, object]) -> None:
    names = (
        "single_host_http_seconds",
        "limit_seconds",
        "ratio",
        "frontend_copies",
        "frontend_wire_copies",
        "cpu_bound",
    )
    for name in names:
        say(f"{name.replace('_', ' ')}: {document[name]}")
