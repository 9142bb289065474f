"""Where a cell is measured: shaped links, one payload as a generation of a real frontend, and a folder per host."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self
from urllib.parse import quote

from avalanche.adapters.database import Database
from avalanche.adapters.state import State
from avalanche.cluster import Host, Interface
from avalanche.manifest import Entry, Manifest
from lab.bench.cells import Cell
from lab.bench.payload import make_payload
from lab.contained import dependent, run
from lab.frontend import DISTRIBUTION, Frontend
from lab.network import FRONTEND_ADDRESS, Link, Namespace, Network, host_address
from lab.result import Closures, limit_seconds, seconds_at

ROLL = Path(__file__).with_name("roll")
PROXY = "proxy"
PROXY_ADDRESS = IPv4Address("10.1.1.2")
HTTP_PORT = 8080
HTTP_URL = f"http://{FRONTEND_ADDRESS}:{HTTP_PORT}"


@dataclass(frozen=True, slots=True)
class Seat:
    """A host's place: its link, what it wants, and its folder, which every plane finds empty."""

    link: Link
    appliance: str
    folder: Path

    @property
    def name(self) -> str:
        return self.link.name


class Arena:
    """The world of one cell.

    Args:
        work: an empty folder, better in memory; all bytes that travel end there.
    """

    def __init__(self, cell: Cell, work: Path) -> None:
        self.cell = cell
        self.work = work
        self.seats = [self._seat(number) for number in range(cell.hosts)]
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"<Arena {self.cell.name} {len(self.seats)} hosts>"

    def _seat(self, number: int) -> Seat:
        racks = self.cell.racks
        kinds = [
            ("mixed" if self.cell.mixed and each // racks % 2 else "compute", each % racks)
            for each in range(number + 1)
        ]
        appliance, rack = kinds[number]
        name = f"{appliance}-{rack}-{kinds[:number].count(kinds[number])}"
        link = Link(name, host_address(number), self.cell.rate_mbit, rack)
        return Seat(link, appliance, self.work / "hosts" / name)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            servers = [
                Link("frontend", FRONTEND_ADDRESS, self.cell.rate_mbit),
                Link(PROXY, PROXY_ADDRESS, self.cell.rate_mbit),
            ]
            links = [*servers, *(seat.link for seat in self.seats)]
            self.network = stack.enter_context(Network(links, trunk_mbit=self.cell.rate_mbit))
            self.frontend = Frontend(self.work / "state", self.work / "frontend.log", self.namespace("frontend"))
            stack.callback(self.frontend.kill)
            self._prepare()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def namespace(self, name: str) -> Namespace:
        return self.network.namespace(name)

    def _prepare(self) -> None:
        cell, payload = self.cell, self.work / "payload"
        make_payload(payload, size=cell.size, files=cell.files, seed=cell.seed, is_mixed=cell.mixed)
        self.frontend.init([ROLL])
        self.frontend.command("dist", "import", DISTRIBUTION, str(payload), "--allow-unsigned")
        shutil.rmtree(payload)
        self.generation = self.frontend.generation()
        database = Database.open(State(self.frontend.state).database_file)
        with database.transaction() as transaction:
            transaction.add_hosts([_host(seat) for seat in self.seats])
        database.close()
        first = {seat.appliance: seat.name for seat in reversed(self.seats)}
        self._closures = {appliance: self.frontend.closure(name) for appliance, name in first.items()}

    def closure(self, seat: Seat) -> Manifest:
        """What a host has to fetch."""
        return self._closures[seat.appliance]

    @cached_property
    def union(self) -> tuple[Entry, ...]:
        """All different objects that some host has to fetch, in canonical order."""
        entries = {entry.path: entry for closure in self._closures.values() for entry in closure.entries}
        return tuple(entries[path] for path in sorted(entries, key=str.encode))

    @cached_property
    def closures(self) -> Closures:
        """Bytes that are wanted."""
        return Closures(
            union=sum(entry.size for entry in self.union),
            largest=max(closure.total_bytes for closure in self._closures.values()),
            total=sum(self.closure(seat).total_bytes for seat in self.seats),
        )

    @property
    def limit_seconds(self) -> float:
        """The time no plane can beat."""
        rate = self.cell.rate_mbit
        return limit_seconds(self.closures, hosts=len(self.seats), frontend_mbit=rate, host_mbit=rate)

    def downloads(self, entries: Sequence[Entry], folder: Path | None) -> str:
        """A configuration for curl that fetches ``entries`` from the plain server; None: to nowhere."""
        lines = []
        for entry in entries:
            target = "/dev/null" if folder is None else folder / entry.sha256
            lines.append(f'url = "{HTTP_URL}/{quote(entry.path)}"\noutput = "{target}"')
        return "\n".join(lines) + "\n"

    def measure_single(self) -> float:
        """Seconds that one host alone needs for the largest closure with plain curl, 8 files at a time."""
        seat = max(self.seats, key=lambda each: self.closure(each).total_bytes)
        text = self.downloads(self.closure(seat).entries, None)
        bound = 3 * seconds_at(self.closures.largest, self.cell.rate_mbit) + 30
        began = time.monotonic()
        run(dependent(*self.namespace(seat.name).command(*CURL, "--config", "-")), text=text, timeout=bound)
        return time.monotonic() - began


CURL = ("curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "8")


def _host(seat: Seat) -> Host:
    rack, rank = (int(word) for word in seat.name.split("-")[1:])
    return Host(seat.name, seat.appliance, rack, rank, (Interface(seat.link.mac, str(seat.link.address)),))
