"""From a machine's first DHCP packet to its kickstart: real clients, the frontend's dnsmasq, insert-ethers watching."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.state import State
from lab.contained import dependent, run
from lab.network import FRONTEND_ADDRESS, Link, Network, host_address
from tests.frontend.rig import avalanche, copy_template, make_template

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent.parent
HEAD = Link("head", FRONTEND_ADDRESS, 1000)
# Installed from the top of the network down, so the n-th machine that asks gets the n-th address.
FIRST, SECOND = (Link(f"machine{number}", host_address(number), 1000) for number in range(2))
SCRIPT = """#!/bin/sh
[ "$1" = bound ] && ip address add "$ip/16" dev eth0
exit 0
"""
URL = f"http://{FRONTEND_ADDRESS}/install/sbin/kickstart.cgi?arch=x86_64&np=4"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def network() -> Iterator[Network]:
    with Network([HEAD, FIRST, SECOND]) as found:
        for link in (FIRST, SECOND):
            found.namespace(link.name).batch("ip", ["address flush dev eth0"])
        yield found


@pytest.fixture
def state(template: Path, tmp_path: Path) -> Iterator[State]:
    found = copy_template(template, tmp_path)
    # dnsmasq gives up being root, and reads its files then: pytest's folders are closed to it.
    with tempfile.TemporaryDirectory(prefix="avalanche-test-") as folder:
        Path(folder).chmod(0o755)
        text = found.config_file.read_text().replace("127.0.0.1", str(FRONTEND_ADDRESS))
        found.config_file.write_text(f'{text}\n[dhcp]\nrun = "{folder}/run"\ninterfaces = ["eth0"]\n')
        avalanche("network", "add", "private", "--subnet", "10.1.0.0/16", "--state", found.root)
        yield found


def begin(network: Network, state: State, *words: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "avalanche", *words, "--state", str(state.root)]
    with log.open("wb") as file:
        inside = dependent(*network.namespace("head").command(*command))
        return subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=ROOT)


def rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def wait(true: Any, what: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def boot(network: Network, link: Link, client: list[str]) -> subprocess.CompletedProcess[str]:
    """Get an address, then ask for the kickstart as an installer does."""
    namespace = network.namespace(link.name)
    run(dependent(*namespace.command(*client)), timeout=120)
    header = f"X-RHN-Provisioning-MAC-0: eth0 {link.mac} veth ks"
    ask = namespace.command("curl", "--silent", "--fail-with-body", "--header", header, URL)
    return subprocess.run(dependent(*ask), check=False, capture_output=True, text=True, timeout=30)


def test_machines_that_ask_by_dhcp_become_hosts_and_get_their_kickstart(
    network: Network, state: State, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    udhcpc = ["udhcpc", "-f", "-n", "-q", "-t", "60", "-T", "1", "-i", "eth0", "-s", str(script), "-V", "PXEClient:x"]
    # dhcpcd keeps its lease in a file: with one, it would not begin with a DISCOVER.
    own = "mkdir -p /run/dhcpcd; mount -t tmpfs tmpfs /var/lib/dhcpcd; mount -t tmpfs tmpfs /run/dhcpcd; exec "
    dhcpcd = ["unshare", "--mount", "sh", "-c", f"{own} dhcpcd -4 -A -1 -p -t 60 -c /bin/true eth0"]
    frontend = begin(network, state, "frontend", log=tmp_path / "frontend.log")
    ethers = begin(
        network, state, "ethers", "--json", "--count", "2", "--until", "kickstart", "--timeout", "2m",
        log=tmp_path / "ethers.log",
    )  # fmt: skip
    told = lambda: (tmp_path / "frontend.log").read_text() + (tmp_path / "ethers.log").read_text()  # noqa: E731
    try:
        wait(lambda: rows(tmp_path / "ethers.log") and "frontend ready" in told() and "DHCP" in told(), told)
        first = boot(network, FIRST, udhcpc)
        assert (first.returncode, "compute-0-0" in first.stdout) == (0, True), told()
        second = boot(network, SECOND, dhcpcd)
        assert (second.returncode, "compute-0-1" in second.stdout) == (0, True), told()
        assert ethers.wait(timeout=60) == 0, told()
    finally:
        for process in (ethers, frontend):
            process.terminate()
            process.wait(timeout=40)
    found = rows(tmp_path / "ethers.log")
    hosts = [(row["host"], row["mac"], row["address"]) for row in found if row["event"] == "registered"]
    assert hosts == [
        ("compute-0-0", FIRST.mac, str(FIRST.address)),
        ("compute-0-1", SECOND.mac, str(SECOND.address)),
    ]
    kinds = {(row["kind"], row["verdict"]) for row in found if row["event"] == "packet"}
    assert {("DISCOVER", "taken"), ("OFFER", "answer"), ("REQUEST", "known"), ("ACK", "answer")} <= kinds
    assert {row["kickstart"] for row in found if row["event"] == "progress"} == {200}
    assert (found[-1]["event"], found[-1]["missing"], found[-1]["reason"]) == ("end", [], "done")
    events = json.loads(avalanche("host", "events", "compute-0-0", "--json", "--state", state.root))
    assert [event["stage"] for event in events][:3] == ["dhcp", "register", "stub"]
    assert "its agent has not asked" in avalanche("host", "why", FIRST.mac, "--state", state.root)


def test_an_unknown_machines_kickstart_request_is_a_sighting_and_makes_it_a_host(
    network: Network, state: State, tmp_path: Path
) -> None:
    """A machine that another DHCP server gave an address is found by its request."""
    network.namespace(FIRST.name).batch("ip", [f"address add {FIRST.address}/16 dev eth0"])
    frontend = begin(network, state, "frontend", log=tmp_path / "frontend.log")
    ask = ["true"]
    try:
        wait(lambda: "frontend ready" in (tmp_path / "frontend.log").read_text(), lambda: "no frontend")
        refused = boot(network, FIRST, ask)
        assert "no host has MAC" in refused.stdout
        told = avalanche("host", "why", FIRST.mac, "--state", state.root)
        assert "run insert-ethers, and boot it again" in told
        ethers = begin(
            network, state, "ethers", "--json", "--source", "none", "--count", "1", "--until", "kickstart",
            "--timeout", "1m", log=tmp_path / "ethers.log",
        )  # fmt: skip
        wait(lambda: rows(tmp_path / "ethers.log"), lambda: "no insert-ethers")

        def asks() -> bool:
            time.sleep(1)  # a machine asks again after a while; the frontend notes it once in five seconds
            return boot(network, FIRST, ask).returncode == 0

        wait(asks, (tmp_path / "ethers.log").read_text)
        assert ethers.wait(timeout=60) == 0
    finally:
        frontend.terminate()
        frontend.wait(timeout=40)
    found = rows(tmp_path / "ethers.log")
    assert [row["mac"] for row in found if row["event"] == "registered"] == [FIRST.mac]
    assert any(row["kind"] == "KICKSTART" and row["verdict"] == "taken" for row in found if row["event"] == "packet")
