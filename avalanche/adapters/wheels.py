"""libtorrent for the Python of a host: what the swarm plane needs there besides the agent bundle.

The frontend has the one it runs on itself, and those an administrator puts as wheels into a folder of the state
directory: ``pip download --no-deps --only-binary :all: --python-version 3.9 -d STATE/libtorrent libtorrent``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WHEEL = re.compile(r"libtorrent-(?P<version>[0-9.]+)-cp(?P<python>[0-9]+)-cp[0-9]+-(?P<platforms>[a-z0-9_.]+)\.whl")
_PLATFORM = re.compile(r"manylinux_(?P<major>[0-9]+)_(?P<minor>[0-9]+)_(?P<machine>[a-z0-9_]+)")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A zip file with libtorrent in it.

    Attributes:
        version: of libtorrent.
        python: ``3.9``.
        machine: as ``uname -m`` says.
        glibc: the oldest one it runs on.
        data: the zip file.
        sha256: of it, hexadecimal.
    """

    version: str
    python: str
    machine: str
    glibc: tuple[int, int]
    data: bytes
    sha256: str

    def __repr__(self) -> str:
        return f"<Wheel libtorrent {self.version} for Python {self.python} on {self.machine}, {len(self.data)} bytes>"

    def fits(self, python: str, machine: str, glibc: tuple[int, int]) -> bool:
        """Does it run there?"""
        return (self.python, self.machine) == (python, machine) and self.glibc <= glibc


class Wheels:
    """The libtorrents of a frontend; the folder is looked at when a host asks.

    Args:
        folder: wheels an administrator provides; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[tuple[str, int, int], Wheel | None] = {}
        self._own: Wheel | None = None
        self._has_looked = False

    def __repr__(self) -> str:
        return f"<Wheels {self.folder}>"

    def find(self, python: str, machine: str, glibc: tuple[int, int]) -> Wheel | None:
        """The newest that runs there, or None."""
        fit = [wheel for wheel in self._all() if wheel.fits(python, machine, glibc)]
        return max(fit, key=lambda wheel: tuple(map(int, wheel.version.split("."))), default=None)

    def open(self, sha256: str) -> Wheel | None:
        """The one with this hash, or None."""
        return next((wheel for wheel in self._all() if wheel.sha256 == sha256), None)

    def _all(self) -> Iterator[Wheel]:
        kept = {}
        for path in sorted(self.folder.glob("libtorrent-*.whl")):
            status = path.stat()
            key = path.name, status.st_mtime_ns, status.st_size
            kept[key] = self._read[key] if key in self._read else _read(path)
        self._read = kept
        yield from (wheel for wheel in kept.values() if wheel is not None)
        if not self._has_looked:
            self._own, self._has_looked = _installed(), True
        if self._own is not None:
            yield self._own


def _read(path: Path) -> Wheel | None:
    found = _WHEEL.fullmatch(path.name)
    if found is None:
        return None
    digits = found["python"]
    return _wheel(found["version"], f"{digits[0]}.{digits[1:]}", found["platforms"], path.read_bytes())


def _installed() -> Wheel | None:
    """What this frontend imports itself, packed again; None when it was not installed from a wheel."""
    try:
        distribution = importlib.metadata.distribution("libtorrent")
    except importlib.metadata.PackageNotFoundError:
        return None
    tags = re.findall(r"^Tag: cp[0-9]+-cp[0-9]+-(\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    files = [path for path in distribution.files or () if path.name.endswith(".so")]
    if not tags or not files:
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(str(path), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_binary())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _wheel(distribution.version, python, ".".join(tags), buffer.getvalue())


def _wheel(version: str, python: str, platforms: str, data: bytes) -> Wheel | None:
    for platform in platforms.split("."):
        found = _PLATFORM.fullmatch(platform)
        if found is not None:
            glibc = int(found["major"]), int(found["minor"])
            return Wheel(version, python, found["machine"], glibc, data, hashlib.sha256(data).hexdigest())
    return None
