"""Roll folders as the original laid them into one build folder: bytes, unread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from avalanche.errors import ConfigError
from avalanche.legacy.text import MAX_FILE
from avalanche.legacy.tree import File, Tree

GRAPHS, NODES, INCLUDES = "graphs/default", "nodes", "include"
MAX_FILES = 5000  # of one folder


def load_tree(paths: Sequence[Path]) -> Tree:
    """Lay roll folders over each other, later ones on top, file by file.

    Raises:
        ConfigError: a folder is no roll, or a file cannot be read.
    """
    graphs: dict[str, File] = {}
    nodes: dict[str, File] = {}
    for path in paths:
        if not (path / NODES).is_dir() and not (path / GRAPHS).is_dir():
            raise ConfigError(f"{path}: neither {GRAPHS} nor {NODES} is there; a roll folder holds them")
        graphs.update(_files(path, GRAPHS))
        nodes.update(_files(path, NODES))

    def include(name: str) -> File | None:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
            return None
        for path in reversed(paths):
            found = path.joinpath(INCLUDES, *parts)
            if found.is_file():
                return _read(found, f"{INCLUDES}/{name}")
        return None

    return Tree(graphs, nodes, include)


def _files(roll: Path, folder: str) -> dict[str, File]:
    """The XML files of a folder by name; a folder that is not there has none."""
    if not (roll / folder).is_dir():
        return {}
    found = sorted(path for path in (roll / folder).iterdir() if path.suffix == ".xml" and path.is_file())
    if len(found) > MAX_FILES:
        raise ConfigError(f"{roll / folder} holds {len(found)} files; at most {MAX_FILES} are read")
    return {path.name: _read(path, f"./{folder}/{path.name}") for path in found}


def _read(path: Path, name: str) -> File:
    try:
        with path.open("rb") as file:
            # One byte more than is allowed, so that who reads it can tell.
            return File(name, str(path), file.read(MAX_FILE + 1))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
