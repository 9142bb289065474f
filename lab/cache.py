"""Costly artefacts, kept outside the checkout and keyed by their inputs.

An artefact is a folder ``KIND-KEY``. It is built in ``KIND-KEY.partial`` and renamed when it is complete, so whatever
has the final name can be used, and an interrupted build is taken up where it stopped. One lock per kind: a second run
waits and finds the result.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from avalanche.errors import ConfigError

DEFAULT = "/var/cache/avalanche-lab"


def key_of(inputs: Mapping[str, object]) -> str:
    """Return 16 hexadecimal digits that stand for the inputs (JSON values)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def require_space(folder: Path, megabytes: int, *, purpose: str) -> None:
    """Refuse now rather than stop half-way.

    Raises:
        ConfigError: the file system of ``folder`` has less than ``megabytes`` free.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free // 1_000_000
    if free < megabytes:
        raise ConfigError(f"{purpose} needs {megabytes} MB of disk, {existing} has {free} MB free: make room there")


class Cache:
    """The folder of artefacts."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_environment(cls) -> Cache:
        """Return the cache ``AVALANCHE_CACHE`` names, or the default one."""
        return cls(Path(os.environ.get("AVALANCHE_CACHE") or DEFAULT).absolute())

    def __repr__(self) -> str:
        return f"<Cache {self.root}>"

    def folder(self, kind: str, key: str) -> Path:
        return self.root / f"{kind}-{key}"

    def provide(self, kind: str, key: str, build: Callable[[Path], None], *, megabytes: int) -> Path:
        """Return the artefact's folder, building it first if need be.

        Args:
            build: fills the folder it is given, which may hold what an interrupted build left.
            megabytes: what the build needs on disk.
        """
        final = self.folder(kind, key)
        if final.is_dir():
            return final
        require_space(self.root, megabytes, purpose=f"building {kind}")
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(kind):
            if not final.is_dir():
                partial = final.with_name(final.name + ".partial")
                partial.mkdir(exist_ok=True)
                build(partial)
                partial.rename(final)
        return final

    @contextmanager
    def _locked(self, kind: str) -> Iterator[None]:
        with (self.root / f".{kind}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{kind}: another run is building it, waiting", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
