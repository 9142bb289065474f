"""Small files: written whole or not at all, read within bounds."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file and its name durably, in one step; an interruption leaves the old one.

    Raises:
        OSError: the disk is full or the folder may not be written; nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
