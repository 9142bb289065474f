"""Rolls: bundles of graphs and node files, and how a later roll overrides an earlier one.

A node NAME is ``NAME.xml``, or ``replace-NAME.xml`` in its place, then every ``extend-NAME.xml``. Rolls are taken in
the order given: ``NAME.xml`` and ``replace-NAME.xml`` put aside what earlier rolls said, ``extend-NAME.xml`` is added
after it. Within one roll, ``replace-`` wins over both others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from avalanche.errors import GraphError
from avalanche.graph import Edge, Graph
from avalanche.nodefile import NodeFile, parse_nodefile

EXTEND, REPLACE = "extend-", "replace-"


@dataclass(frozen=True)
class Source:
    """The bytes of one file; ``file`` is its path as its author knows it."""

    file: str
    data: bytes = field(repr=False)

    @property
    def stem(self) -> str:
        return self.file.rpartition("/")[2].removesuffix(".xml")


@dataclass(frozen=True)
class Roll:
    """A bundle of graphs and node files. Node files are parsed when a root needs them."""

    name: str
    graph: Graph
    nodes: Mapping[str, Source]  # by file name without .xml
    includes: Mapping[str, Source] = field(default_factory=dict)  # by path under include/
    library: str = ""  # a fingerprint of the includes

    def __repr__(self) -> str:
        return f"<Roll {self.name}: {self.graph!r}, {len(self.nodes)} node files>"


class RollSet:
    """Rolls laid over each other, later ones on top. An immutable value, apart from what it remembers of parsed files.

    Args:
        fingerprint: a name for the content, for caches: the same content has the same fingerprint.
        includes: whether node files may include files; they are left out otherwise.
    """

    def __init__(self, rolls: Iterable[Roll], *, fingerprint: str = "", includes: bool = True) -> None:
        self.rolls = tuple(rolls)
        self.fingerprint = fingerprint
        self._include = self._included if includes else None
        self.graph = Graph.merge(roll.graph for roll in self.rolls)
        self._sources: dict[str, tuple[tuple[str, Roll], ...]] = {}
        self._orphans: dict[str, Source] = {}
        self._parsed: dict[str, tuple[NodeFile, ...]] = {}
        self._mentioned: dict[str, frozenset[str]] = {}
        for roll in self.rolls:
            self._lay(roll)

    def __repr__(self) -> str:
        return f"<RollSet {', '.join(roll.name for roll in self.rolls)}: {len(self._sources)} nodes>"

    def _lay(self, roll: Roll) -> None:
        extensions = []
        for stem in sorted(roll.nodes):
            if stem.startswith(EXTEND):
                extensions.append(stem)
            elif stem.startswith(REPLACE):
                self._sources[stem.removeprefix(REPLACE)] = ((stem, roll),)
            elif REPLACE + stem not in roll.nodes:
                self._sources[stem] = ((stem, roll),)
        for stem in extensions:
            name = stem.removeprefix(EXTEND)
            if name not in self._sources:
                self._orphans[name] = roll.nodes[stem]
            elif REPLACE + name not in roll.nodes:
                self._sources[name] += ((stem, roll),)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all nodes that have a node file."""
        return tuple(sorted(self._sources))

    def node(self, name: str, *, included_by: Edge | None = None) -> tuple[NodeFile, ...]:
        """Return the files of a node, in the order in which they take effect.

        Args:
            included_by: the edge that asks for the node, for the message.

        Raises:
            GraphError: no roll has such a node; names the edge and its place.
            NodeFileError, ConditionError: a file is malformed.
        """
        found = self._parsed.get(name)
        if found is None:
            if name not in self._sources:
                raise self._unknown(name, included_by)
            found = tuple(self._parse(stem, name, roll) for stem, roll in self._sources[name])
            self._parsed[name] = found
        return found

    def _parse(self, stem: str, name: str, roll: Roll) -> NodeFile:
        source = roll.nodes[stem]
        label = f"{EXTEND}{name}@{roll.name}" if stem.startswith(EXTEND) else name
        return parse_nodefile(
            source.data, name=label, file=source.file, roll=roll.name, include=self._include, library=roll.library
        )

    def _included(self, path: str) -> tuple[str, bytes] | None:
        """Find a file under ``include/``; as with node files, a later roll's lies on top."""
        for roll in reversed(self.rolls):
            if path in roll.includes:
                return roll.includes[path].file, roll.includes[path].data
        return None

    def _unknown(self, name: str, edge: Edge | None) -> GraphError:
        where = f"none of the rolls {', '.join(roll.name for roll in self.rolls)} has nodes/{name}.xml"
        if name in self._orphans:
            where += f", which {self._orphans[name].file} extends"
        if edge is None:
            return GraphError(f"unknown root node {name!r}: {where}")
        return GraphError(f"{edge.source} includes the unknown node {name!r}: {where}", file=edge.file, line=edge.line)

    def mentioned(self, root: str) -> frozenset[str]:
        """Return the attributes that may decide what a root's profile contains: hosts that agree on them share it.

        Raises:
            GraphError, NodeFileError, ConditionError: a file within the root's reach is malformed.
        """
        names = self._mentioned.get(root)
        if names is None:
            nodes, names = self.graph.reachable(root)
            files = [file for node in nodes if node in self._sources for file in self.node(node)]
            names = names.union(*(file.names for file in files))
            self._mentioned[root] = names
        return names
