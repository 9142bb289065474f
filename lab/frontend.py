"""The frontend of a demo: the real commands, as a user types them, and the real server in its namespace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from avalanche.adapters.closure import Solver
from avalanche.adapters.distributions import Distributions, Generation
from avalanche.manifest import Manifest
from avalanche.modules import requested_modules
from avalanche.profile import parse_profile
from lab.contained import CommandFailed, dependent, run
from lab.network import FRONTEND_ADDRESS, PREFIX, Namespace

DISTRIBUTION = "default"
URL = f"http://{FRONTEND_ADDRESS}"
TRACKER_PORT = 7969
_START_SECONDS = 60.0


class Frontend:
    """A frontend with its state directory.

    Args:
        state: its state directory; made by `init`.
        log: file that its log goes to.
        namespace: where it serves.
    """

    def __init__(self, state: Path, log: Path, namespace: Namespace) -> None:
        self.state = state
        self._log = log
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Frontend {self.state}>"

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "avalanche", *words, "--state", str(self.state)]

    def command(self, *words: str) -> str:
        """Run ``avalanche WORDS`` and return what it prints.

        Raises:
            CommandFailed: with the command's own line.
        """
        return run(dependent(*self._command(*words)))

    def inside(self, *words: str) -> list[str]:
        """``avalanche WORDS`` as a command that runs where the frontend does."""
        return self._namespace.command(*self._command(*words))

    def serve_dhcp(self, run_folder: Path) -> None:
        """Let it run a dnsmasq of its own, from the next start on."""
        config = self.state / "avalanche.toml"
        config.write_text(config.read_text() + f'\n[dhcp]\ninterfaces = ["eth0"]\nrun = "{run_folder}"\n')
        self.command(
            "network", "add", "private", "--subnet", f"{IPv4Network((FRONTEND_ADDRESS, PREFIX), strict=False)}"
        )

    def facts(self, *words: str) -> Any:
        """Run a command with ``--json`` and return its facts."""
        return json.loads(self.command(*words, "--json"))

    def init(self, rolls: Sequence[Path]) -> None:
        """Make the state directory."""
        options = [word for roll in rolls for word in ("--roll", str(roll))]
        self.command("init", "--address", str(FRONTEND_ADDRESS), "--name", "lab", *options)

    def move_tracker_out(self) -> None:
        """Let the tracker be a process of its own, from the next start on."""
        config = self.state / "avalanche.toml"
        config.write_text(config.read_text() + f'\n[tracker]\nurls = ["{URL}:{TRACKER_PORT}"]\n')

    def import_repository(self, repository: Path) -> Generation:
        """Import an RPM repository of the lab."""
        key = next(repository.glob("RPM-GPG-KEY-*"))
        self.command("dist", "import", DISTRIBUTION, str(repository), "--key", str(key))
        return self.generation()

    def generation(self) -> Generation:
        """Return the generation that new orders are pinned to."""
        return Distributions(self.state).current(DISTRIBUTION)

    def closure(self, host: str) -> Manifest:
        """Return what a host is going to fetch: its profile's packages, solved once more beside the server."""
        profile = parse_profile(self.command("profile", host).encode())
        return Solver(self.generation()).solve(profile.requested, profile.excluded, requested_modules(profile)).manifest

    def kickstart(self, host: str) -> bytes:
        """Return the kickstart the host must have used."""
        return self.command("kickstart", host).encode()

    def events(self, host: str) -> list[dict[str, Any]]:
        """Return the host's timeline."""
        events: list[dict[str, Any]] = self.facts("host", "events", host)
        return events

    def start(self) -> None:
        """Start the server, once an earlier one has ended, and wait until it answers.

        Raises:
            CommandFailed: it ended, or did not answer in time; names its log.
        """
        if self._process is not None:
            self._process.wait()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                dependent(*self._namespace.command(*self._command("frontend"))),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"the frontend does not serve: {self._last_line()} (see {self._log})")
            time.sleep(0.1)

    def _answers(self) -> bool:
        # Any answer will do: an address nobody asked for is a 404.
        command = self._namespace.command("curl", "--silent", "--output", os.devnull, "--max-time", "2", URL)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def processes(self) -> list[int]:
        """The server's process, if it runs: the same one as was started, since what enters the namespace becomes it."""
        return [self._process.pid] if self._process is not None and self._process.poll() is None else []

    def kill(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Tracker:
    """A tracker as a process of its own, beside a frontend that has been told so."""

    def __init__(self, state: Path, log: Path, namespace: Namespace) -> None:
        self._state = state
        self._log = log
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Tracker of {self._state}>"

    def start(self) -> None:
        """Start it; it does not remember an earlier life."""
        config = self._state / "tracker" / "tracker.toml"
        config.write_text(
            f'[tracker]\nport = {TRACKER_PORT}\nregistry = "registry.jsonl"\nswarm_key = "../swarm.key"\n'
            f'frontend = ["{URL}"]\n'
        )
        command = [sys.executable, "-m", "avalanche", "tracker", "--config", str(config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                dependent(*self._namespace.command(*command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
