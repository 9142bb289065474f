"""A real frontend with its dnsmasq in a namespace, and real clients that ask it for an address."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import network as wires
from lab.contained import dependent
from lab.network import FRONTEND_ADDRESS, Link, host_address
from tests.frontend.rig import avalanche

pytestmark = pytest.mark.lab

FIRST, SECOND = Link("compute-0-0", host_address(0), 100), Link("compute-0-1", host_address(1), 100)
HEAD = Link("head", FRONTEND_ADDRESS, 100)
ROOT = Path(__file__).parent.parent.parent
SCRIPT = '#!/bin/sh\n[ "$1" != bound ] || echo "got $ip $hostname file=$boot_file next=$siaddr router=$router"\n'


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)


@dataclass
class World:
    """A state directory, and the machines around it."""

    state: Path
    folder: Path
    network: wires.Network

    def cli(self, *arguments: object) -> str:
        return avalanche(*arguments, "--state", self.state)

    def settings(self, text: str) -> None:
        """Write [dhcp]."""
        file = self.state / "avalanche.toml"
        rest = file.read_text().partition("[dhcp]")[0]
        file.write_text(f'{rest}[dhcp]\nrun = "{self.folder}/run"\n{text}\n')

    def ask(self, link: Link, *options: str) -> str:
        """What a machine gets from DHCP; "" when nothing."""
        client = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1"]
        command = [*client, "-s", str(self.folder / "script"), *options]
        inside = dependent(*self.network.namespace(link.name).command(*command))
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=30).stdout

    @property
    def files(self) -> dict[str, str]:
        """dnsmasq's files of hosts, as they are now; those with a dot are being written, and dnsmasq passes them by."""
        return {path.name: path.read_text() for path in (self.folder / "run" / "dnsmasq-hosts").glob("[!.]*")}

    @property
    def pid(self) -> int:
        """The dnsmasq that runs; 0: none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "run" / "dnsmasq.pid").read_text())
            if str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return 0

    def begin(self) -> subprocess.Popen[str]:
        """Start a frontend; its log goes to ``log``."""
        command = [sys.executable, "-m", "avalanche", "frontend", "--state", str(self.state)]
        with (self.folder / "log").open("w") as log:
            inside = dependent(*self.network.namespace("head").command(*command))
            return subprocess.Popen(inside, stdout=log, stderr=log, text=True, cwd=ROOT)

    @contextlib.contextmanager
    def frontend(self) -> Iterator[subprocess.Popen[str]]:
        """A frontend whose dnsmasq answers."""
        process = self.begin()
        try:
            until(lambda: process.poll() is not None or (self.pid and "DHCP" in self.log), 30)
            assert process.poll() is None, self.log
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)
            until(lambda: not self.pid)

    @contextlib.contextmanager
    def serving(self, server: str) -> Iterator[None]:
        """A dhcpd or Kea that has its report, in the place of the frontend."""
        conf, leases = self.folder / f"{server}.conf", self.folder / f"{server}.leases"
        text = self.cli("report", server)
        if server == "kea":
            document = json.loads(text)
            document["Dhcp4"]["lease-database"]["name"] = str(leases)
            text = json.dumps(document)
            command = [shutil.which("kea-dhcp4") or "", "-c", str(conf)]
        else:
            command = ["/usr/sbin/dhcpd", "-f", "-cf", str(conf), "-lf", str(leases), "-pf", f"{leases}.pid", "eth0"]
        # At its own place, a security profile may keep the program to files of its own.
        command[0] = shutil.copy(command[0], str(self.folder / server))
        conf.write_text(text)
        leases.touch()
        environment = {**os.environ, "KEA_LOCKFILE_DIR": "none", "KEA_PIDFILE_DIR": str(self.folder)}
        with (self.folder / "log").open("w") as log:
            inside = dependent(*self.network.namespace("head").command(*command))
            process = subprocess.Popen(inside, stdout=log, stderr=log, env=environment)
        try:
            yield
            assert process.poll() is None, self.log
        finally:
            process.terminate()
            process.wait(timeout=30)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def folder() -> Iterator[Path]:
    # dnsmasq's own user looks at its files, and pytest closes its folders to others.
    with tempfile.TemporaryDirectory(prefix="avalanche-dhcp-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    (folder / "script").write_text(SCRIPT)
    (folder / "script").chmod(0o755)
    with wires.Network([HEAD, FIRST, SECOND]) as network:
        world = World(folder / "state", folder, network)
        avalanche("init", "--state", world.state, "--address", FRONTEND_ADDRESS, "--roll", ROOT)
        world.cli("network", "add", "private", "--subnet", "10.1.0.0/16", "--zone", "local")
        world.cli("host", "add", FIRST.name, "--mac", FIRST.mac, "--ip", FIRST.address)
        world.settings('interfaces = ["eth0"]')
        try:
            yield world
        finally:
            if world.pid:
                os.kill(world.pid, signal.SIGKILL)


def test_a_host_gets_its_address_and_a_stranger_gets_nothing(world: World) -> None:
    with world.frontend():
        assert world.ask(FIRST).startswith(f"got {FIRST.address} {FIRST.name} ")
        assert "router=\n" in world.ask(FIRST)
        assert world.ask(SECOND) == ""


def test_the_inventory_shows_without_a_restart(world: World) -> None:
    with world.frontend():
        pid = world.pid
        world.cli("host", "add", SECOND.name, "--mac", SECOND.mac, "--ip", SECOND.address)
        until(lambda: SECOND.name in world.files)
        assert world.ask(SECOND).startswith(f"got {SECOND.address} {SECOND.name} ")

        world.cli("host", "remove", SECOND.name)
        until(lambda: SECOND.name not in world.files)
        until(lambda: world.ask(SECOND) == "")

        # The address of a host that is gone goes to another one.
        world.cli("host", "remove", FIRST.name)
        world.cli("host", "add", "other", "--mac", SECOND.mac, "--ip", FIRST.address)
        until(lambda: world.ask(SECOND).startswith(f"got {FIRST.address} other "))
        assert world.ask(FIRST) == ""
        assert world.pid == pid


def test_a_pool_is_for_strangers(world: World) -> None:
    world.settings('interfaces = ["eth0"]\npools = ["10.1.200.1-10.1.200.9"]')
    with world.frontend():
        assert world.ask(SECOND, "-T", "4").startswith("got 10.1.200.")  # it pings an address before it gives it away
        assert world.ask(FIRST).startswith(f"got {FIRST.address} ")


def test_each_firmware_gets_its_boot_file(world: World) -> None:
    world.settings(
        'interfaces = ["eth0"]\nnext_server = "10.1.9.9"\nbios = "pxelinux.0"\nefi = "grub.efi"\n'
        'http = "http://10.1.1.1/grub.efi"\nipxe = "http://10.1.1.1/script"'
    )
    with world.frontend():
        asked = {name: world.ask(FIRST, *options) for name, options in CLIENTS.items()}
        found = {name: answer.partition("file=")[2].partition(" router")[0] for name, answer in asked.items()}
        assert found == {
            "nobody": " next=10.1.1.1",
            "bios": "pxelinux.0 next=10.1.9.9",
            "efi": "grub.efi next=10.1.9.9",
            "http": "http://10.1.1.1/grub.efi next=10.1.1.1",
            "ipxe": "http://10.1.1.1/script next=10.1.1.1",
        }
        world.cli("attr", "set", "dhcp_filename", "own.0", "--host", FIRST.name)
        until(lambda: "file=own.0 " in world.ask(FIRST, *CLIENTS["bios"]))
        world.cli("attr", "set", "kickstartable", "no", "--host", FIRST.name)
        until(lambda: "file= " in world.ask(FIRST, *CLIENTS["bios"]))


CLIENTS = {
    "nobody": (),
    "bios": ("-x", "0x5d:0000"),
    "efi": ("-x", "0x5d:0007"),
    "http": ("-x", "0x5d:0010"),
    "ipxe": ("-x", "0x5d:0007", "-x", "0x4d:69505845"),
}


def test_a_dnsmasq_that_dies_comes_back(world: World) -> None:
    with world.frontend():
        pid = world.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: world.pid not in (0, pid))
        until(lambda: world.ask(FIRST).startswith(f"got {FIRST.address} "))
        assert "dnsmasq ended; it is started again" in world.log


def test_a_frontend_that_was_killed_leaves_nothing_to_the_next(world: World) -> None:
    process = world.begin()
    until(lambda: world.pid, 30)
    stale = world.pid
    process.kill()
    process.wait()
    assert world.pid == stale
    with world.frontend():
        assert world.pid != stale
        # Nobody may have collected it yet: then it has no command any more.
        command = Path(f"/proc/{stale}/cmdline")
        assert not command.exists() or not command.read_bytes()
        assert world.ask(FIRST).startswith(f"got {FIRST.address} ")


def test_two_frontends_do_not_share_a_dnsmasq(world: World) -> None:
    with world.frontend():
        command = world.network.namespace("head").command(sys.executable, "-m", "avalanche", "frontend", "--state")
        second = subprocess.run([*command, str(world.state)], capture_output=True, text=True, check=False, cwd=ROOT)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith(("dhcp.run: another frontend", "cannot listen"))


def test_a_card_that_is_not_there_is_refused(world: World) -> None:
    world.settings('interfaces = ["eth7"]')
    process = world.begin()
    assert process.wait(timeout=30) == 1
    assert world.log.splitlines()[-1] == "dhcp.interfaces: this machine has no eth7; it has: eth0"


def test_a_broken_template_keeps_the_old_files(world: World) -> None:
    with world.frontend():
        (world.state / "templates").mkdir()
        (world.state / "templates" / "dnsmasq.j2").write_text("port=0\nno-such-setting\n")
        world.cli("host", "add", SECOND.name, "--mac", SECOND.mac, "--ip", SECOND.address)
        until(lambda: "dhcp keeps its old files" in world.log)
        assert "dnsmasq refuses its settings: " in world.log
        assert world.ask(FIRST).startswith(f"got {FIRST.address} ")
        (world.state / "templates" / "dnsmasq.j2").unlink()
        until(lambda: SECOND.name in world.files)
        assert world.ask(SECOND).startswith(f"got {SECOND.address} ")


@pytest.mark.parametrize("server", ["dhcpd", "kea"])
def test_another_server_tells_what_its_report_says(world: World, server: str) -> None:
    world.settings(
        'interfaces = ["eth0"]\nnext_server = "10.1.9.9"\nbios = "pxelinux.0"\nefi = "grub.efi"\n'
        'http = "http://10.1.1.1/grub.efi"\nipxe = "http://10.1.1.1/script"'
    )
    expected = {
        "nobody": "",
        "bios": "pxelinux.0 next=10.1.9.9",
        "efi": "grub.efi next=10.1.9.9",
        "http": "http://10.1.1.1/grub.efi",
        "ipxe": "http://10.1.1.1/script",
    }
    with world.serving(server):
        until(lambda: world.ask(FIRST).startswith(f"got {FIRST.address} {FIRST.name} "))
        found = {name: world.ask(FIRST, *options) for name, options in CLIENTS.items()}
        for name, answer in found.items():
            assert f"file={expected[name]} " in answer.replace("next=10.1.1.1", "next=") or not expected[name], answer
        assert world.ask(SECOND) == ""
    world.cli("attr", "set", "dhcp_filename", "own.0", "--host", FIRST.name)
    with world.serving(server):
        until(lambda: "file=own.0 next=10.1.9.9" in world.ask(FIRST, *CLIENTS["bios"]))
    world.cli("attr", "set", "kickstartable", "no", "--host", FIRST.name)
    with world.serving(server):
        until(lambda: "file= " in world.ask(FIRST, *CLIENTS["bios"]))
