"""One installing host: namespaces, a root of its own over the shared one, and the mini installer in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avalanche.errors import ConfigError
from lab.contained import dependent, run
from lab.network import Link, Namespace

_AGENT_SECONDS = 0.2
_INSTALLER = Path(__file__).with_name("installer.py")
# Arguments: the host's folder, the lower folders of its root. Mounts live in this mount namespace and end with it.
_ENTER = r"""
folder=$1 lower=$2
cd "$folder"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=upper,workdir=work" machine
cd machine
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755,size=64m tmpfs run
mount -t tmpfs -o mode=755,size=1m tmpfs dev
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
mkdir -p dev/pts dev/shm mnt/lab
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind "$folder" mnt/lab
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root TERM=dumb \
    /usr/bin/python3 -I /mnt/lab/installer.py
"""


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders hosts share, read-only: the configured Debian root, and what lies on top of it."""

    root: Path
    layer: Path

    @property
    def lower(self) -> str:
        """The value of overlayfs's ``lowerdir``."""
        for path in (self.layer, self.root):
            if set(str(path)) & set(":,\\"):
                raise ConfigError(
                    f"{path}: overlayfs cannot have ':', ',' or a backslash in a path: set AVALANCHE_CACHE"
                )
        return f"{self.layer}:{self.root}"


class Host:
    """A host of the lab.

    Args:
        link: its name, address and link.
        folder: ``var/lab/hosts/NAME``; emptied.
    """

    def __init__(self, link: Link, folder: Path, *, appliance: str = "compute") -> None:
        self.link = link
        self.name = link.name
        self.folder = folder
        self.appliance = appliance
        self.watch: tuple[str, ...] = ()
        """A program, as strace, under which the whole host runs; it must not stand between a process and its parent."""
        self.overlay: dict[str, str] = {}
        """Files of this host alone, over those all share: paths below its root, and their text."""
        self.is_killed = False
        self.bytes_from_peers = 0
        """What the agent said last."""
        self.agent_rss_mib: float | None = None
        self.agent_cpu_seconds: float | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.link.address}>"

    def start(self, namespace: Namespace, roots: Roots, *, frontend: str, mode: str) -> None:
        """Switch the host on."""
        run(["rm", "-rf", "--one-file-system", str(self.folder)])
        for name in ("upper", "work", "machine", "root"):
            (self.folder / name).mkdir(parents=True)
        for name, text in self.overlay.items():
            target = self.folder / "upper" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        shutil.copyfile(_INSTALLER, self.folder / "installer.py")
        settings = {"frontend": frontend, "interface": "eth0", "mac": self.link.mac, "mode": mode}
        (self.folder / "installer.json").write_text(json.dumps(settings))
        inside = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eu", "-c", _ENTER)
        with (self.folder / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                dependent(*namespace.command(*self.watch, *inside, "host", str(self.folder), roots.lower)),
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Cut the power."""
        self.is_killed = True
        self.stop()

    def freeze(self) -> None:
        """Let everything on the host stand still."""
        for process in self._processes():
            _send(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let everything on the host go on."""
        for process in self._processes():
            _send(process, signal.SIGCONT)

    def stop(self) -> None:
        """End everything on the host, if anything runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def status(self) -> dict[str, Any]:
        """Return the installer's stage and detail, or ``{"stage": "boot"}`` before it has one."""
        return self._read("status.json") or {"stage": "boot", "detail": ""}

    def result(self) -> dict[str, Any] | None:
        """Return the installer's result, or None when it has not ended by itself."""
        return self._read("result.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document = json.loads((self.folder / name).read_text())
        except FileNotFoundError:
            return None
        assert isinstance(document, dict)
        return document

    def save_agent_log(self) -> None:
        """Keep the agent's log of a host that is about to be switched off."""
        first = self._first_process()
        if first is not None:
            with contextlib.suppress(OSError):
                shutil.copyfile(f"/proc/{first}/root/run/avalanche/agent.log", self.folder / "agent.log")

    def last_words(self) -> str:
        """Return the end of the console, for a host that ended without a result."""
        lines = (self.folder / "console.log").read_text(errors="replace").split("\n")
        return " | ".join([line for line in lines if line.strip()][-3:]) or "it said nothing"

    def release(self) -> None:
        """Let the host pass the start barrier."""
        first = self._first_process()
        if first is not None:
            with contextlib.suppress(OSError):
                (Path(f"/proc/{first}/root/run/avalanche/hold")).unlink()

    def write_agent_pid(self) -> None:
        """Keep ``agent.pid`` true: the agent's process as this machine counts, and no file while there is none."""
        target = self.folder / "agent.pid"
        for process in self._processes():
            words = _command_line(process)
            if any(word.endswith(b"agent.pyz") for word in words) and b"agent" in words:
                new = target.with_suffix(".new")
                new.write_text(f"{process}\n")
                new.replace(target)
                return
        target.unlink(missing_ok=True)

    def weigh_agent(self) -> None:
        """See how much memory and processor time the agent takes, if one runs (proc(5), stat)."""
        with contextlib.suppress(OSError, ValueError):
            process = int((self.folder / "agent.pid").read_text())
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
            if pages:  # none: it has just ended
                rss = round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)
                self.agent_rss_mib = max(rss, self.agent_rss_mib or 0.0)
                self.agent_cpu_seconds = ticks / os.sysconf("SC_CLK_TCK")

    def ask_agent(self) -> None:
        """Ask the agent, if one runs, how far it is."""
        first = self._first_process()
        if first is None:
            return
        with contextlib.suppress(OSError, ValueError, KeyError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_AGENT_SECONDS)
            connection.connect(f"/proc/{first}/root/run/avalanche/agent.sock")
            connection.sendall(b'{"command": "status"}\n')
            with connection.makefile("rb") as lines:
                self.bytes_from_peers = int(json.loads(lines.readline())["facts"]["bytes_from_peers"])

    def _first_process(self) -> int | None:
        return next(iter(self._processes()), None)

    def _processes(self) -> Iterator[int]:
        """Yield the processes inside the host, the first one first."""
        if self._process is not None:
            # nsenter and setpriv have become unshare; its only child is the host's first process.
            for first in _children(self._process.pid):
                yield from _descendants(first)


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _descendants(process: int) -> Iterable[int]:
    yield process
    for child in _children(process):
        yield from _descendants(child)


def _command_line(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
