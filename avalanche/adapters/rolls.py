"""Roll folders: ``graphs/default/*.xml``, ``nodes/*.xml``, ``site-nodes/*.xml`` and ``include/`` become a RollSet."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from avalanche.adapters.files import TooLarge, read_bounded
from avalanche.cluster import RollEntry
from avalanche.errors import AvalancheError, ConfigError, GraphError
from avalanche.graph import NODE_NAME, Graph, survey_graph
from avalanche.nodefile import MAX_SIZE
from avalanche.remark import Remark
from avalanche.roll import REPLACE, Roll, RollSet, Source

GRAPHS, NODES, SITE_NODES, INCLUDE = "graphs/default", "nodes", "site-nodes", "include"
SETS_KEPT = 3  # requests that began before a roll was enabled may still be running
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

    @property
    def latest(self) -> RollSet:
        """The rolls as they were when somebody looked last. Raises as ``current``, when nobody did."""
        return self._rolls if self._rolls is not None else self.current()

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


class FrontendRolls:
    """The roll folders of a frontend: those of its settings, then those that its inventory enables.

    Args:
        root: where relative folders begin.
        configured: the folders of the settings.
    """

    def __init__(self, root: Path, configured: Sequence[str]) -> None:
        self._root = root
        self._configured = tuple(configured)
        self._known: OrderedDict[tuple[Path, ...], RollFolders] = OrderedDict()

    def __repr__(self) -> str:
        return f"<FrontendRolls {' '.join(self._configured)}>"

    def of(self, entries: Iterable[RollEntry]) -> RollFolders:
        """Return the folders that an inventory asks for; the same object for the same folders."""
        added = [entry.folder for entry in entries if entry.enabled]
        paths = tuple(self._root / folder for folder in (*self._configured, *added))
        found = self._known.pop(paths, None) or RollFolders(paths)
        self._known[paths] = found
        if len(self._known) > SETS_KEPT:
            self._known.popitem(last=False)
        return found

    def folders(self) -> dict[str, Path]:
        """Return the folders that were asked for last, by the names of their rolls. Raises as ``RollFolders``."""
        return next(reversed(self._known.values())).folders() if self._known else {}


def _stamps(paths: Sequence[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        for folder in _folders(path):
            try:
                with os.scandir(folder) as entries:
                    found = sorted((entry.path, entry.stat()) for entry in entries if entry.name.endswith(".xml"))
            except OSError as error:
                raise _unreadable(folder, error) from None
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
    rolls, faults = survey_rolls(paths, includes=includes)
    if faults:
        raise faults[0]
    return rolls


def survey_rolls(paths: Sequence[Path], *, includes: bool = True) -> tuple[RollSet, tuple[AvalancheError, ...]]:
    """Read what can be read of roll folders, and tell what cannot: folders, files, edges and order pairs."""
    faults: list[AvalancheError] = []
    rolls: list[Roll] = []
    for path in paths:
        try:
            roll = _load(path, faults)
            rolls.append(dataclasses.replace(roll, name=_free_name(roll.name, path, {other.name for other in rolls})))
        except ConfigError as error:
            faults.append(error)
    digest = hashlib.sha256()
    for roll in rolls:
        digest.update(f"roll {roll.name}\n{roll.graph.edges!r}{roll.graph.orders!r}\n".encode())
        for stem, source in sorted(roll.nodes.items()):
            digest.update(f"node {stem} {len(source.data)}\n".encode() + source.data)
        digest.update(f"include {roll.library}\n".encode())
    return RollSet(rolls, fingerprint=digest.hexdigest(), includes=includes), tuple(faults)


def _free_name(wanted: str, path: Path, taken: set[str]) -> str:
    """Choose the roll's name: its graph's, unless another roll has it. Many rolls of the field call themselves base."""
    folder = path.resolve()
    for name in (wanted, folder.name, f"{folder.parent.name}-{folder.name}"):
        if name not in taken:
            return name
    raise ConfigError(f"two rolls are named {wanted!r}; name them apart with <graph roll=...> ({path})")


def _load(path: Path, faults: list[AvalancheError]) -> Roll:
    sources: dict[str, list[Source]] = {GRAPHS: [], NODES: [], SITE_NODES: []}
    for folder in _folders(path):
        for file in _files(folder):
            try:
                sources[str(folder.relative_to(path))].append(_read(file))
            except AvalancheError as error:
                faults.append(error)
    graphs = [survey_graph(source.data, file=source.file) for source in sources[GRAPHS]]
    faults += [fault for graph in graphs for fault in graph.faults]
    named = [graph.roll for graph in graphs if graph.roll]
    nodes = {source.stem: source for source in sources[NODES]}
    remarks = [
        Remark(str(folder), 0, "graph-ignored", f"only {GRAPHS} is read; move the files there")
        for folder in _subfolders(path / "graphs")
        if folder.name != "default"
    ]
    for source in sources[SITE_NODES]:
        if source.stem in nodes:
            hidden = f"hidden by {nodes[source.stem].file}; call it {REPLACE}{source.stem}.xml to take its place"
            remarks.append(Remark(source.file, 0, "node-hidden", hidden))
        nodes.setdefault(source.stem, source)
    included = _read_includes(path, faults)
    library = hashlib.sha256()
    for name, source in included.items():
        library.update(f"{name} {len(source.data)}\n".encode() + source.data)
    return Roll(
        name=named[0] if named else path.resolve().name,
        graph=Graph.merge(graphs),
        nodes=nodes,
        remarks=tuple(remarks),
        includes=included,
        library=library.hexdigest(),
    )


def _folders(path: Path) -> list[Path]:
    """Return the folders of a roll that are there; a roll may have node files only, or graphs only.

    Raises:
        ConfigError: it has none of them.
    """
    found = [path / name for name in (GRAPHS, NODES, SITE_NODES) if (path / name).is_dir()]
    if path.joinpath("graph").is_dir() and path / GRAPHS not in found:
        raise ConfigError(f"{path}: a pallet of Stacki (it holds graph/); its dialect is not read, only Rocks' is")
    if not found:
        inner = [
            str(folder) for folder in _subfolders(path) if any((folder / name).is_dir() for name in (GRAPHS, NODES))
        ]
        hint = f"; did you mean {inner[-1]}?" if inner else ""
        raise ConfigError(_unreadable_message(path / GRAPHS, "No such file or directory") + hint)
    return found


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


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


def _read_includes(path: Path, faults: list[AvalancheError]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for file in _include_files(path):
        try:
            found[str(file.relative_to(path / INCLUDE))] = _read_source(file)
        except AvalancheError as error:
            faults.append(error)
    return found


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
    return ConfigError(_unreadable_message(path, str(error.strerror or error)))


def _unreadable_message(path: Path, reason: str) -> str:
    return f"{path}: {reason}; a roll folder holds {GRAPHS}/*.xml and {NODES}/*.xml"
