"""Planes made of programs: some that serve, and one client on each host, a child of ours, that waits for a line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.bench.arena import Arena, Seat
from lab.bench.peers.plane import Plane
from lab.bench.weights import Weight
from lab.contained import CommandFailed, dependent, tail

_START_SECONDS = 30.0
# The client comes after the line, in the same process.
_ARMED = 'read -r line && exec "$@"'


@dataclass(frozen=True, slots=True)
class Program:
    """A program that serves, on ``machine``, and the port by which it is known that it does (None: at once)."""

    machine: str
    command: tuple[str, ...]
    port: int | None = None


class Programs(Plane):
    """Base of planes of programs; a subclass says which.

    Attributes:
        waits: the client reads the line itself, when it is ready to begin.
    """

    waits = False

    def __init__(self, arena: Arena) -> None:
        super().__init__(arena)
        self.folder = arena.work / self.name
        self._programs: list[Program] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self._clients: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, float] = {}

    @abstractmethod
    def servers(self) -> list[Program]:
        """What serves; called once everything else is there."""

    @abstractmethod
    def client(self, seat: Seat) -> Sequence[str]:
        """A host's client; its folder is there and empty."""

    def prepare(self) -> None:
        """Make what servers and clients need."""

    def start(self) -> None:
        self.folder.mkdir()
        self.prepare()
        self._programs = self.servers()
        self._serve()
        for seat in self.arena.seats:
            seat.folder.mkdir(parents=True)
            with (seat.folder / "client.log").open("wb") as log:
                client = self.client(seat)
                command = client if self.waits else ("sh", "-c", _ARMED, "client", *client)
                self._clients[seat.name] = subprocess.Popen(
                    dependent(*self.arena.namespace(seat.name).command(*command)),
                    stdin=subprocess.PIPE, stdout=log, stderr=log,
                )  # fmt: skip

    def _serve(self) -> None:
        for number, program in enumerate(self._programs):
            with (self.folder / f"server-{number}.log").open("ab") as log:
                command = dependent(*self.arena.namespace(program.machine).command(*program.command))
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._servers.append(process)
            self._wait(program, process)

    def _wait(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while program.port is not None and program.port not in _listening(process.pid):
            if _reaped(process, self.server_weight) is not None or time.monotonic() > deadline:
                said = "".join(log.read_text(errors="replace") for log in sorted(self.folder.glob("*.log")))
                raise CommandFailed(f"{program.command[0]} does not serve: {tail(said)}")
            time.sleep(0.05)

    def release(self, seat: Seat) -> None:
        stdin = self._clients[seat.name].stdin
        assert stdin is not None
        with suppress(BrokenPipeError):
            stdin.write(b"\n")
            stdin.close()

    def finished(self, seat: Seat) -> float | None:
        """A client ends when it has everything; one that failed never had."""
        if _reaped(self._clients[seat.name], self.weights[seat.name]) == 0:
            return self._ended.setdefault(seat.name, time.time())
        return None

    def failure(self, seat: Seat) -> str:
        """Why the client has ended, if it did without having been killed, and not as it should."""
        status = _reaped(self._clients[seat.name], self.weights[seat.name])
        if status in (None, 0) or seat.name in self.killed:
            return ""
        return f"exit {status}: {tail((seat.folder / 'client.log').read_text(errors='replace'))}"

    def processes(self, seat: Seat) -> list[int]:
        client = self._clients[seat.name]
        return [client.pid] if client.returncode is None else []

    def server_processes(self) -> list[int]:
        return [server.pid for server in self._servers if server.returncode is None]

    def signal(self, number: signal.Signals) -> None:
        for server in self._servers:
            server.send_signal(number)

    @property
    def is_running(self) -> bool:
        return any(_reaped(server, self.server_weight) is None for server in self._servers)

    def restart(self) -> None:
        for server in self._servers:
            _reaped(server, self.server_weight, wait=True)
        self._servers.clear()
        self._serve()

    def stop(self) -> None:
        for name, client in self._clients.items():
            client.kill()
            _reaped(client, self.weights[name], wait=True)
            assert client.stdin is not None
            with suppress(BrokenPipeError):
                client.stdin.close()
        for server in self._servers:
            server.kill()
            _reaped(server, self.server_weight, wait=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def files(self, seat: Seat) -> Iterator[Path]:
        got = seat.folder / "files"
        return (path for path in got.rglob("*") if path.is_file())


def _reaped(process: subprocess.Popen[bytes], weight: Weight, *, wait: bool = False) -> int | None:
    """The exit status of a child, or None: it runs. What it used is then known exactly."""
    if process.returncode is None:
        pid, status, usage = os.wait4(process.pid, 0 if wait else os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            weight.cpu_seconds = usage.ru_utime + usage.ru_stime
    return process.returncode


def _listening(process: int) -> set[int]:
    """The TCP ports that somebody listens on in the network namespace of a process (proc(5), net/tcp)."""
    ports = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
