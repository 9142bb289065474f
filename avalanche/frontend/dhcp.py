"""The frontend's own dnsmasq: on declared network cards only, its hosts follow the inventory without a restart.

dnsmasq (2.90) sees a new or changed file in ``dhcp-hostsdir`` by itself, but forgets a removed one, and takes over an
address from another host, only when it is told to read all of them again (SIGHUP). Its other settings need a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from avalanche.adapters.files import named
from avalanche.adapters.servicefiles import publish
from avalanche.adapters.typesetting import Typesetter
from avalanche.cluster import Cluster
from avalanche.config import DhcpConfig
from avalanche.errors import AvalancheError, ConfigError
from avalanche.log import facts
from avalanche.report import HOSTS_FOLDER, Files, Template, TemplateError
from avalanche.roster import Rosters

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
SOON_SECONDS, LATER_SECONDS = 0.5, 5.0  # after files that could not be made or written; ten thousand hosts cost time
STOP_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # before a dnsmasq that died is started again
STEADY_SECONDS = 60.0  # what ran so long did not die of its start
MAIN = "dnsmasq.conf"

Inventory = Callable[[], Awaitable[Cluster]]
Templates = Callable[[Cluster], Mapping[str, Template]]


class Dhcp:
    """A dnsmasq and its files, in ``config.run``.

    Args:
        inventory: the inventory as it is now; the same object while nothing changes.
        templates: what a site or roll put in place of our templates.
    """

    def __init__(self, config: DhcpConfig, inventory: Inventory, templates: Templates) -> None:
        self._config = config
        self._inventory = inventory
        self._templates = templates
        self._folder = Path(config.run)
        self._typesetter = Typesetter({})
        self._refused: tuple[Cluster, TemplateError] | None = None  # what its templates could not render, and why
        self._rosters = Rosters(config)
        self._seen: Cluster | None = None
        self._files: Files = {}
        self._published: Files = {}
        self._is_untold = False  # of files that changed before a publication failed
        self._told = ""
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()  # there are files to start with

    def __repr__(self) -> str:
        return f"<Dhcp on {', '.join(self._config.interfaces)}, {max(0, len(self._files) - 1)} hosts>"

    @property
    def pid(self) -> int | None:
        """The process, when it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def follow(self) -> None:
        """Keep the files equal to the inventory, until cancelled."""
        pause = SOON_SECONDS
        while True:
            try:
                await self.refresh()
            except (AvalancheError, OSError) as error:
                reason = f"{error.filename or 'system'}: {error.strerror}" if isinstance(error, OSError) else str(error)
                if reason != self._told:
                    log.error("dhcp keeps its old files", extra=facts(reason=reason))
                    self._told, pause = reason, SOON_SECONDS
                await asyncio.sleep(pause)
                pause = min(2 * pause, LATER_SECONDS)
                continue
            self._told, pause = "", SOON_SECONDS
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Bring the files up to date, and tell dnsmasq.

        Raises:
            AvalancheError: the inventory cannot be read or cannot be written for dnsmasq; the old files stay.
            OSError: the files cannot be written.
        """
        cluster = await self._inventory()
        if cluster is self._seen:
            return
        files = await asyncio.to_thread(self._render, cluster)
        changes_main = files[MAIN] != self._files.get(MAIN)
        if changes_main:
            await self._check(files[MAIN])
        begun = time.monotonic()
        # A publication that fails half-way leaves nobody knows what.
        known, self._published = self._published, {}
        is_untold, self._is_untold = self._is_untold, True
        done = await asyncio.to_thread(publish, self._folder, files, owned=(HOSTS_FOLDER,), known=known)
        self._files, self._published, self._seen, self._is_untold = files, files, cluster, False
        if changes_main:
            # Whoever waits for the process starts it again, with the new settings.
            self._signal(signal.SIGTERM)
        elif is_untold or (done and not (done.fresh and not done.removed)):
            self._signal(signal.SIGHUP)
        self._ready.set()
        if done:
            log.info(
                "dhcp hosts written",
                extra=facts(
                    hosts=len(files) - 1,
                    written=len(done.written),
                    removed=len(done.removed),
                    seconds=f"{time.monotonic() - begun:.2f}",
                    revision=cluster.revision,
                ),
            )

    async def keep_running(self) -> None:
        """Run dnsmasq, and start it again when it ends, until cancelled; then it is ended."""
        await self._ready.wait()
        pause = FIRST_PAUSE
        while True:
            main, begun = self._files[MAIN], time.monotonic()
            status = await self._run()
            if main != self._files[MAIN]:
                log.info("dnsmasq restarts with new settings")
                continue
            if time.monotonic() - begun > STEADY_SECONDS:
                pause = FIRST_PAUSE
            log.error("dnsmasq ended; it is started again", extra=facts(status=status, pause=pause))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _render(self, cluster: Cluster) -> Files:
        roster = self._rosters.of(cluster)
        templates = self._templates(cluster)
        if templates != self._typesetter.templates:
            self._typesetter, self._refused = Typesetter(templates), None
        if self._refused is not None and self._refused[0] is cluster:
            raise self._refused[1]  # it may have taken a while to find that out
        try:
            return self._typesetter.render("dnsmasq", roster, str(self._folder))
        except TemplateError as error:
            self._refused = cluster, error
            raise

    async def _check(self, main: str) -> None:
        """Let dnsmasq read its settings before they replace those it has."""
        path = self._folder / f".{MAIN}.new"
        try:
            with named(path):
                path.write_text(main)
            process = await asyncio.create_subprocess_exec(
                self._config.program,
                "--test",
                f"--conf-file={path}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            said = (await process.communicate())[1].decode(errors="replace")
        finally:
            path.unlink(missing_ok=True)
        if process.returncode:
            raise ConfigError(f"dnsmasq refuses its settings: {' '.join(said.replace(str(path), MAIN).split())}")

    async def _run(self) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            self._config.program,
            *arguments(self._folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's interrupt is for us
        )
        log.info("dnsmasq started", extra=facts(pid=process.pid, interfaces=" ".join(self._config.interfaces)))
        try:
            assert process.stderr is not None
            async for line in process.stderr:
                _tell(line.decode(errors="replace").rstrip())
            return await process.wait()
        finally:
            await _end(process)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def arguments(folder: Path) -> list[str]:
    """What dnsmasq is started with: its settings are in ``folder``; it stays our child and tells us what it logs."""
    return [f"--conf-file={folder / MAIN}", "--keep-in-foreground", "--log-facility=-"]


@asynccontextmanager
async def serving_dhcp(config: DhcpConfig, inventory: Inventory, templates: Templates) -> AsyncIterator[Dhcp | None]:
    """Run the dnsmasq that the settings ask for; None when they ask for none.

    Raises:
        ConfigError: there is no such program or card, or another frontend runs one in the same folder.
    """
    if not config.interfaces:
        yield None
        return
    _check_machine(config)
    with _held(Path(config.run)):
        await asyncio.to_thread(_end_stale, Path(config.run))
        dhcp = Dhcp(config, inventory, templates)
        tasks = [
            asyncio.create_task(dhcp.follow(), name="dhcp files"),
            asyncio.create_task(dhcp.keep_running(), name="dnsmasq"),
        ]
        try:
            yield dhcp
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _check_machine(config: DhcpConfig) -> None:
    if shutil.which(config.program) is None:
        raise ConfigError(f"dhcp.program: {config.program} is not there; install dnsmasq-base")
    known = [name for _, name in socket.if_nameindex() if name != "lo"]
    for interface in config.interfaces:
        if interface not in known:
            raise ConfigError(f"dhcp.interfaces: this machine has no {interface}; it has: {', '.join(known)}")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Have a folder to ourselves."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"dhcp.run: {error.filename}: {error.strerror}; choose another folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"dhcp.run: another frontend runs a dnsmasq in {folder}; give each its own") from None
        yield
    finally:
        os.close(descriptor)


def _end_stale(folder: Path) -> None:
    """End the dnsmasq of a frontend that was killed: it has our port and knows nothing new."""
    try:
        pid = int((folder / "dnsmasq.pid").read_text())
    except (FileNotFoundError, ValueError):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        while _is_ours(pid, folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    log.warning("dnsmasq of an earlier frontend ended", extra=facts(pid=pid))


def _is_ours(pid: int, folder: Path) -> bool:
    # A pid file may name anybody by now.
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return arguments(folder)[0].encode() in words


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _tell(line: str) -> None:
    """Pass on what dnsmasq says."""
    # It notices that a file of a host is gone before it is told to forget the host.
    level = logging.DEBUG if "inotify" in line or "No such file" in line or ": read " in line else logging.INFO
    log.log(level, "dnsmasq", extra=facts(said=line.partition(": ")[2] or line))
