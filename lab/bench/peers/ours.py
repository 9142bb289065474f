"""Our planes: the real frontend with its tracker, and the real agent on every host, started by the real stub."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from avalanche.adapters.database import Database
from avalanche.adapters.orderbook import timeline
from avalanche.adapters.state import State
from lab.bench.arena import Arena, Seat
from lab.bench.peers.plane import Plane
from lab.contained import CommandFailed, dependent, tail
from lab.frontend import URL

_BOOT = Path(__file__).with_name("boot.py")
_READY_SECONDS = 60.0
_READY_SECONDS_PER_HOST = 5.0
_AT_ONCE = 8
"""So many hosts boot at once: more of them would only wait for processors."""
_LOOK_SECONDS = 0.5
# The run directory has one name on every host; each has a folder of its own there.
_ENTER = 'mount -t tmpfs tmpfs /run; mkdir /run/avalanche; mount --bind "$0" /run/avalanche; exec "$@"'


class Ours(Plane):
    """One of our planes. Every run of it begins with the same database: nobody remembers who was slow before."""

    def __init__(self, arena: Arena, name: str) -> None:
        self.name = name
        super().__init__(arena)
        self._boots: dict[str, subprocess.Popen[bytes]] = {}
        self._done: dict[str, float] = {}
        self._payload: dict[str, int] = {}
        self._looked = 0.0
        self._database = State(arena.frontend.state).database_file
        self._kept = arena.work / "database"

    def start(self) -> None:
        arena = self.arena
        self._restore()
        arena.frontend.command("order", "create", *(seat.name for seat in arena.seats), "--plane", self.name)
        arena.frontend.start()
        waiting = list(arena.seats)
        while waiting:
            group, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            for seat in group:
                self._boot(seat)
            self._wait(group)

    def _restore(self) -> None:
        if not self._kept.exists():
            self._kept.mkdir()
            for path in self._database.parent.glob(f"{self._database.name}*"):
                shutil.copy2(path, self._kept / path.name)
        for path in self._database.parent.glob(f"{self._database.name}*"):
            path.unlink()
        for path in self._kept.iterdir():
            shutil.copy2(path, self._database.parent / path.name)

    def _boot(self, seat: Seat) -> None:
        seat.folder.mkdir(parents=True)
        (seat.folder / "hold").touch()
        settings = {
            "cache_dir": "/run/avalanche/cache",
            "cache_limit_bytes": 2 * self.arena.closures.union + (64 << 20),
            "target_roots": [],
        }
        (seat.folder / "agent.json").write_text(json.dumps(settings))
        inside = ("unshare", "--mount", "sh", "-euc", _ENTER, str(seat.folder))
        boot = (sys.executable, "-I", str(_BOOT), f"{URL}/install/stub", "eth0", seat.link.mac)
        with (seat.folder / "console.log").open("wb") as console:
            self._boots[seat.name] = subprocess.Popen(
                dependent(*self.arena.namespace(seat.name).command(*inside, *boot)),
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip

    def _wait(self, seats: list[Seat]) -> None:
        deadline = time.monotonic() + _READY_SECONDS + _READY_SECONDS_PER_HOST * len(seats)
        while waiting := [seat for seat in seats if not (seat.folder / "ready").exists()]:
            for seat in waiting:
                ended = self._boots[seat.name].poll()
                if ended not in (None, 0) or time.monotonic() > deadline:
                    said = (seat.folder / "console.log").read_text(errors="replace")
                    raise CommandFailed(f"{seat.name} does not boot: {tail(said)}")
            time.sleep(0.1)

    def release(self, seat: Seat) -> None:
        (seat.folder / "hold").unlink()

    def finished(self, seat: Seat) -> float | None:
        return self._done.get(seat.name)

    def poll(self) -> None:
        super().poll()
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._look()
            self._looked = time.monotonic()

    def _look(self) -> None:
        """Read from the timelines who has everything, and since when."""
        database = Database.open(self._database)
        with database.snapshot() as transaction:
            for seat in [seat for seat in self.arena.seats if seat.name not in self._done]:
                for event in timeline(transaction, seat.name):
                    if "bytes_from_frontend" in event.data:
                        self._payload[seat.name] = int(event.data["bytes_from_frontend"])
                    if (event.stage, event.status) == ("packages", "ok") and event.host_at is not None:
                        self._done[seat.name] = event.host_at
        database.close()

    def from_server(self, seat: Seat) -> int | None:
        return self._payload.get(seat.name, 0)

    def failure(self, seat: Seat) -> str:
        """Why the agent gave up, if it did."""
        failed = seat.folder / "failed"
        return failed.read_text().strip() if failed.exists() and seat.name not in self.killed else ""

    def processes(self, seat: Seat) -> list[int]:
        return _running(seat.folder / "agent.pid")

    def everything(self, seat: Seat) -> list[int]:
        return _running(seat.folder / "keeper.pid") + self.processes(seat)

    def server_processes(self) -> list[int]:
        return self.arena.frontend.processes()

    def signal(self, number: signal.Signals) -> None:
        self.arena.frontend.signal(number)

    @property
    def is_running(self) -> bool:
        return self.arena.frontend.is_running

    def restart(self) -> None:
        self.arena.frontend.start()

    def stop(self) -> None:
        self.arena.frontend.kill()
        for seat in self.arena.seats:
            self.send(seat, signal.SIGKILL)
        for boot in self._boots.values():
            boot.kill()
            boot.wait()

    def files(self, seat: Seat) -> Iterator[Path]:
        return (seat.folder / "cache").glob("*.object")


def _running(path: Path) -> list[int]:
    """The process that ``path`` names, if it is one of the agent's bundle."""
    try:
        process = int(path.read_text())
        is_ours = b"agent.pyz" in Path(f"/proc/{process}/cmdline").read_bytes()
    except (OSError, ValueError):
        return []
    return [process] if is_ours else []
