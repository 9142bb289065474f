"""What all service files of a large cluster cost, from the database to the disk."""

from __future__ import annotations

import ipaddress
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avalanche.adapters.database import Database
from avalanche.adapters.servicefiles import publish
from avalanche.cluster import Appliance, Host, Interface, Setting
from avalanche.config import DhcpConfig
from avalanche.network import Network
from avalanche.report import HOSTS_FOLDER, REPORTS, Files, Renderer, render
from avalanche.roster import roster_of

HOSTS = 10_000
RACK = 32  # hosts in one
LIMIT_SECONDS = 5.0
MEMORY = "/dev/shm"


def run_reports() -> dict[str, float]:
    """Measure, print, and return the figures, in seconds, together with the limit they are held against."""
    figures: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        figures[f"  {name} (s)"] = time.perf_counter() - begun

    # The frontend's dnsmasq has its files in /run, which is memory; the others are for folders on disk.
    with (
        tempfile.TemporaryDirectory(prefix="avalanche-bench-") as name,
        tempfile.TemporaryDirectory(prefix="avalanche-bench-", dir=MEMORY) as run,
    ):
        folder = Path(name)
        database = _database(folder / "avalanche.db")
        begun = time.perf_counter()
        with timed("inventory read"), database.snapshot() as transaction:
            cluster = transaction.cluster()
        with timed("put together"):
            roster = roster_of(cluster, DhcpConfig(interfaces=("eth1",), bios="pxelinux.0", efi="grub.efi"))
            count = len(roster.reservations)
        assert count == HOSTS
        files: Files = {}
        for report in REPORTS:
            with timed(report):
                files |= render([report], roster, Renderer(), str(folder / "out"))
        hosts = {path: text for path, text in files.items() if path.startswith(HOSTS_FOLDER)}
        others = {path: text for path, text in files.items() if path not in hosts}
        with timed("files of hosts written, in memory"):
            publish(Path(run), hosts, owned=(HOSTS_FOLDER,))
        with timed("other files written, on disk"):
            publish(folder / "out", others)
        whole = time.perf_counter() - begun
        with timed("written again, nothing changed"):
            publish(Path(run), hosts, owned=(HOSTS_FOLDER,))
            publish(folder / "out", others)
        with timed("files of hosts written, on disk"):
            publish(folder / "out", hosts, owned=(HOSTS_FOLDER,))
        database.close()
    figures = {f"all service files of {HOSTS} hosts (s); limit {LIMIT_SECONDS:g}": whole, **figures}
    for name, value in figures.items():
        print(f"{name:60} {value:8.3f}")
    return figures


def _database(path: Path) -> Database:
    """Hosts as a site has them: an address each, every tenth with an alias, and attributes that say what some boot."""
    database = Database(path)
    database.migrate()
    first = ipaddress.ip_address("10.1.1.10")
    hosts = [
        Host(
            f"compute-{number // RACK}-{number % RACK}",
            "compute",
            number // RACK,
            number % RACK,
            (Interface(f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", str(first + number), "eth0", "private"),),
            aliases=(f"c{number}",) if number % 10 == 0 else (),
        )
        for number in range(HOSTS)
    ]
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
        transaction.add_network(Network("private", ipaddress.ip_network("10.1.0.0/16"), "local"))
        transaction.add_hosts(hosts)
        transaction.set_attribute(Setting("rack", "7", "dhcp_filename", "own.efi"))
    return database
