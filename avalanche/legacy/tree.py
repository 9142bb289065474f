"""The build folder of the original: files of all rolls, laid over each other by name; later rolls win, silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from avalanche.legacy.text import Place


@dataclass(frozen=True)
class File:
    """The bytes of a file; ``name`` is its path in the build folder, ``path`` the one its author knows."""

    name: str
    path: str
    data: bytes = field(repr=False)

    @property
    def place(self) -> Place:
        return Place(self.path)


def no_include(name: str) -> File | None:
    """There is no ``include`` folder."""
    return None


@dataclass(frozen=True)
class Tree:
    """``graphs/<graph>/*.xml`` and ``nodes/*.xml`` by file name, and a way to read ``include/NAME``."""

    graphs: Mapping[str, File]
    nodes: Mapping[str, File]
    include: Callable[[str], File | None] = no_include

    def __repr__(self) -> str:
        return f"<Tree {len(self.graphs)} graph files, {len(self.nodes)} node files>"

    def node_files(self, name: str) -> tuple[File, ...]:
        """The files of a node: ``replace-NAME.xml`` alone, or ``NAME.xml`` and then ``extend-NAME.xml``."""
        replaced = self.nodes.get(f"replace-{name}.xml")
        if replaced is not None:
            return (replaced,)
        base = self.nodes.get(f"{name}.xml")
        extended = self.nodes.get(f"extend-{name}.xml")
        if base is None:
            return ()
        return (base,) if extended is None else (base, extended)
