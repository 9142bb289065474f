"""Two hosts, real packages, real dnf: from the order to the installed root, with a frontend that fails on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import ROLLS, Cluster, Course, clear
from lab.demo import judge, observe
from lab.faults import parse_faults
from lab.host import Host, Roots
from lab.result import HostResult
from lab.settings import Settings
from lab.verify import installed_nevras, packages_of
from tests.integration.traces import processes_naming

pytestmark = pytest.mark.lab

SMALL = Path(__file__).with_name("roll")
VAR = Path(__file__).resolve().parents[2] / "var" / "test"
OUTAGES = "frontend-stop:1s@20%,frontend-kill:1s@50%"


@dataclass
class Flight:
    """A finished installation, with its frontend still there."""

    cluster: Cluster
    course: Course
    results: list[HostResult]


@pytest.fixture(scope="module")
def flight(repository: Path, roots: Roots) -> Iterator[Flight]:
    settings = Settings(hosts=2, rate_mbit=300, plane="http", faults=parse_faults(OUTAGES))
    with Cluster(settings, VAR / "flight", repository=repository, roots=roots, rolls=[*ROLLS, SMALL]) as cluster:
        cluster.prepare()
        course = observe(cluster)
        yield Flight(cluster, course, judge(cluster, course))
    clear(cluster.var)


@pytest.fixture(params=["compute-0-0", "compute-0-1"])
def host(request: pytest.FixtureRequest, flight: Flight) -> Host:
    return next(host for host in flight.cluster.hosts if host.name == request.param)


def test_both_hosts_are_installed_though_the_frontend_was_stopped_and_killed(flight: Flight) -> None:
    assert [result.problem for result in flight.results] == ["", ""]
    log = (flight.cluster.var / "demo/frontend.log").read_text()
    assert log.count("frontend ready") == 3


def test_the_rpm_database_equals_the_closure(flight: Flight, host: Host) -> None:
    installed = installed_nevras(host.folder / "root")
    assert installed == {entry.nevra for entry in packages_of(flight.cluster.closure(host))}
    assert len(installed) > 150


def test_the_kickstart_is_the_one_the_frontend_prints(flight: Flight, host: Host) -> None:
    assert (host.folder / "ks.cfg").read_bytes() == flight.cluster.frontend.kickstart(host.name)


def test_every_byte_came_from_the_frontend_and_was_counted(flight: Flight) -> None:
    size = flight.cluster.largest.total_bytes
    for result in flight.results:
        assert result.bytes_from_peers == 0
        # What was cut off in an outage is fetched again from where it stopped, at most a piece per stream more.
        assert size <= result.bytes_from_frontend < size * 1.15


def test_the_timeline_tells_the_whole_story(flight: Flight, host: Host) -> None:
    events = flight.cluster.frontend.events(host.name)
    told = [(event["stage"], event["status"]) for event in events if event["seq"] is not None]
    for step in (("stub", "ok"), ("profile", "ok"), ("kickstart", "ok"), ("packages", "start"), ("packages", "ok")):
        assert told.count(step) == 1, step
    assert ("install", "start") in told
    assert [event["seq"] for event in events if event["seq"] is not None] == sorted(
        event["seq"] for event in events if event["seq"] is not None
    )
    assert (events[-1]["stage"], events[-1]["status"]) == ("done", "ok")


def test_the_order_is_closed(flight: Flight, host: Host) -> None:
    (order,) = flight.cluster.frontend.facts("host", "show", host.name)["orders"]
    assert order["state"] == "done"


def test_the_installed_system_carries_what_the_node_files_say(host: Host) -> None:
    report = (host.folder / "root/etc/avalanche/report").read_text()
    assert f"hostname {host.name}" in report
    assert f"address {host.link.address}" in report


def test_scriptlets_did_their_work(host: Host) -> None:
    boot = host.folder / "root/boot"
    assert list(boot.glob("initrd.img-*")), "the kernel's scriptlet builds an initramfs"
    assert list((host.folder / "root/etc/ssh").glob("ssh_host_*_key"))


def test_the_agent_leaves_no_package_behind(host: Host) -> None:
    assert not list((host.folder / "root/var/cache").glob("avalanche/*"))
    assert not list((host.folder / "upper").glob("tmp/avalanche-cache/*"))


@dataclass
class Damage:
    """A generation one of whose packages has other bytes than its manifest says."""

    result: dict[str, Any]
    package: str
    host: Host


@pytest.fixture(scope="module")
def damage(repository: Path, roots: Roots) -> Iterator[Damage]:
    settings = Settings(hosts=1, rate_mbit=1000)
    with Cluster(settings, VAR / "damage", repository=repository, roots=roots, rolls=[*ROLLS, SMALL]) as cluster:
        cluster.prepare()
        entry = next(
            entry for entry in packages_of(cluster.largest) if entry.path.rpartition("/")[2].startswith("bash-5")
        )
        with cluster.generation.object_path(entry.path).open("r+b") as file:
            file.seek(entry.size // 2)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 0xFF]))
        observe(cluster)
        (host,) = cluster.hosts
        result = host.result()
        assert result is not None
        yield Damage(result, entry.path, host)
    clear(cluster.var)


def test_a_host_stops_with_a_reason_when_a_package_is_not_the_manifest_s(damage: Damage) -> None:
    assert damage.result["problem"]
    agent = (damage.host.folder / "agent.log").read_text()
    assert damage.package in agent


def test_no_byte_of_a_damaged_package_is_installed(damage: Damage) -> None:
    root = damage.host.folder / "root"
    assert not (root / "usr/bin/bash").exists()
    assert not list((root / "var/cache/dnf").glob("*/packages/bash-5*.rpm"))


def test_nothing_outlives_a_cluster(repository: Path, roots: Roots) -> None:
    settings = Settings(hosts=1, rate_mbit=1000)
    with Cluster(settings, VAR / "end", repository=repository, roots=roots, rolls=[*ROLLS, SMALL]) as cluster:
        cluster.frontend.init([*ROLLS, SMALL])
        cluster.frontend.start()
        cluster.start_hosts()
        assert processes_naming(cluster.var)
    # The kernel ends a namespace's processes after the one that holds it, and nobody is told.
    ended = time.monotonic() + 10
    while processes_naming(cluster.var) and time.monotonic() < ended:
        time.sleep(0.05)
    assert not processes_naming(cluster.var)
    assert str(cluster.var) not in Path("/proc/mounts").read_text()
    clear(cluster.var)
