"""Roll folders: ``graphs/default/*.xml`` and ``nodes/*.xml`` become a RollSet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from avalanche.errors import ConfigError, GraphError
from avalanche.graph import NODE_NAME, Graph, parse_graph
from avalanche.roll import Roll, RollSet, Source

GRAPHS, NODES = "graphs/default", "nodes"
MAX_FILES = 5000  # of one roll

Stamp = tuple[tuple[str, int, int, int], ...]


class RollFolders:
    """The folders that a frontend was told to use; reads them again when one of their files changes.

    Args:
        paths: roll folders; later ones override earlier ones.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._stamp: Stamp | None = None
        self._rolls: RollSet | None = None

    def current(self) -> RollSet:
        """Return the rolls as they are on disk now; the same object while nothing changes.

        Raises:
            ConfigError, GraphError: as ``load_rolls``.
        """
        stamp = tuple(_stamps(self._paths))
        if self._rolls is None or stamp != self._stamp:
            self._rolls, self._stamp = load_rolls(self._paths), stamp
        return self._rolls


def _stamps(paths: Sequence[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        for folder in (GRAPHS, NODES):
            try:
                with os.scandir(path / folder) as entries:
                    found = sorted((entry.path, entry.stat()) for entry in entries if entry.name.endswith(".xml"))
            except OSError as error:
                raise _unreadable(path / folder, error) from None
            yield from ((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found)


def load_rolls(paths: Sequence[Path]) -> RollSet:
    """Read roll folders; later ones override earlier ones.

    Raises:
        ConfigError: a path is no roll folder or cannot be read; says what a roll folder holds.
        GraphError, ConditionError: a graph file is malformed. Node files are parsed when a root needs them.
    """
    digest = hashlib.sha256()
    rolls: list[Roll] = []
    for path in paths:
        roll = _load(path)
        if any(roll.name == other.name for other in rolls):
            raise ConfigError(f"two rolls are named {roll.name!r}; name them apart with <graph roll=...> ({path})")
        rolls.append(roll)
    for roll in rolls:
        digest.update(f"roll {roll.name}\n{roll.graph.edges!r}{roll.graph.orders!r}\n".encode())
        for stem, source in sorted(roll.nodes.items()):
            digest.update(f"node {stem} {len(source.data)}\n".encode() + source.data)
    return RollSet(rolls, fingerprint=digest.hexdigest())


def _load(path: Path) -> Roll:
    sources = {folder: [_read(file) for file in _files(path / folder)] for folder in (GRAPHS, NODES)}
    graphs = [parse_graph(source.data, file=source.file) for source in sources[GRAPHS]]
    named = [graph.roll for graph in graphs if graph.roll is not None]
    return Roll(
        name=named[0] if named else path.resolve().name,
        graph=Graph.merge(graphs),
        nodes={source.stem: source for source in sources[NODES]},
    )


def _files(folder: Path) -> list[Path]:
    try:
        files = sorted(
            file for file in folder.iterdir() if file.name.endswith(".xml") and not file.name.startswith(".")
        )
    except OSError as error:
        raise _unreadable(folder, error) from None
    if len(files) > MAX_FILES:
        raise ConfigError(f"{folder} holds {len(files)} files; at most {MAX_FILES} are read")
    return files


def _read(file: Path) -> Source:
    if not NODE_NAME.fullmatch(file.stem):
        raise GraphError("the file's name is no node name: use letters, digits, '_', '.', '+', '-'", file=str(file))
    try:
        return Source(str(file), file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {error.strerror or error}; a roll folder holds {GRAPHS}/*.xml and {NODES}/*.xml")
