"""Small files: written whole or not at all, read within bounds."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o600


def write_whole(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file and its name durably, in one step; an interruption leaves the old one.

    Raises:
        OSError: the disk is full or the folder may not be written; names the file; nothing is left behind.
    """
    with written({path: data}, mode=mode):
        pass


@contextmanager
def written(files: Mapping[Path, bytes], *, mode: int = PRIVATE) -> Iterator[None]:
    """Have files ready on the disk, and give them their names, durably, when the block ends; not when it raises.

    What a block does thus happens only if there is room for what is to be written after it.

    Raises:
        OSError: as ``write_whole``, before the block is entered.
    """
    ready: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            with named(path):
                descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
                ready[path] = Path(name)
                with os.fdopen(descriptor, "wb") as file:
                    os.fchmod(file.fileno(), mode)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        yield
        for path, fresh in ready.items():
            fresh.replace(path)
    except BaseException:
        for fresh in ready.values():
            fresh.unlink(missing_ok=True)
        raise
    for parent in {path.parent for path in files}:
        folder = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error say which file could not be written: the system names none, or one for the meantime.

    Raises:
        OSError: what the block raised.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file that has no more bytes than ``limit``; its size is looked at before it is read.

    Raises:
        TooLarge: it has more, or is a device, a pipe or a folder.
        OSError: it cannot be read.
    """
    # Without waiting for the other end, if it is a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TooLarge("it is no regular file")
        data = stream.read(limit + 1) if status.st_size <= limit else b""
    if status.st_size > limit or len(data) > limit:
        raise TooLarge(f"it has {max(status.st_size, len(data))} bytes, more than the {limit} allowed")
    return data


class TooLarge(Exception):
    """A file has more bytes than whoever reads it wants. The message says how many."""
