"""Roll folders: ``graphs/default/*.xml``, ``nodes/*.xml`` and the files under ``include/`` become a RollSet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from avalanche.adapters.files import TooLarge, read_bounded
from avalanche.errors import ConfigError, GraphError
from avalanche.graph import NODE_NAME, Graph, parse_graph
from avalanche.nodefile import MAX_SIZE
from avalanche.roll import Roll, RollSet, Source

GRAPHS, NODES, INCLUDE = "graphs/default", "nodes", "include"
MAX_FILES = 5000  # of one folder
MAX_BYTES = MAX_SIZE  # of one file; looked at before it is read

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

    def folders(self) -> dict[str, Path]:
        """Return the folders by the names of their rolls. Raises as ``current``."""
        return {roll.name: path for roll, path in zip(self.current().rolls, self._paths, strict=True)}


def _stamps(paths: Sequence[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        for folder in (GRAPHS, NODES):
            try:
                with os.scandir(path / folder) as entries:
                    found = sorted((entry.path, entry.stat()) for entry in entries if entry.name.endswith(".xml"))
            except OSError as error:
                raise _unreadable(path / folder, error) from None
            yield from ((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)
        for file in _include_files(path):
            status = file.stat()
            yield str(file), status.st_mtime_ns, status.st_size, status.st_ino


def load_rolls(paths: Sequence[Path], *, includes: bool = True) -> RollSet:
    """Read roll folders; later ones override earlier ones.

    Args:
        includes: whether node files get the files that they include.

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
        digest.update(f"include {roll.library}\n".encode())
    return RollSet(rolls, fingerprint=digest.hexdigest(), includes=includes)


def _load(path: Path) -> Roll:
    sources = {folder: [_read(file) for file in _files(path / folder)] for folder in (GRAPHS, NODES)}
    graphs = [parse_graph(source.data, file=source.file) for source in sources[GRAPHS]]
    named = [graph.roll for graph in graphs if graph.roll is not None]
    included = {str(file.relative_to(path / INCLUDE)): _read_source(file) for file in _include_files(path)}
    library = hashlib.sha256()
    for name, source in included.items():
        library.update(f"{name} {len(source.data)}\n".encode() + source.data)
    return Roll(
        name=named[0] if named else path.resolve().name,
        graph=Graph.merge(graphs),
        nodes={source.stem: source for source in sources[NODES]},
        includes=included,
        library=library.hexdigest(),
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
    return _read_source(file)


def _include_files(path: Path) -> list[Path]:
    """Return the files under ``include/``, at any depth; a roll need not have any."""
    found: list[Path] = []
    for folder, folders, names in os.walk(path / INCLUDE):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(Path(folder, name) for name in sorted(names) if not name.startswith("."))
        if len(found) > MAX_FILES:
            raise ConfigError(f"{path / INCLUDE} holds more than {MAX_FILES} files")
    return [file for file in found if file.is_file()]


def _read_source(file: Path) -> Source:
    try:
        return Source(str(file), read_bounded(file, MAX_BYTES))
    except TooLarge as error:
        raise GraphError(f"the file cannot be read: {error}; split it", file=str(file)) from None
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {error.strerror or error}; a roll folder holds {GRAPHS}/*.xml and {NODES}/*.xml")
