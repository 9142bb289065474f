"""A real file system of a few megabytes, to be filled up and emptied again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """A tmpfs in a mount namespace that a process of ours holds.

    Attributes:
        folder: where ``run`` sees it.
        root: where everybody sees it, but not programs that resolve symbolic links themselves, as SQLite does.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir()
        self.folder = folder
        script = f"mount -t tmpfs -o size={megabytes}m none {folder} && echo && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None and self._holder.stdout.readline() == b"\n"
        self.root = Path(f"/proc/{self._holder.pid}/root{folder}")

    def __repr__(self) -> str:
        return f"<SmallDisk {self.root}>"

    @property
    def _filler(self) -> Path:
        return self.root / ".filler"

    def fill(self, *, leave: int = 0) -> None:
        """Use up all but ``leave`` bytes."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                pass
            if leave:
                file.truncate(file.tell() - leave)

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink()

    @contextmanager
    def full(self, *, leave: int = 0) -> Iterator[None]:
        """Have no room in a block."""
        self.fill(leave=leave)
        try:
            yield
        finally:
            self.empty()

    def command(self, *arguments: object) -> list[str]:
        """An avalanche command line, to be run where the file system is."""
        enter = ["nsenter", "--mount", "--target", str(self._holder.pid), f"--wd={Path.cwd()}"]
        return [*enter, sys.executable, "-m", "avalanche", *map(str, arguments)]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run an avalanche command."""
        return subprocess.run(self.command(*arguments), check=False, capture_output=True, text=True)

    def names(self) -> list[str]:
        """Everything that is there, sorted."""
        found = (Path(parent, name) for parent, _, files in os.walk(self.root) for name in files)
        return sorted(str(path.relative_to(self.root)) for path in found if path != self._filler)

    def close(self) -> None:
        """Let it go."""
        self._holder.kill()
        self._holder.communicate()
