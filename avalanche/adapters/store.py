"""The content store: every object once, named by its SHA-256, never changed afterwards.

Knows how bytes come in (sharing blocks where the file system can), how they stay what they are, and what to say when
the disk is full. Leaves to `distributions` which objects a generation links to, and the lock that makes it one writer
at a time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from avalanche.adapters.leaves import Leaves
from avalanche.adapters.ledger import Ledger
from avalanche.errors import RepositoryError, StoreFull
from avalanche.manifest import Identity, PieceHasher

FICLONE = 0x40049409
"""ioctl: make this file share the blocks of another one (linux/fs.h)."""
CHUNK = 1 << 20
_INCOMING = ".incoming-"
_NAME = re.compile(r"[0-9a-f]{64}")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What file systems answer when they cannot share or copy by themselves; then bytes are read and written.
_CANNOT = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)


class Store:
    """Objects below ``root``, each at ``ab/abcdef...`` with mode 0444.

    Args:
        root: the store's directory; made when it is not there.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._identities = Ledger(root / "identities.jsonl")
        self._sources = Ledger(root / "sources.jsonl")
        self.leaves = Leaves(root / "leaves")

    def __repr__(self) -> str:
        return f"<Store {self.root} {len(self._identities)} objects>"

    def path(self, sha256: str) -> Path:
        """Where the object is, or would be."""
        return self.root / sha256[:2] / sha256

    def add(self, source: Path) -> Identity:
        """Take a copy of ``source`` unless the store holds its bytes; an unchanged file is not even read.

        Raises:
            StoreFull: the file system has no room; nothing of this file is left behind.
            RepositoryError: the file cannot be read, is empty, or changes while it is read.
        """
        with _as_repository_error(source):
            before = source.stat()
            known = self._known(before)
            if known is not None:
                return known
            identity = self.put(source)
            if _source_key(source.stat()) != _source_key(before):
                raise RepositoryError(f"{source} changed while it was copied: import again when it is at rest")
            with no_room_as_store_full(self.root, 4096):
                self._sources.set(_source_key(before), identity.sha256)
            return identity

    def put(self, source: Path) -> Identity:
        """As `add`, for a file that nobody will bring again: it is always read."""
        with _as_repository_error(source), no_room_as_store_full(self.root, source.stat().st_size):
            identity = self._take(source)
            self._identities.set(identity.sha256, asdict(identity))
            return identity

    def _known(self, source: os.stat_result) -> Identity | None:
        sha256 = self._sources.get(_source_key(source))
        return None if sha256 is None else self.identity(sha256)

    def identity(self, sha256: str) -> Identity | None:
        """What is known about an object that is there with the right size, or None."""
        fact = self._identities.get(sha256)
        if fact is None:
            return None
        identity = Identity(**{**fact, "pieces": tuple(fact["pieces"])})
        try:
            size = self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None
        return identity if size == identity.size else None

    def link(self, sha256: str, target: Path) -> None:
        """Make ``target`` a hard link to an object.

        Raises:
            StoreFull: no room for a directory entry.
        """
        with no_room_as_store_full(self.root, 4096):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(self.path(sha256))

    def require_room(self, sources: list[Path]) -> None:
        """Refuse before anything is copied when the new ones among ``sources`` cannot fit.

        Raises:
            StoreFull: says how much is needed and how much is free.
            RepositoryError: a file is not there, or may not be looked at.
        """
        with _as_repository_error(self.root):
            new = [stat for stat in map(Path.stat, sources) if self._known(stat) is None]
        needed = sum(-(-stat.st_size // 4096) * 4096 for stat in new)
        free = free_bytes(self.root)
        if needed > free and not self._shares_blocks_with(sources[0]):
            raise StoreFull(
                f"{self.root} has no room: {needed} bytes are needed for {len(new)} new packages, {free} are free: "
                "make room, import again"
            )

    def forget(self, sha256: str) -> None:
        """Stop trusting an object: the next `add` of its bytes compares them, and mends it."""
        self._identities.set(sha256, None)

    def collect(self) -> int:
        """Remove what no generation links to, and what an interrupted import left; returns the bytes freed."""
        freed = 0
        for path in [*self.root.glob(_INCOMING + "*"), *self._objects()]:
            stat = path.stat()
            if stat.st_nlink == 1:
                path.unlink()
                freed += stat.st_size
        for sha256 in self._identities:
            if not self.path(sha256).exists():
                self.forget(sha256)
        self.leaves.forget_all_but(set(self._identities))
        for key in self._sources:
            if self._identities.get(self._sources.get(key)) is None:
                self._sources.set(key, None)
        return freed

    def _objects(self) -> Iterator[Path]:
        return (path for path in self.root.glob("??/*") if _NAME.fullmatch(path.name))

    def _take(self, source: Path) -> Identity:
        """Copy, hash the copy (what is stored is what is named), publish."""
        handle, name = tempfile.mkstemp(prefix=_INCOMING, dir=self.root)
        incoming = Path(name)
        try:
            with os.fdopen(handle, "w+b") as copy, source.open("rb") as origin:
                _copy(origin, copy)
                identity, leaves = _hash(copy, source)
                self.leaves.keep(identity, leaves)
                target = self.path(identity.sha256)
                if not target.parent.exists():
                    target.parent.mkdir()
                    sync_directory(self.root)
                if target.exists():
                    _mend(target, copy)
                    return identity
                os.fchmod(copy.fileno(), 0o444)
                os.fsync(copy.fileno())
            incoming.rename(target)
            sync_directory(target.parent)
            return identity
        finally:
            incoming.unlink(missing_ok=True)

    def _shares_blocks_with(self, source: Path) -> bool:
        """Does a copy of ``source`` cost no room here?"""
        with tempfile.TemporaryFile(prefix=_INCOMING, dir=self.root) as copy, source.open("rb") as origin:
            return _share(origin, copy)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _source_key(stat: os.stat_result) -> str:
    # ctime too: a file rewritten in place may be given back its old mtime.
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _share(origin: BinaryIO, copy: BinaryIO) -> bool:
    try:
        fcntl.ioctl(copy.fileno(), FICLONE, origin.fileno())
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _copy(origin: BinaryIO, copy: BinaryIO) -> None:
    """Copy by sharing blocks, else inside the kernel, else by reading and writing."""
    if _share(origin, copy):
        return
    try:
        while os.copy_file_range(origin.fileno(), copy.fileno(), 1 << 30):
            pass
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        origin.seek(0)
        copy.seek(0)
        shutil.copyfileobj(origin, copy, CHUNK)
        copy.flush()


def _hash(file: BinaryIO, source: Path) -> tuple[Identity, bytes]:
    hasher = PieceHasher()
    buffer = memoryview(bytearray(CHUNK))
    file.seek(0)
    while taken := file.readinto(buffer):  # type: ignore[attr-defined]
        hasher.update(buffer[:taken])
    if hasher.size == 0:
        raise RepositoryError(f"{source} is empty: remove it, or fetch it again")
    return hasher.identity(), bytes(hasher.leaves)


def _mend(target: Path, good: BinaryIO) -> None:
    """Give a damaged object its bytes back, in place, so that every hard link to it is mended too."""
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == target.name:
            return
    target.chmod(0o644)
    with target.open("r+b") as file:
        good.seek(0)
        shutil.copyfileobj(good, file, CHUNK)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    target.chmod(0o444)


def free_bytes(path: Path) -> int:
    """Bytes an ordinary process may still write to the file system of ``path``."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


@contextmanager
def _as_repository_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RepositoryError(f"{error.filename or path}: {error.strerror or error}") from error


@contextmanager
def no_room_as_store_full(path: Path, needed: int) -> Iterator[None]:
    """Translate "no space left" while something of ``needed`` bytes is written below ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        free = free_bytes(path)
        raise StoreFull(
            f"{path} is full: {needed} bytes are needed, {free} are free: make room, import again"
        ) from error
