"""Namespaces and links."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from lab.network import FRONTEND_ADDRESS, Link, Namespace, Network, host_address, shaping


def test_hosts_are_numbered_from_the_top_of_the_network_down() -> None:
    assert [str(host_address(index)) for index in (0, 1, 249)] == ["10.1.255.254", "10.1.255.253", "10.1.255.5"]


def test_a_mac_address_tells_the_ip_address() -> None:
    assert Link("frontend", FRONTEND_ADDRESS, 100).mac == "02:00:0a:01:01:01"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (100, "qdisc add dev eth0 root tbf rate 100000000bit burst 144000 limit 144000"),
        # A faster link needs a bucket for a clock tick.
        (1000, "qdisc add dev eth0 root tbf rate 1000000000bit burst 500000 limit 1000000"),
    ],
)
def test_the_bucket_holds_the_largest_packet_and_a_tick(rate: float, expected: str) -> None:
    assert shaping("eth0", rate) == expected


def show(namespace: Namespace, *command: str) -> str:
    return subprocess.run(namespace.command(*command), check=True, capture_output=True, text=True).stdout


LINKS = [Link("frontend", FRONTEND_ADDRESS, 100), Link("compute-0-0", host_address(0), 20)]


@pytest.mark.lab
def test_links_are_shaped_both_ways() -> None:
    with Network(LINKS) as network:
        host = network.namespace("compute-0-0")
        assert "tbf" in show(host, "tc", "qdisc", "show", "dev", "eth0")
        assert "rate 20Mbit" in show(host, "tc", "qdisc", "show", "dev", "eth0")
        ports = show(network.namespace("switch"), "tc", "qdisc", "show")
        assert "rate 20Mbit" in ports and "rate 100Mbit" in ports
        network.slow_down("compute-0-0", 5)
        assert "rate 5Mbit" in show(host, "tc", "qdisc", "show", "dev", "eth0")
        assert "rate 5Mbit" in show(network.namespace("switch"), "tc", "qdisc", "show")


@pytest.mark.lab
def test_neighbours_are_fixed_and_the_congestion_control_is_cubic() -> None:
    with Network(LINKS) as network:
        host = network.namespace("compute-0-0")
        assert "10.1.1.1 dev eth0 lladdr 02:00:0a:01:01:01 PERMANENT" in show(host, "ip", "neigh")
        assert "congctl cubic" in show(host, "ip", "route")


@pytest.mark.lab
def test_what_a_host_receives_is_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    with Network(LINKS) as network:
        before = network.counters()
        serve = ("python3", "-u", "-m", "http.server", "80", "--directory", str(tmp_path))
        server = subprocess.Popen(
            network.namespace("frontend").command(*serve), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with server:
            assert server.stdout is not None and server.stdout.readline()
            show(
                network.namespace("compute-0-0"),
                "curl",
                "--silent",
                "--output",
                "/dev/null",
                f"http://{FRONTEND_ADDRESS}/file",
            )
            server.kill()
        after = network.counters()
    received = after["compute-0-0"][0] - before["compute-0-0"][0]
    sent = after["frontend"][1] - before["frontend"][1]
    assert 1_000_000 < received < 1_200_000
    # The fast sender may have sent twice what the slow port dropped.
    assert received <= sent


@pytest.mark.lab
def test_racks_are_joined_by_a_trunk_that_is_shaped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    links = [*LINKS, Link("compute-1-0", host_address(1), 100, rack=1)]
    with Network(links, trunk_mbit=10) as network:
        switch = show(network.namespace("switch"), "tc", "qdisc", "show")
        assert switch.count("rate 10Mbit") == 2
        serve = ("python3", "-u", "-m", "http.server", "80", "--directory", str(tmp_path))
        server = subprocess.Popen(
            network.namespace("frontend").command(*serve), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with server:
            assert server.stdout is not None and server.stdout.readline()
            seconds = {}
            for name, into_rack in (("compute-0-0", (0, 100_000)), ("compute-1-0", (1_000_000, 1_200_000))):
                (before,) = network.trunks().values()
                began = time.monotonic()
                get = ("curl", "--silent", "--output", "/dev/null", f"http://{FRONTEND_ADDRESS}/file")
                show(network.namespace(name), *get)
                seconds[name] = time.monotonic() - began
                (after,) = network.trunks().values()
                assert into_rack[0] <= after[0] - before[0] <= into_rack[1]
            server.kill()
    # The trunk carries half of what the other host's own link carries.
    assert seconds["compute-1-0"] > 0.7


@pytest.mark.lab
def test_a_slow_way_out_leaves_the_way_in_as_it_is() -> None:
    with Network(LINKS) as network:
        network.slow_down("compute-0-0", 5, only_up=True)
        assert "rate 5Mbit" in show(network.namespace("compute-0-0"), "tc", "qdisc", "show", "dev", "eth0")
        ports = show(network.namespace("switch"), "tc", "qdisc", "show")
        assert "rate 20Mbit" in ports and "rate 5Mbit" not in ports


@pytest.mark.lab
def test_no_interface_is_left_behind() -> None:
    before = set(Path("/sys/class/net").iterdir())
    with Network(LINKS) as network:
        holder = network.namespace("switch").pid
        assert set(Path("/sys/class/net").iterdir()) == before
    assert not Path(f"/proc/{holder}").exists()
