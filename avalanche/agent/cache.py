"""Where verified bytes wait for the installer: files in the cache directory, later on the target disk.

Answers one question, *is there room for this object?*, and keeps the books. Every file is reached through the
descriptor of its directory, so a file system that the installer mounts on top later hides nothing from us.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Optional

from avalanche.agent.settings import Settings
from avalanche.errors import ConfigError
from avalanche.manifest import Entry

TARGET_SUBDIRECTORY = Path("var/cache/avalanche")
TARGET_RESERVE = 1 << 30
"""Bytes of the target disk that are left to the installer."""
RESERVE = 64 << 20
"""Bytes of the cache directory's file system that are left to others; a sixteenth where that is less."""
PREFETCH_SHARE = 0.75
"""Part of the limit that prefetched objects may fill; the rest is for what the installer asks for out of order."""

_OURS = re.compile(r"([0-9]{6})-(?:([0-9a-f]{64})-)?.*\.object", re.DOTALL)
_ESCAPED = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"}
log = logging.getLogger(__name__)


class Place:
    """A directory that holds objects."""

    def __init__(
        self, path: Path, *, limit: Optional[int], reserve: Optional[int] = None, keeps_leftovers: bool = False
    ) -> None:
        """Make the directory if need be, and remove what an earlier agent left in it, or put it into `leftovers`.

        Raises:
            ConfigError: the directory is not ours alone.
            OSError: it cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        self.path = path
        self.limit = limit
        self.used = 0
        """Bytes promised to objects here."""
        self.written = 0
        """Bytes of those that are on the disk."""
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except NotADirectoryError as error:
            raise ConfigError(f"{path}: not a directory; remove it or set cache_dir in agent.json") from error
        status = os.fstat(self.descriptor)
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
            os.close(self.descriptor)
            raise ConfigError(f"{path}: others may write here; the cache needs a directory of its own")
        self.leftovers: list[Leftover] = []
        for name in os.listdir(self.descriptor):  # noqa: PTH208 - by descriptor, not by name
            found = _OURS.fullmatch(name)
            if found is not None and keeps_leftovers and found[2] is not None:
                self.leftovers.append(Leftover(self, name, int(found[1]), found[2]))
            elif found is not None:
                os.unlink(name, dir_fd=self.descriptor)
        facts = os.fstatvfs(self.descriptor)
        self.reserve = min(RESERVE, facts.f_frsize * facts.f_blocks // 16) if reserve is None else reserve

    def __repr__(self) -> str:
        return f"<Place {self.path} {self.used} bytes>"

    def has_room(self, size: int, *, share: float = 1.0, beyond_limit: bool = False) -> bool:
        """Is there room for ``size`` more bytes, on the disk and within ``share`` of the limit?"""
        facts = os.fstatvfs(self.descriptor)
        free = facts.f_bavail * facts.f_frsize - (self.used - self.written)
        if free < size + self.reserve:
            return False
        return beyond_limit or self.limit is None or self.used + size <= self.limit * share

    def close(self) -> None:
        """Remove leftovers, and the directory, empty by now."""
        for leftover in self.leftovers:
            leftover.remove()
        os.close(self.descriptor)
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Leftover:
    """The file of an object that an agent which died has left; nothing of it is believed.

    Attributes:
        number: of the file, among those of that agent.
        sha256: which object it says it is.
    """

    def __init__(self, place: Place, name: str, number: int, sha256: str) -> None:
        self._place = place
        self._name = name
        self.number = number
        self.sha256 = sha256

    def __repr__(self) -> str:
        return f"<Leftover {self._name}>"

    def open(self) -> BinaryIO:
        """Its bytes.

        Raises:
            OSError: it cannot be read.
        """
        descriptor = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._place.descriptor)
        return os.fdopen(descriptor, "rb", buffering=0)

    def remove(self) -> None:
        """Give its room back."""
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._place.descriptor)


class Slot:
    """The file of one object. Only proven bytes are ever written to it, but by who has it lent."""

    def __init__(self, place: Place, name: str, size: int) -> None:
        self.place = place
        self.size = size
        self._name = name
        self._written = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: Optional[int] = os.open(name, flags, 0o600, dir_fd=place.descriptor)
        place.used += size
        self.is_lent = False
        """Does somebody else write the file?"""

    def __repr__(self) -> str:
        return f"<Slot {self._name} {self._written}/{self.size}>"

    def lend(self) -> str:
        """Let somebody else write the file: return a path of it that no later mount hides. Verified bytes are there
        already when they come to `write`, which only counts them.
        """
        self.is_lent = True
        self.seal()
        return f"/proc/self/fd/{self.place.descriptor}/{self._name}"

    def reclaim(self) -> None:
        """Write the rest ourselves; nobody else does any more."""
        self.is_lent = False

    def write(self, data: memoryview, start: int) -> None:
        """Put proven bytes where they belong; what lies ahead of ``start`` is there already.

        Raises:
            OSError: the disk is full or broken; nothing of ``data`` counts as written.
        """
        if self.is_lent:
            self._written += len(data)
            self.place.written += len(data)
            return
        if self._descriptor is None:  # reclaimed
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._name, flags, dir_fd=self.place.descriptor)
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], start + done)
        grown = max(start + done - self._written, 0)
        self._written += grown
        self.place.written += grown

    def seal(self) -> None:
        """No more bytes will come."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def open(self) -> BinaryIO:
        """The bytes so far, for reading."""
        descriptor = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.place.descriptor)
        return os.fdopen(descriptor, "rb", buffering=0)

    def drop(self) -> None:
        """Remove the file and give its room back."""
        self.seal()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self.place.descriptor)
        self.place.used -= self.size
        self.place.written -= self._written


class Cache:
    """The places of this host: first the cache directory, then the target disk as soon as it is mounted.

    A target disk that is nearly full is left to the installer; the cache directory goes on being used.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError when the cache directory cannot be used."""
        limit = settings.cache_limit_bytes or available_memory() // 2
        self._roots = settings.target_roots
        try:
            self._places = [Place(settings.cache_dir, limit=limit, keeps_leftovers=True)]
        except OSError as error:
            raise ConfigError(f"{settings.cache_dir}: cannot hold the package cache: {error.strerror}") from error
        self._is_on_target = False
        self._unusable: set[Path] = set()
        self._follow_target(keeps_leftovers=True)
        self._count = max((leftover.number for leftover in self.leftovers), default=0)
        log.info("cache opened path=%s limit=%d", settings.cache_dir, limit)

    def __repr__(self) -> str:
        return f"<Cache {self.used} bytes, {self._places!r}>"

    @property
    def used(self) -> int:
        """Bytes promised to objects."""
        return sum(place.used for place in self._places)

    @property
    def leftovers(self) -> list[Leftover]:
        """What an agent that died has left here; `close` removes what is not removed before."""
        return [leftover for place in self._places for leftover in place.leftovers]

    @property
    def paths(self) -> str:
        """Where objects may be, for a person to read."""
        return " and ".join(str(place.path) for place in self._places)

    def reserve(self, entry: Entry, *, demanded: bool, beyond_limit: bool = False) -> Optional[Slot]:
        """Room for an object, or None when there is none now.

        Args:
            demanded: the installer waits for it, so it may have the part of the limit that prefetch leaves.
            beyond_limit: only the disk may refuse it.
        """
        self._follow_target()
        share = 1.0 if demanded else PREFETCH_SHARE
        for place in reversed(self._places):
            if place.has_room(entry.size, share=share, beyond_limit=beyond_limit):
                self._count += 1
                base = entry.path.rpartition("/")[2].encode("utf-8")[:150].decode("utf-8", "ignore")
                return Slot(place, f"{self._count:06d}-{entry.sha256}-{base}.object", entry.size)
        return None

    def close(self) -> None:
        """Remove the places; their slots are dropped before."""
        for place in self._places:
            place.close()

    def _follow_target(self, *, keeps_leftovers: bool = False) -> None:
        if self._is_on_target:
            return
        for root in self._roots:
            if is_mount_point(root):
                path = root / TARGET_SUBDIRECTORY
                try:
                    place = Place(path, limit=None, reserve=TARGET_RESERVE, keeps_leftovers=keeps_leftovers)
                except (OSError, ConfigError) as error:
                    if root not in self._unusable:
                        log.warning("cache stays path=%s reason=%s", self._places[-1].path, error)
                    self._unusable.add(root)
                else:
                    log.info("cache moves on path=%s", path)
                    self._places.append(place)
                    self._is_on_target = True
                    return


def remove_leftovers(settings: Settings) -> None:
    """Remove what an agent that died has left in the places it may have used."""
    for path in (settings.cache_dir, *(root / TARGET_SUBDIRECTORY for root in settings.target_roots)):
        if path.is_dir():
            try:
                Place(path, limit=None).close()
            except (OSError, ConfigError) as error:
                log.warning("cache left behind path=%s reason=%s", path, error)


def is_mount_point(path: Path) -> bool:
    """Is something mounted exactly here, a bind mount too?

    Source: proc(5), ``/proc/self/mountinfo``: the fifth field, with space, tab, newline and backslash in octal.
    """
    wanted = "".join(_ESCAPED.get(character, character) for character in str(path))
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        return any(line.split(" ")[4] == wanted for line in lines if wanted in line)


def available_memory() -> int:
    """Bytes the kernel could give to programs now (proc(5), ``MemAvailable``)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ConfigError("/proc/meminfo has no MemAvailable; set cache_limit_bytes in agent.json")
