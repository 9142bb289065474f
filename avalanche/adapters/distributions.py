"""Distributions: what hosts install, as immutable generations.

A generation is a directory of hard links into the content store: packages, repository data signed by the frontend, the
public keys, and its manifest. `intake` builds it aside and renames it; ``current`` is switched by a rename too, so that
whoever looks sees a whole one. Layout and reasons: docs/distribution.md.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from avalanche.adapters.intake import BUILDING, MANIFEST, Intake, Progress, silent
from avalanche.adapters.signing import Keyring, SigningKey
from avalanche.adapters.store import Store, no_room_as_store_full, sync_directory
from avalanche.errors import ProtocolError, RepositoryError
from avalanche.manifest import Entry, Manifest, parse_manifest

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ID = re.compile(r"g-[0-9a-f]{16}")


@dataclass(frozen=True)
class Generation:
    """One revision of a distribution; never changes.

    Attributes:
        id: ``g-`` and 16 hexadecimal digits of what it is made of.
        name: the distribution's name.
        path: the directory that holds ``Packages``, ``repodata`` and the keys.
        manifest: every object of it, in canonical order.
    """

    id: str
    name: str
    path: Path
    manifest: Manifest

    def object_path(self, path: str) -> Path:
        """The file of an object of the manifest.

        Raises:
            RepositoryError: the generation has no such object.
        """
        if self.manifest.find(path) is None:
            raise RepositoryError(f"{path} is not in generation {self.id} of {self.name}")
        return self.path / path

    def __repr__(self) -> str:
        return f"<Generation {self.name} {self.manifest!r}>"


class Distributions:
    """All distributions of a frontend.

    Args:
        state: the frontend's state directory; its ``gnupg`` holds the signing key.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._root = state / "distributions"
        self._generations: dict[Path, Generation] = {}

    def __repr__(self) -> str:
        return f"<Distributions {', '.join(self.names()) or 'none'}>"

    @property
    def store(self) -> Store:
        """The content store, freshly opened: another process may have written to it."""
        return Store(self._state / "store")

    def names(self) -> tuple[str, ...]:
        """The distributions that have a current generation."""
        return tuple(sorted(link.parent.name for link in self._root.glob("*/current")))

    def generations(self, name: str) -> tuple[Generation, ...]:
        """The generations of a distribution, oldest first.

        Raises:
            RepositoryError: one of them is damaged.
        """
        found = sorted((self._root / name / "generations").glob("g-*"), key=lambda path: path.stat().st_ctime_ns)
        return tuple(self._open(path) for path in found)

    def current(self, name: str) -> Generation:
        """The generation new install orders are pinned to.

        Raises:
            RepositoryError: there is none, or it is damaged.
        """
        link = self._root / name / "current"
        if not link.is_symlink():
            known = ", ".join(self.names()) or "none yet"
            raise RepositoryError(f"distribution {name!r} has no generation (known: {known}): 'avalanche dist import'")
        return self._open(link.parent / "generations" / link.readlink().name)

    def open(self, generation: str) -> Generation:
        """A generation by its id, of whatever distribution.

        Raises:
            RepositoryError: there is none, or it is damaged.
        """
        # An id may come from outside: it must not be a path.
        if _ID.fullmatch(generation):
            for generations in self._root.glob("*/generations"):
                if (generations / generation).is_dir():
                    return self._open(generations / generation)
        raise RepositoryError(f"generation {generation!r} does not exist: 'avalanche dist list' shows those that do")

    def import_folder(
        self,
        name: str,
        folder: Path,
        *,
        comps: Path | None = None,
        keys: Sequence[Path] = (),
        allow_unsigned: bool = False,
        progress: Progress = silent,
    ) -> Generation:
        """Make the RPMs below ``folder`` the current generation of a distribution.

        The same packages, groups and keys give the same generation, which is then not built again. When anything is
        wrong, what was current stays current and nothing is left behind; hosts in flight keep their generation anyhow.

        Args:
            name: the distribution.
            folder: every ``*.rpm`` below it is taken (source packages are not), symbolic links are followed.
            comps: the groups; by default those the folder comes with.
            keys: public keys that the packages must be signed with.
            allow_unsigned: accept packages by anybody, signed or not; damaged ones are refused all the same.

        Raises:
            RepositoryError: the folder or a package is not as it must be, or another import is running.
            StoreFull: says what is needed and what is free.
            ConfigError: there is no signing key, or a system tool is missing.
        """
        if not _NAME.fullmatch(name):
            raise RepositoryError(f"distribution name {name!r}: lower-case letters, digits, '.', '_', '-' only")
        signing_key = SigningKey.open(self._state / "gnupg")
        with self._writing():
            intake = Intake(self._state, self._root / name, signing_key, Keyring(keys), progress)
            try:
                with no_room_as_store_full(self._state, 1 << 20):
                    path = intake.take(folder, comps, allow_unsigned=allow_unsigned)
                    _switch(self._root / name, path.name)
            finally:
                # What a failed import copied is no generation's, and goes too.
                self.store.collect()
        self._generations.pop(path, None)
        generation = self._open(path)
        log.info("generation imported distribution=%s generation=%s objects=%d bytes=%d", name, generation.id,
                 len(generation.manifest.entries), generation.manifest.total_bytes)  # fmt: skip
        return generation

    def remove(self, name: str, generation: str) -> int:
        """Remove a generation that is not the current one; returns the bytes freed in the store.

        Raises:
            RepositoryError: it does not exist, or is current.
        """
        with self._writing():
            if self.current(name).id == generation:
                raise RepositoryError(f"generation {generation} is the current one of {name}: import another one first")
            path = self.open(generation).path
            if path.parent.parent.name != name:
                raise RepositoryError(f"generation {generation} is not one of {name}")
            doomed = Path(tempfile.mkdtemp(prefix=BUILDING, dir=self._root / name))
            path.rename(doomed / path.name)
            shutil.rmtree(doomed)
            self._generations.pop(path, None)
            return self.store.collect()

    def check(self, name: str, progress: Progress = silent) -> tuple[str, ...]:
        """Read every object of a distribution's generations once; returns a line for each that is damaged.

        A damaged object is no longer trusted afterwards: importing its folder again replaces it, wherever it is linked.

        Raises:
            RepositoryError: there is no generation, a manifest is damaged, or another process is importing.
        """
        self.current(name)
        objects = {
            _inode(path) or path: (path, entry)
            for generation in self.generations(name)
            for entry in generation.manifest.entries
            for path in [generation.path / entry.path]
        }
        damaged: list[tuple[Path, Entry, str]] = []
        for done, (path, entry) in enumerate(objects.values(), start=1):
            reason = _damage(path, entry)
            if reason:
                damaged.append((path, entry, reason))
            progress("check", done, len(objects))
        if damaged:
            with self._writing():
                store = self.store
                for _, entry, _ in damaged:
                    store.forget(entry.sha256)
        remedy = f"import the folder of {name} again to replace it"
        return tuple(f"{path}: {reason}: {remedy}" for path, _, reason in damaged)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time, on all distributions: they share the store. A writer that is killed unlocks."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RepositoryError("another import is running: wait for it to end") from None
            for leftover in self._root.glob(f"*/{BUILDING}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield

    def _open(self, path: Path) -> Generation:
        if path not in self._generations:
            try:
                manifest = parse_manifest((path / MANIFEST).read_bytes())
            except (OSError, ProtocolError) as error:
                raise RepositoryError(f"{path} is damaged ({error}): import its folder again") from error
            self._generations[path] = Generation(path.name, path.parent.parent.name, path, manifest)
        return self._generations[path]


def _switch(distribution: Path, generation: str) -> None:
    """Make a generation the current one, at once and for good."""
    fresh = distribution / f"{BUILDING}current"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("generations", generation))
    fresh.replace(distribution / "current")
    sync_directory(distribution)


def _inode(path: Path) -> int | None:
    """What all hard links of a file have in common, or None when it is not there."""
    return path.stat().st_ino if path.exists() else None


def _damage(path: Path, entry: Entry) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != entry.size:
                return "damaged: its size is not the manifest's"
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return error.strerror or str(error)
    return "" if found == entry.sha256 else "damaged: its SHA-256 is not the manifest's"
