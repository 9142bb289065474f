"""Following a file that grows: from its end on, through rotation and truncation, line by line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from avalanche.errors import ConfigError

READ_AT_ONCE = 1 << 20
MAX_LINE = 64 * 1024  # bytes; what is longer is no log line, and is dropped


class Tail:
    """Reads what is added to a file after this object was made.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rest = b""
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("rb")
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; is this the server's log?") from error

    def __repr__(self) -> str:
        return f"<Tail {self.path}>"

    def close(self) -> None:
        """Stop following."""
        if self._file is not None:
            self._file.close()

    def lines(self) -> list[str]:
        """What was added since the last call: whole lines; bytes that are no text are shown as such."""
        data = self._read()
        if self._was_replaced():
            # What was still written to the old file, then the new one from its beginning.
            data += self._read() + (b"\n" if self._rest or not data.endswith(b"\n") else b"")
            self._reopen()
            data += self._read()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            self._rest = b""
        return [line.decode("utf-8", "backslashreplace") for line in whole if line]

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        if self._file.tell() > os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)  # it was emptied
            self._rest = b""
        return self._file.read(READ_AT_ONCE)

    def _was_replaced(self) -> bool:
        try:
            now = self.path.stat()
        except OSError:
            return False  # between two files
        if self._file is None:
            return True
        own = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino)

    def _reopen(self) -> None:
        with contextlib.suppress(OSError):
            new = self.path.open("rb")
            self.close()
            self._file = new
