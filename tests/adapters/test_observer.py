"""The observer sees every DHCP packet of its interface, and nothing else; real clients and real frames."""

from __future__ import annotations

import select
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from avalanche.adapters.observer import Observer, ObserverStopped, interfaces_in
from avalanche.errors import ConfigError
from avalanche.ethers import Sighting
from lab.contained import dependent
from lab.network import Link, Network
from tests.dhcp_frames import frame, message
from tests.namespaces import inside

pytestmark = pytest.mark.lab

HOST = Link("host", IPv4Address("10.1.255.254"), 1000)
FRONTEND = Link("frontend", IPv4Address("10.1.1.1"), 1000)
CLIENTS = {
    "udhcpc": ("udhcpc", "-f", "-n", "-q", "-i", "eth0", "-s", "/bin/true"),
    "dhclient": (
        "dhclient", "-d", "-1", "-cf", "/dev/null", "-lf", "/dev/null", "-pf", "/dev/null", "-sf", "/bin/true", "eth0",
    ),
    # In a mount namespace of its own: it keeps leases and numbers of processes in files.
    "dhcpcd": (
        "unshare", "--mount", "sh", "-c", "mkdir -p /run/dhcpcd; mount -t tmpfs none /run/dhcpcd; "
        "mount -t tmpfs none /var/lib/dhcpcd; exec dhcpcd -B -4 -1 -t 5 -c /bin/true eth0",
    ),
}  # fmt: skip


@pytest.fixture
def network() -> Iterator[Network]:
    with Network([FRONTEND, HOST]) as found:
        yield found


@pytest.fixture
def observer(network: Network) -> Iterator[Observer]:
    with inside(network.namespace("frontend")):
        found = Observer("eth0")
    yield found
    found.close()


def seen(observer: Observer, count: int, *, seconds: float = 20.0) -> list[Sighting]:
    """Wait until so many sightings came."""
    found: list[Sighting] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and (left := deadline - time.monotonic()) > 0:
        if select.select([observer], [], [], left)[0]:
            found += observer.read(time.time())
    return found


def send(network: Network, *frames: bytes) -> None:
    with inside(network.namespace("host")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("eth0", 0))
        for one in frames:
            wire.send(one)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_real_client_that_asks_is_seen(network: Network, observer: Observer, client: str) -> None:
    namespace = network.namespace("host")
    namespace.batch("ip", ["address flush dev eth0"])
    process = subprocess.Popen(
        dependent(*namespace.command(*CLIENTS[client])), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        first = seen(observer, 1)[0]
    finally:
        process.kill()
        process.wait()
    assert (first.kind, first.mac, first.interface, first.problem) == ("DISCOVER", HOST.mac, "eth0", "")


def test_only_dhcp_comes_up_with_and_without_vlan_tags(network: Network, observer: Observer) -> None:
    mark = frame(message([(53, b"\1"), (12, b"last")]))
    send(
        network,
        frame(message(), port=69),
        frame(message(), vlans=(5,), port=53),
        b"\xff" * 6 + bytes(6) + b"\x86\xdd" + bytes(60),
        frame(message([(53, b"\3")])),
        frame(message([(53, b"\1"), (12, b"tagged")]), vlans=(7,)),
        frame(message([(53, b"\1"), (12, b"twice")]), vlans=(7, 42)),
        frame(message(operation=2), port=68),
        frame(message(operation=9)),
        mark,
    )
    found = seen(observer, 6)
    assert [(one.kind, one.hostname, one.interface, one.problem) for one in found] == [
        ("REQUEST", "", "eth0", ""),
        ("DISCOVER", "tagged", "eth0.7", ""),
        ("DISCOVER", "twice", "eth0.7.42", ""),
        ("DISCOVER", "", "eth0", ""),
        ("", "", "eth0", "operation 9 is neither a request nor a reply"),
        ("DISCOVER", "last", "eth0", ""),
    ]
    assert found[3].is_answer
    assert observer.lost() == 0


def test_a_fragment_and_a_packet_with_ip_options_are_told_apart(network: Network, observer: Observer) -> None:
    payload = message([(53, b"\1"), (12, b"options")])
    send(
        network,
        frame(payload, fragment=0x20),  # a later one has no ports: the kernel drops it
        frame(payload, fragment=0x2000),
        frame(payload, ip_options=b"\1\1\1\1"),
    )
    found = seen(observer, 2)
    assert [(one.hostname, one.problem) for one in found] == [("", "a fragment of a packet"), ("options", "")]


def test_own_requests_are_left_out_and_own_answers_shown(network: Network, observer: Observer) -> None:
    with inside(network.namespace("frontend")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("eth0", 0))
        wire.send(frame(message([(53, b"\1")])))
        wire.send(frame(message([(53, b"\2"), (54, bytes((10, 1, 1, 1)))], operation=2), port=68))
    found = seen(observer, 1)
    assert [(one.kind, one.server) for one in found] == [("OFFER", "10.1.1.1")]


def test_an_interface_that_goes_down_is_said(network: Network, observer: Observer) -> None:
    network.namespace("frontend").batch("ip", ["link set eth0 down"])
    with pytest.raises(ObserverStopped, match="interface eth0 is down"):
        seen(observer, 1)


def test_what_cannot_be_watched_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot watch interface 'nix0': No such device; there are: lo"):
        Observer("nix0")


def test_the_interface_of_a_network_is_found_by_its_address(network: Network) -> None:
    with inside(network.namespace("frontend")):
        assert interfaces_in(IPv4Network("10.1.0.0/16")) == ["eth0"]
        assert interfaces_in(IPv4Network("10.9.0.0/16")) == []
