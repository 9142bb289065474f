"""What the tracker answers for: generations with their objects, closures, torrents (docs/protocol.md, section 10.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from avalanche.errors import ConfigError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_INFO_HASH = re.compile(r"[0-9a-f]{40}")
_GENERATION = re.compile(r"g-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Registered:
    """One generation.

    Attributes:
        generation: its id.
        objects: SHA-256 in hexadecimal to size in bytes.
        closures: digest of a closure's manifest to its objects.
        info_hashes: the torrents whose announces are answered, 20 bytes each.
    """

    generation: str
    objects: Mapping[str, int]
    closures: Mapping[str, frozenset[str]] = field(default_factory=dict)
    info_hashes: frozenset[bytes] = frozenset()


class Registry(Protocol):
    """Where a tracker looks generations up; the frontend's is in memory."""

    def find(self, generation: str) -> Registered | None:
        """The generation, or None: it is not registered."""


class MemoryRegistry:
    """A registry that its owner fills."""

    def __init__(self, generations: Iterable[Registered] = ()) -> None:
        self._generations = {each.generation: each for each in generations}

    def __repr__(self) -> str:
        return f"<MemoryRegistry {len(self._generations)} generations>"

    def find(self, generation: str) -> Registered | None:
        """The generation, or None: it is not registered."""
        return self._generations.get(generation)

    def add(self, registered: Registered) -> None:
        """Answer for this generation from now on; an earlier form of it is replaced."""
        self._generations[registered.generation] = registered

    def remove(self, generation: str) -> None:
        """Answer for it no longer."""
        self._generations.pop(generation, None)


class FileRegistry:
    """A registry in a file, read again when the file is replaced. A file that becomes bad leaves the last good one."""

    def __init__(self, path: Path, *, on_error: Callable[[ConfigError], None]) -> None:
        """Read ``path``; later failures go to ``on_error``.

        Raises:
            ConfigError: the file cannot be read now.
        """
        self._path = path
        self._on_error = on_error
        self._seen = self._stamp()
        self._memory = MemoryRegistry(parse_registry(self._read(), file=str(path)))

    def __repr__(self) -> str:
        return f"<FileRegistry {self._path} {self._memory!r}>"

    def find(self, generation: str) -> Registered | None:
        """The generation, or None: it is not registered."""
        return self._memory.find(generation)

    def refresh(self) -> bool:
        """Look whether the file was replaced; return whether another content is in force now."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._seen = stamp
            self._memory = MemoryRegistry(parse_registry(self._read(), file=str(self._path)))
        except ConfigError as error:
            self._on_error(error)
            return False
        return True

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; write the registry there, or name another") from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; write the registry there, or name another") from error


def write_registry(generations: Iterable[Registered]) -> bytes:
    """The file's content."""
    rows: list[dict[str, Any]] = [{"registry": 1}]
    for each in generations:
        places = {thing: place for place, thing in enumerate(each.objects)}
        closures = {digest: sorted(places[thing] for thing in things) for digest, things in each.closures.items()}
        hashes = sorted(info_hash.hex() for info_hash in each.info_hashes)
        row = {"generation": each.generation, "objects": dict(each.objects), "closures": closures}
        rows.append({**row, "info_hashes": hashes})
    return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")


def parse_registry(data: bytes, *, file: str) -> list[Registered]:
    """Read the file's content.

    Raises:
        ConfigError: it is not exactly what section 10.4 says; names file and line.
    """
    generations: list[Registered] = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = json.loads(line)
            if number == 1:
                if row != {"registry": 1}:
                    raise ValueError('the first line is not {"registry": 1}')
            else:
                generations.append(_parse_row(row))
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise ConfigError(f"{file}:{number}: not a registry: {error}") from None
    if not data.endswith(b"\n"):
        raise ConfigError(f"{file}: cut off: the last line has no line end")
    return generations


def _parse_row(row: dict[str, Any]) -> Registered:
    if set(row) != {"generation", "objects", "closures", "info_hashes"}:
        raise ValueError("a line has exactly the keys generation, objects, closures, info_hashes")
    if not _GENERATION.fullmatch(row["generation"]):
        raise ValueError(f"{row['generation']!r} is not a generation")
    objects = row["objects"]
    if not isinstance(objects, dict) or not isinstance(row["closures"], dict):
        raise ValueError("objects and closures are objects")
    for thing, size in objects.items():
        if not _SHA256.fullmatch(thing) or type(size) is not int or size < 1:
            raise ValueError(f"{thing!r}: not a SHA-256 with a size")
    things = list(objects)
    closures = {digest: frozenset(things[place] for place in places) for digest, places in row["closures"].items()}
    if not all(map(_SHA256.fullmatch, closures)) or not all(map(_INFO_HASH.fullmatch, row["info_hashes"])):
        raise ValueError("a digest or info-hash is not hexadecimal")
    return Registered(row["generation"], objects, closures, frozenset(map(bytes.fromhex, row["info_hashes"])))
