"""What every peer of the benchmark is: something that serves, and a client on every host that waits for its start."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

from lab.bench.arena import Arena, Seat
from lab.bench.weights import Weight, weigh


class Plane(ABC):
    """One way to carry a cell's payload. What it starts ends with `stop`.

    Attributes:
        name: as in the cells.
    """

    name: str

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.weights = {seat.name: Weight() for seat in arena.seats}
        self.server_weight = Weight()
        self.killed: set[str] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.arena!r}>"

    @abstractmethod
    def start(self) -> None:
        """Serve, and make every host's client ready to begin."""

    @abstractmethod
    def release(self, seat: Seat) -> None:
        """Let a host begin."""

    @abstractmethod
    def finished(self, seat: Seat) -> float | None:
        """When the host had all it wants, in seconds since 1970; None: not yet."""

    @abstractmethod
    def processes(self, seat: Seat) -> list[int]:
        """The processes of a host's client."""

    def everything(self, seat: Seat) -> list[int]:
        """These, and what would start them again, first."""
        return self.processes(seat)

    @abstractmethod
    def server_processes(self) -> list[int]:
        """The processes that serve."""

    @abstractmethod
    def signal(self, number: Signals) -> None:
        """Send a signal to what serves, trackers included."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Does it serve?"""

    @abstractmethod
    def restart(self) -> None:
        """Serve again, once what served has ended."""

    @abstractmethod
    def stop(self) -> None:
        """End everything."""

    @abstractmethod
    def files(self, seat: Seat) -> Iterator[Path]:
        """Yield the files a host has got, complete or not."""

    @abstractmethod
    def failure(self, seat: Seat) -> str:
        """Why a host's client has ended without everything, and without having been killed, or nothing."""

    def from_server(self, seat: Seat) -> int | None:
        """Payload the host had from what serves, if its client tells."""
        return None

    def poll(self) -> None:
        """Look at everything, now and then."""
        for seat in self.arena.seats:
            weigh(self.processes(seat), self.weights[seat.name])
        weigh(self.server_processes(), self.server_weight)

    def send(self, seat: Seat, number: Signals) -> None:
        """Send a signal to all processes of a host."""
        for process in self.everything(seat):
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue

    def problem(self, seat: Seat) -> str:
        """What is wrong with the files a host has got, or nothing: the lab reads every byte itself."""
        wanted = {entry.sha256: entry.path for entry in self.arena.closure(seat).entries}
        found = set()
        for path in self.files(seat):
            with path.open("rb") as file:
                found.add(hashlib.file_digest(file, "sha256").hexdigest())
        missing = [wanted[digest] for digest in wanted.keys() - found]
        return f"{len(missing)} of {len(wanted)} files missing or damaged, first {min(missing)}" if missing else ""


class Machine:
    """A host as `lab.mishaps` troubles it."""

    def __init__(self, plane: Plane, seat: Seat) -> None:
        self.name = seat.name
        self._plane = plane
        self._seat = seat

    def release(self) -> None:
        self._plane.release(self._seat)

    def kill(self) -> None:
        self._plane.killed.add(self.name)
        self._plane.send(self._seat, Signals.SIGKILL)

    def freeze(self) -> None:
        self._plane.send(self._seat, Signals.SIGSTOP)

    def thaw(self) -> None:
        self._plane.send(self._seat, Signals.SIGCONT)


class Serving:
    """What serves, as `lab.mishaps` troubles it."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    @property
    def is_running(self) -> bool:
        return self._plane.is_running

    def signal(self, number: Signals) -> None:
        self._plane.signal(number)

    def start(self) -> None:
        self._plane.restart()
