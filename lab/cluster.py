"""A virtual cluster: frontend, switch and installing hosts, from ``avalanche init`` to the last host's end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from avalanche.adapters.distributions import Generation
from avalanche.errors import AvalancheError
from avalanche.manifest import Manifest
from lab.contained import dependent, run
from lab.display import HostView
from lab.frontend import URL, Frontend, Tracker
from lab.host import Host, Roots
from lab.mishaps import Mishaps
from lab.network import FRONTEND_ADDRESS, Link, Network, host_address, processors
from lab.registration import register
from lab.result import seconds_at
from lab.settings import Settings

APPLIANCES = ("compute", "compute", "compute", "login")
"""What every fourth host, and the others, install."""
_TICK = 0.1
_AGENT_PID_SECONDS = 1.0
_CHECKOUT = Path(__file__).resolve().parent.parent
ROLLS = (_CHECKOUT, _CHECKOUT / "lab" / "roll")
# Far above what was measured: these only end runs that would never end.
_READY_SECONDS = 120.0
_READY_SECONDS_PER_HOST = 5.0
_INSTALL_SECONDS = 600.0
_INSTALL_SECONDS_PER_HOST = 60.0


@dataclass
class Course:
    """What was observed from the barrier on. Moments are seconds since 1970; counters are bytes since the barrier.

    Attributes:
        starts: when each host began: at the barrier, or later.
        hit: hosts that a fault was meant for, and its kind.
    """

    barrier: float
    starts: Mapping[str, float] = field(default_factory=dict)
    hit: Mapping[str, str] = field(default_factory=dict)
    load: list[tuple[float, int, int]] = field(default_factory=list)
    frontend_sent: int = 0

    def busy_until(self, moment: float) -> float:
        """Return the share of the processors' time that was used from the barrier to a moment."""
        samples = [sample for sample in self.load if sample[0] <= moment] or self.load[:2]
        busy, total = samples[-1][1] - samples[0][1], samples[-1][2] - samples[0][2]
        return busy / total if total else 0.0


class Cluster:
    """A virtual cluster. Everything in it ends with the context, or with this process.

    Args:
        var: working folder: ``lab/hosts/NAME`` and ``demo`` in it are replaced.
        repository: an RPM repository of the package maker.
        roots: what hosts share.
        rolls: what the frontend compiles.
        tracker_alone: the tracker is a process of its own; it is one, too, when faults end it.
    """

    def __init__(
        self,
        settings: Settings,
        var: Path,
        *,
        repository: Path,
        roots: Roots,
        rolls: Sequence[Path] = ROLLS,
        tracker_alone: bool = False,
    ) -> None:
        self.settings = settings
        self.var = var
        self._repository = repository
        self._roots = roots
        self._rolls = rolls
        self.hosts = [self._host(number) for number in range(settings.hosts)]
        self.tracker: Tracker | None = None
        self._tracker_alone = tracker_alone or any(fault.kind == "tracker-stop" for fault in settings.faults)
        self._stack = ExitStack()

    def _host(self, number: int) -> Host:
        # Named as Rocks does: appliance, rack, and the number among its kind there.
        kinds = [self._kind(each) for each in range(self.settings.hosts)]
        appliance, rack = kinds[number]
        rank = kinds[:number].count(kinds[number])
        # Kind by kind, as they are registered; addresses go down in that order.
        before = sum(kinds.index(other) < kinds.index(kinds[number]) for other in kinds)
        link = Link(f"{appliance}-{rack}-{rank}", host_address(before + rank), self.settings.rate_mbit, rack)
        return Host(link, self.var / "lab/hosts" / link.name, appliance=appliance)

    def _kind(self, number: int) -> tuple[str, int]:
        """Appliance and rack of a host."""
        return APPLIANCES[number // self.settings.racks % len(APPLIANCES)], number % self.settings.racks

    def __repr__(self) -> str:
        return f"<Cluster {len(self.hosts)} hosts>"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(locked(self.var))
            clear(self.var)
            (self.var / "demo").mkdir(parents=True)
            frontend = Link("frontend", FRONTEND_ADDRESS, self.settings.rate_mbit)
            links = [frontend, *(host.link for host in self.hosts)]
            self.network = stack.enter_context(Network(links, trunk_mbit=self.settings.rate_mbit))
            self.frontend = Frontend(
                self.var / "demo/state", self.var / "demo/frontend.log", self.network.namespace("frontend")
            )
            stack.callback(end_dhcp, self.var)
            stack.callback(self.frontend.kill)
            if self._tracker_alone:
                self.tracker = Tracker(
                    self.frontend.state, self.var / "demo/tracker.log", self.network.namespace("frontend")
                )
                stack.callback(self.tracker.kill)
            for host in self.hosts:
                stack.callback(host.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Make the frontend, import the repository, register the hosts and permit their installation; start serving."""
        self.frontend.init(self._rolls)
        if self.tracker is not None:
            self.frontend.move_tracker_out()
        self.generation: Generation = self.frontend.import_repository(self._repository)
        self.frontend.serve_dhcp(dhcp_folder(self.var))
        self.frontend.start()
        register(self.frontend, self.network, self.hosts, self.var / "demo", plane=self.settings.plane)
        # Hosts have no attribute of their own that decides about packages: one of an appliance stands for all.
        first = {host.appliance: host.name for host in reversed(self.hosts)}
        self._closures = {appliance: self.frontend.closure(name) for appliance, name in first.items()}
        if self.tracker is not None:
            self.tracker.start()

    def closure(self, host: Host) -> Manifest:
        """Return what a host has to fetch."""
        return self._closures[host.appliance]

    @property
    def largest(self) -> Manifest:
        """The largest closure."""
        return max(self._closures.values(), key=lambda closure: closure.total_bytes)

    @property
    def union_bytes(self) -> int:
        """Bytes of all different objects that some host has to fetch."""
        return sum({entry.sha256: entry.size for found in self._closures.values() for entry in found.entries}.values())

    @property
    def wanted_bytes(self) -> int:
        """Bytes that all hosts together have to fetch."""
        return sum(self.closure(host).total_bytes for host in self.hosts)

    def measure_single(self) -> float:
        """Return how many seconds one host alone needs for the largest closure with plain curl, 8 files at a time."""
        closure = self.largest
        base = f"{URL}/install/packages/{closure.generation}"
        lines = [f'url = "{base}/{quote(entry.path)}"\noutput = "/dev/null"' for entry in closure.entries]
        options = ("--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "8", "--config", "-")
        namespace = self.network.namespace(self.hosts[0].name)
        bound = seconds_at(closure.total_bytes, self.settings.rate_mbit) * 3 + 30
        began = time.monotonic()
        run(dependent(*namespace.command("curl", *options)), text="\n".join(lines) + "\n", timeout=bound)
        return time.monotonic() - began

    def start_hosts(self) -> None:
        """Switch all hosts on."""
        for host in self.hosts:
            self.start_host(host)

    def start_host(self, host: Host) -> None:
        """Switch one host on."""
        host.start(self.network.namespace(host.name), self._roots, frontend=URL, mode=self.settings.mode)

    def wait_until_ready(self, show: Callable[[Sequence[HostView]], None]) -> None:
        """Wait until every host stands at the barrier or has ended.

        Raises:
            AvalancheError: one of them does neither in time.
        """
        deadline = time.monotonic() + _READY_SECONDS + _READY_SECONDS_PER_HOST * len(self.hosts)
        while waiting := [host for host in self.hosts if host.is_running and host.status()["stage"] != "waiting"]:
            if time.monotonic() > deadline:
                raise self._stuck(waiting[0])
            show([_view(host, 0) for host in self.hosts])
            time.sleep(_TICK)

    def install(self, show: Callable[[Sequence[HostView], float], None]) -> Course:
        """Lift the barrier, let faults happen, and wait until every host has ended."""
        settings = self.settings
        mishaps = Mishaps(settings.faults, self.hosts, self.frontend, self.tracker, stagger=settings.stagger)
        mishaps.slow_down(self.network)
        start = self.network.counters()
        course = Course(time.time(), mishaps.starts, mishaps.hit)
        course.load.append((course.barrier, *processors()))
        mishaps.begin(course.barrier)
        bound = _INSTALL_SECONDS + _INSTALL_SECONDS_PER_HOST * len(self.hosts)
        bound += 3 * seconds_at(self.wanted_bytes, self.settings.rate_mbit)
        looked = 0.0
        while running := [host for host in self.hosts if host.is_running]:
            now = time.time()
            counters = self.network.counters()
            arrived = {host.name: counters[host.name][0] - start[host.name][0] for host in self.hosts}
            course.load.append((now, *processors()))
            mishaps.tick(self._share(arrived, mishaps.starts), now)
            if now - looked > _AGENT_PID_SECONDS:
                looked = now
                for host in running:
                    host.write_agent_pid()
                    host.ask_agent()
                    host.weigh_agent()
            show([_view(host, arrived[host.name]) for host in self.hosts], now - course.barrier)
            if now - course.barrier > bound:
                raise self._stuck(running[0])
            time.sleep(_TICK)
        course.frontend_sent = self.network.counters()["frontend"][1] - start["frontend"][1]
        return course

    def _stuck(self, host: Host) -> AvalancheError:
        for other in self.hosts:
            other.save_agent_log()
        status = host.status()
        where = f"{status['stage']} {status['detail']}".strip()
        return AvalancheError(f"{host.name} makes no progress, it stands at {where}; see {host.folder}")

    def _share(self, arrived: Mapping[str, int], begun: Mapping[str, float]) -> float:
        hosts = [host for host in self.hosts if host.name in begun]
        # Of what the links carry, about a twentieth is headers.
        shares = [arrived[host.name] / (self.closure(host).total_bytes * 1.05) for host in hosts]
        return sum(min(1.0, share) for share in shares) / len(shares)


def _view(host: Host, arrived: int) -> HostView:
    status = host.status()
    stage = "killed" if host.is_killed else str(status["stage"])
    return HostView(host.name, stage, str(status["detail"]), arrived, min(host.bytes_from_peers, arrived))


@contextmanager
def locked(var: Path) -> Iterator[None]:
    """Keep a second run out of the same folder.

    Raises:
        AvalancheError: there is one.
    """
    folder = var / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AvalancheError(f"another run works in {var}: wait for it, or set VAR to another folder") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def take_down(var: Path) -> None:
    """End a run that works in the folder, if there is one, and remove what runs left there."""
    lock = var / "lab/lock"
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            # Who holds the lock has written its number into it, and everything it started dies with it.
            os.kill(int(file.read()), signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_SH)
    clear(var)


def dhcp_folder(var: Path) -> Path:
    """Where the files of a lab's dnsmasq are: it gives up being root, and must be able to read them."""
    return Path("/run") / f"avalanche-lab-{hashlib.sha256(str(var).encode()).hexdigest()[:12]}"


def end_dhcp(var: Path) -> None:
    """End the dnsmasq of a frontend that was killed, and remove its files."""
    folder = dhcp_folder(var)
    # A process of another program may have its number by now.
    with contextlib.suppress(OSError, ValueError):
        process = int((folder / "dnsmasq.pid").read_text())
        if str(folder).encode() in Path(f"/proc/{process}/cmdline").read_bytes():
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def clear(var: Path) -> None:
    """Remove what earlier runs left on the disk, and the one process that could outlive them."""
    end_dhcp(var)
    run(["rm", "-rf", "--one-file-system", str(var / "lab/hosts"), str(var / "demo")])
