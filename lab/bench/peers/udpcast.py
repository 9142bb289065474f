"""udpcast: one file to all at once, by multicast. The payload is the largest closure in one file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.bench.arena import Seat
from lab.bench.peers.programs import Program, Programs
from lab.contained import dependent

_PORT = 9000
_SHARE = 0.95
"""Of the link's rate: what is sent faster is lost in the switch, and sent again."""


class Udpcast(Programs):
    """udp-sender and udp-receiver. The sender begins when all hosts may; a host that comes later gets nothing."""

    name = "udpcast"

    def prepare(self) -> None:
        self._begun = 0
        with (self.folder / "payload").open("wb") as whole:
            for entry in self.arena.closure(self.arena.seats[0]).entries:
                whole.write((self.arena.generation.path / entry.path).read_bytes())
        for name in ("frontend", *(seat.name for seat in self.arena.seats)):
            self.arena.namespace(name).batch("ip", ["route replace 224.0.0.0/4 dev eth0"])

    def servers(self) -> list[Program]:
        return []

    def client(self, seat: Seat) -> Sequence[str]:
        (seat.folder / "files").mkdir()
        return ("udp-receiver", "--interface", "eth0", "--portbase", str(_PORT), "--nokbd", "--nosync",
                "--file", str(seat.folder / "files" / "payload"))  # fmt: skip

    def release(self, seat: Seat) -> None:
        super().release(seat)
        self._begun += 1
        if self._begun == len(self.arena.seats):
            self._send()

    def _send(self) -> None:
        rate = int(self.arena.cell.rate_mbit * 1e6 * _SHARE)
        command = ("udp-sender", "--interface", "eth0", "--portbase", str(_PORT), "--nokbd", "--max-bitrate", str(rate),
                   "--min-receivers", str(len(self.arena.seats)), "--file", str(self.folder / "payload"))  # fmt: skip
        with (self.folder / "sender.log").open("wb") as log:
            inside = self.arena.namespace("frontend").command(*command)
            self._servers.append(subprocess.Popen(dependent(*inside), stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def problem(self, seat: Seat) -> str:
        got, wanted = seat.folder / "files" / "payload", self.folder / "payload"
        return "" if got.is_file() and got.read_bytes() == wanted.read_bytes() else "the file differs"

    def files(self, seat: Seat) -> Iterator[Path]:
        return iter([seat.folder / "files" / "payload"])
