"""Hosts that install together feed each other: real agents, real dnf, two appliances, one host killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.cluster import ROLLS, Cluster
from lab.demo import judge
from lab.display import HostView
from lab.faults import parse_faults
from lab.host import Roots
from lab.result import HostResult
from lab.settings import Settings
from tests.integration.traces import listening

pytestmark = pytest.mark.lab

VAR = Path(__file__).resolve().parents[2] / "var" / "test"
SMALL = Path(__file__).with_name("roll")


@dataclass
class Swarm:
    """An installation of four hosts that is over; ``listening`` is what listened on hosts meanwhile."""

    cluster: Cluster
    results: list[HostResult] = field(default_factory=list)
    listening: set[str] = field(default_factory=set)

    def of(self, name: str) -> HostResult:
        return next(result for result in self.results if result.name == name)


@pytest.fixture(scope="module")
def swarm(repository: Path, roots: Roots) -> Iterator[Swarm]:
    settings = Settings(hosts=4, rate_mbit=200, mode="download", faults=parse_faults("kill:1@30%,tracker-stop:2s@50%"))
    with Cluster(settings, VAR / "relay", repository=repository, roots=roots, rolls=[*ROLLS, SMALL]) as cluster:
        cluster.prepare()
        found = Swarm(cluster)
        cluster.start_hosts()
        cluster.wait_until_ready(lambda _: None)

        def look(views: Sequence[HostView], seconds: float) -> None:
            for host in cluster.hosts:
                pid = host.folder / "agent.pid"
                if pid.exists():
                    found.listening |= listening(pid.read_text().strip(), str(host.link.address))

        course = cluster.install(look)
        found.results = judge(cluster, course)
        yield found


def test_survivors_have_exactly_their_closure(swarm: Swarm) -> None:
    assert {(result.name, result.appliance) for result in swarm.results if result.verified} == {
        ("compute-0-1", "compute"), ("compute-0-2", "compute"), ("login-0-0", "login"),
    }  # fmt: skip
    assert swarm.of("compute-0-0").killed


def test_the_frontend_sends_little_more_than_one_copy(swarm: Swarm) -> None:
    sent = sum(result.bytes_from_frontend for result in swarm.results)
    # The first host may be the one that is killed; what it had to itself is sent again.
    assert sent < 1.6 * swarm.cluster.union_bytes
    assert sum(result.bytes_from_peers for result in swarm.results) > 1.4 * swarm.cluster.largest.total_bytes


def test_nothing_listens_but_the_proxy_and_the_peer_port(swarm: Swarm) -> None:
    assert swarm.listening == {"proxy", "peer port"}


DAMAGE = """\
import os

read = os.pread


def pread(file, size, offset):
    data = read(file, size, offset)
    return data[:16384] + bytes((data[16384] ^ 1,)) + data[16385:] if len(data) > 16384 else data


os.pread = pread
"""
"""What a host with bad memory does: its second block of every frame it relays has a bit that is not the manifest's."""


def test_hosts_that_alter_a_block_while_they_relay_are_named_and_nobody_else_is(repository: Path, roots: Roots) -> None:
    settings = Settings(hosts=4, rate_mbit=200, mode="download")
    with Cluster(settings, VAR / "damaged", repository=repository, roots=roots, rolls=[*ROLLS, SMALL]) as cluster:
        cluster.prepare()
        # Two of them: whoever is last in the chain relays nothing.
        damaged = [host.name for host in cluster.hosts[:2]]
        for host in cluster.hosts[:2]:
            host.overlay["usr/lib/python3/dist-packages/damage.pth"] = "import damage\n"
            host.overlay["usr/lib/python3/dist-packages/damage.py"] = DAMAGE
        cluster.start_hosts()
        cluster.wait_until_ready(lambda _: None)
        results = judge(cluster, cluster.install(lambda views, seconds: None))
        assert all(result.verified for result in results), [str(result) for result in results]
        named = {
            host.name
            for host in cluster.hosts
            for event in cluster.frontend.events(host.name)
            if event["status"] == "corrupt"
        }
    assert named
    assert named <= set(damaged)
