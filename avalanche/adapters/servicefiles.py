"""Service files on disk: the templates they are made from, and the folder they are put into."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avalanche.adapters.files import named, write_whole
from avalanche.errors import ConfigError
from avalanche.report import Files, Template

_SSH_KEY = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s|$)")

MODE = 0o644
"""Services read their files as users of their own."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of files: paths relative to their folder, sorted."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    fresh: bool = False  # every written file is a new one

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)


def read_templates(folders: Sequence[Path], known: Sequence[str]) -> dict[str, Template]:
    """Read the templates that rolls and the site put in place of ours; later folders win.

    Args:
        folders: they need not exist.
        known: the names a template may have.

    Raises:
        ConfigError: one cannot be read, or is no template of a report.
    """
    found: dict[str, Template] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.j2")) if folder.is_dir() else ():
            name = path.name.removesuffix(".j2")
            if name not in known:
                raise ConfigError(f"{path}: no report has a template of this name; there are: {', '.join(known)}")
            found[name] = Template(str(path), _text(path))
    return found


NOTHING: Files = {}


def publish(folder: Path, files: Files, *, owned: Sequence[str] = (), known: Files = NOTHING) -> Published:
    """Write what changed, each file in one step, and remove what is not there any more.

    Args:
        known: what the caller has put there, and nobody else changes: it is not read again.
        owned: folders below ``folder`` that are ours alone: what else is in them is removed.

    Raises:
        OSError: the disk is full, or a folder may not be written; names the file. What was written before stays, what
            is gone is removed all the same, and the next call does the rest.
    """
    for below in sorted({"", *owned, *(path.rpartition("/")[0] for path in files)}):
        (folder / below).mkdir(mode=0o755, parents=True, exist_ok=True)
    present = _present(folder, files, known)
    try:
        written = _write_changed(folder, files, present, owned)
    finally:
        # On a full disk, this may be what makes room.
        removed = []
        for path in _strangers(folder, files, owned):
            (folder / path).unlink(missing_ok=True)
            removed.append(path)
    fresh = all(present[path] is None for path in written)
    return Published(tuple(sorted(written)), tuple(sorted(removed)), len(files) - len(written), fresh)


def _write_changed(folder: Path, files: Files, present: Mapping[str, bytes | None], owned: Sequence[str]) -> list[str]:
    written = []
    # Thousands of small files in a folder of ours are made again after a power cut, those of others may not be. The
    # durable ones are first, or their fsync would have to wait for all the others.
    for path in sorted(files, key=lambda path: (path.rpartition("/")[0] in owned, path)):
        data = files[path].encode()
        if present[path] == data:
            continue
        write = _write_quickly if path.rpartition("/")[0] in owned else _write_durably
        with named(folder / path):
            write(folder / path, data)
        written.append(path)
    return written


def differences(folder: Path, files: Files, *, owned: Sequence[str] = ()) -> Published:
    """What ``publish`` would do."""
    present = _present(folder, files)
    written = [path for path in sorted(files) if present[path] != files[path].encode()]
    removed = sorted(_strangers(folder, files, owned))
    return Published(
        tuple(written), tuple(removed), len(files) - len(written), all(present[p] is None for p in written)
    )


def _strangers(folder: Path, files: Mapping[str, str], owned: Sequence[str]) -> Iterator[str]:
    for below in owned:
        if (folder / below).is_dir():
            for name in sorted(path.name for path in (folder / below).iterdir()):
                if f"{below}/{name}" not in files:
                    yield f"{below}/{name}"


def _present(folder: Path, files: Files, known: Files = NOTHING) -> dict[str, bytes | None]:
    """What is there now, in the place of files."""
    there = {
        f"{below}/{name}".lstrip("/")
        for below in {path.rpartition("/")[0] for path in files}
        for name in (os.listdir(folder / below) if (folder / below).is_dir() else ())  # noqa: PTH208 -- names
    }
    found: dict[str, bytes | None] = {}
    for path in files:
        if path not in there:
            found[path] = None
        else:
            found[path] = known[path].encode() if path in known else (folder / path).read_bytes()
    return found


def _write_durably(path: Path, data: bytes) -> None:
    write_whole(path, data, mode=MODE)


def _write_quickly(path: Path, data: bytes) -> None:
    # dnsmasq passes over names that begin with a dot. Thousands of these are written: no pathlib.
    temporary = f"{path.parent}/.{path.name}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
        try:
            os.fchmod(descriptor, MODE)
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(descriptor)
        os.rename(temporary, path)  # noqa: PTH104
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_keys(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read public SSH keys: files ``HOST.pub`` as ``ssh-keyscan`` or a host's ``ssh_host_*_key.pub`` has them.

    Raises:
        ConfigError: a file cannot be read, or a line is no key.
    """
    found = {}
    for path in sorted(folder.glob("*.pub")) if folder.is_dir() else ():
        keys = []
        for number, line in enumerate(_text(path).splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            key = _SSH_KEY.search(line)
            if key is None:
                raise ConfigError(f"{path}:{number}: not a public SSH key; copy it from /etc/ssh/ssh_host_*_key.pub")
            keys.append(f"{key[1]} {key[2]}")
        found[path.name.removesuffix(".pub")] = tuple(sorted(set(keys)))
    return found


def read_local(path: Path) -> str:
    """Read what a site adds to /etc/hosts; "" when there is nothing.

    Raises:
        ConfigError: it cannot be read.
    """
    return _text(path).rstrip("\n") if path.exists() else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
