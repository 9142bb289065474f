"""Intake: how a folder of RPMs becomes a generation.

Every package is copied into the store, checked whole with rpm's own tool, and described; the generation is built in a
directory of its own and renamed when it is complete. `distributions` holds the lock and switches to the result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import createrepo_c

from avalanche.adapters.files import write_whole
from avalanche.adapters.ledger import Ledger
from avalanche.adapters.repodata import FORMAT, find_comps, find_modules, read_header, write_repodata
from avalanche.adapters.signing import Keyring, SigningKey
from avalanche.adapters.store import Store, free_bytes, sync_directory
from avalanche.errors import ConfigError, ProtocolError, RepositoryError, StoreFull
from avalanche.manifest import Entry, Identity, Manifest, check_path, parse_manifest
from avalanche.repository import parse_comps

Progress = Callable[[str, int, int], None]
"""Called with a stage (``copy``, ``check``, ``describe``), how much of it is done, and how much there is."""

FRONTEND_KEY = "RPM-GPG-KEY-avalanche"
"""Path of the public key that signs the repository data."""
PACKAGE_KEYS = "RPM-GPG-KEY-packages"
"""Path of the public keys that sign the packages; absent when none were given."""
MANIFEST = "manifest.jsonl"
"""Name of the manifest's file in a generation's directory; no object of it."""
BUILDING = ".building-"
"""What names of unfinished things begin with, so that the next import removes them."""
_ROOM = 1 << 20
"""With fewer bytes free, a tool that fails to write is taken to have found the disk full."""
_NAMED = 5
"""So many refused packages an error names; it counts the others."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress of someone who does not look."""


@dataclass(frozen=True)
class _Item:
    """A package on its way in; ``path`` is where the generation will have it."""

    path: str
    identity: Identity


class Intake:
    """One import.

    Args:
        state: the frontend's state directory.
        distribution: the distribution's directory in it.
        signing_key: signs the repository data.
        keyring: whose signatures packages may carry.
        progress: told how far the work is.
    """

    def __init__(
        self, state: Path, distribution: Path, signing_key: SigningKey, keyring: Keyring, progress: Progress
    ) -> None:
        self._store = Store(state / "store")
        self._checked = Ledger(state / "store" / "checked.jsonl")
        self._generations = distribution / "generations"
        self._distribution = distribution
        self._signing_key = signing_key
        self._keyring = keyring
        self._progress = progress

    def take(self, folder: Path, comps: Path | None, *, allow_unsigned: bool) -> Path:
        """Build the generation of ``folder`` unless it is there; returns its directory.

        Raises:
            RepositoryError, StoreFull: as `Distributions.import_folder`.
        """
        sources = _scan(folder)
        groups, modules = _read_comps(folder, comps), find_modules(folder)
        self._store.require_room(list(sources.values()))
        items = self._copy(sources)
        self._refuse_unsigned(items, allow_unsigned)
        generation = self._identify(items, groups, modules)
        path = self._generations / generation
        if self._is_whole(path):
            return path
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=_made(self._distribution)))
        try:
            with _full_disk_explained(self._distribution):
                self._build(building / generation, items, groups, modules)
            if path.exists():
                path.rename(building / "replaced")
            (building / generation).rename(_made(self._generations) / generation)
            sync_directory(self._generations)
        finally:
            shutil.rmtree(building)
        return path

    def _copy(self, sources: dict[str, Path]) -> list[_Item]:
        """Bring every package into the store; one that comes under several names is taken under the first."""
        items: dict[str, _Item] = {}
        for done, (path, source) in enumerate(sources.items(), start=1):
            identity = self._store.add(source)
            items.setdefault(identity.sha256, _Item(path, identity))
            self._progress("copy", done, len(sources))
        return list(items.values())

    def _refuse_unsigned(self, items: Sequence[_Item], allow_unsigned: bool) -> None:
        """A verdict holds for these bytes under these keys, and is found once."""
        terms = "digests" if allow_unsigned else self._keyring.digest
        names = {self._store.path(item.identity.sha256): item.path for item in items}
        new = [path for path in names if self._checked.get(path.name) != terms]
        self._progress("check", 0, len(new))
        refused = self._keyring.refused(new, allow_unsigned=allow_unsigned)
        for path in new:
            if path not in refused:
                self._checked.set(path.name, terms)
        self._progress("check", len(new), len(new))
        if not refused:
            return
        reasons = sorted(f"{names[path]} {reason}" for path, reason in refused.items())
        more = f", and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        remedy = "fetch what is damaged again"
        if not allow_unsigned:
            remedy += "; give the public keys of its signers, or allow unsigned packages"
        raise RepositoryError(f"{len(refused)} of {len(items)} packages are refused: "
                              f"{', '.join(reasons[:_NAMED])}{more}: {remedy}")  # fmt: skip

    def _identify(self, items: Sequence[_Item], groups: bytes | None, modules: bytes | None) -> str:
        """Everything the generation's bytes depend on, and nothing else."""
        recipe = {
            "format": FORMAT,
            "key": self._signing_key.fingerprint,
            "package keys": self._keyring.digest,
            "comps": hashlib.sha256(groups).hexdigest() if groups is not None else None,
            "packages": [(item.path, item.identity.sha256) for item in items],
        }
        if modules is not None:
            recipe["modules"] = hashlib.sha256(modules).hexdigest()
        return "g-" + hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]

    def _is_whole(self, path: Path) -> bool:
        """Is the generation there, and every object of it the store's, with the size it must have?"""
        try:
            manifest = parse_manifest((path / MANIFEST).read_bytes())
            return all(
                self._store.identity(entry.sha256) is not None
                and (path / entry.path).samefile(self._store.path(entry.sha256))
                for entry in manifest.entries
            )
        except (OSError, ProtocolError):
            return False

    def _build(self, directory: Path, items: Sequence[_Item], groups: bytes | None, modules: bytes | None) -> None:
        headers = list(self._describe(items))
        _refuse_duplicates(headers)
        directory.mkdir(mode=0o755)
        index, *described = write_repodata(directory / "repodata", headers, groups, modules)
        signature = self._signing_key.sign_detached(index)
        keys = [directory / FRONTEND_KEY]
        keys[0].write_bytes(self._signing_key.export_public())
        if self._keyring.exported:
            keys.append(directory / PACKAGE_KEYS)
            keys[1].write_bytes(self._keyring.exported)
        # Canonical order: as dnf asks (docs/decisions/0010). What was written here becomes a link like everything else.
        entries = [self._adopt(path, directory) for path in (index, signature, *keys, *described)]
        for item, header in zip(items, headers, strict=True):
            self._store.link(item.identity.sha256, directory / item.path)
            entries.append(Entry.of(item.identity, item.path, header.nevra()))
        write_whole(directory / MANIFEST, Manifest(directory.name, tuple(entries)).to_bytes(), mode=0o444)
        for parent, _, _ in os.walk(directory):
            Path(parent).chmod(0o755)
            sync_directory(Path(parent))

    def _describe(self, items: Sequence[_Item]) -> Iterator[createrepo_c.Package]:
        for done, item in enumerate(items, start=1):
            sha256 = item.identity.sha256
            yield read_header(self._store.path(sha256), path=item.path, sha256=sha256)
            self._progress("describe", done, len(items))

    def _adopt(self, file: Path, directory: Path) -> Entry:
        identity = self._store.put(file)
        file.unlink()
        self._store.link(identity.sha256, file)
        return Entry.of(identity, str(file.relative_to(directory)))


def _scan(folder: Path) -> dict[str, Path]:
    """The packages below ``folder``, by their path in a generation, in canonical order: the bytes of that path."""
    if not folder.is_dir():
        raise RepositoryError(f"{folder} is not a directory")
    found: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    for parent, directories, files in os.walk(folder, followlinks=True):
        stat = Path(parent).stat()
        if (stat.st_dev, stat.st_ino) in seen:  # a symbolic link led back here
            directories.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in files:
            if name.endswith(".rpm") and not name.startswith(".") and not name.endswith((".src.rpm", ".nosrc.rpm")):
                source = Path(parent, name)
                path = source.relative_to(folder).as_posix()
                path = path if path.startswith("Packages/") else f"Packages/{path}"
                found[_checked_path(path, source)] = source
    if not found:
        raise RepositoryError(f"{folder} holds no RPM (*.rpm)")
    return dict(sorted(found.items(), key=lambda item: item[0].encode()))


def _checked_path(path: str, source: Path) -> str:
    try:
        check_path(path)
    except ValueError as error:
        raise RepositoryError(f"{os.fsencode(source)!r} cannot be in a generation: {error}: rename it") from error
    return path


def _read_comps(folder: Path, comps: Path | None) -> bytes | None:
    if comps is None:
        return find_comps(folder)
    try:
        data = comps.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{comps}: {error.strerror}") from error
    parse_comps(data, file=str(comps))
    return data


def _refuse_duplicates(headers: Sequence[createrepo_c.Package]) -> None:
    """Two packages of one name, version and architecture must be one package, or hosts would differ by chance."""
    paths: dict[str, str] = {}
    for header in headers:
        first = paths.setdefault(header.nevra(), header.location_href)
        if first != header.location_href:
            raise RepositoryError(
                f"{first} and {header.location_href} are both {header.nevra()} but differ: remove one of them"
            )


@contextmanager
def _full_disk_explained(path: Path) -> Iterator[None]:
    """createrepo_c and gpg do not say why they could not write."""
    try:
        yield
    except (createrepo_c.CreaterepoCError, ConfigError) as error:
        free = free_bytes(path)
        if free < _ROOM:
            raise StoreFull(
                f"{path} is full: {_ROOM} bytes are needed, {free} are free: make room, import again"
            ) from error
        raise RepositoryError(f"{path}: the generation cannot be described: {error}") from error


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
