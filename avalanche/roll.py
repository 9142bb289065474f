"""Rolls: bundles of graphs and node files, and how a later roll overrides an earlier one.

A node NAME is ``NAME.xml``, or ``replace-NAME.xml`` in its place, then every ``extend-NAME.xml``. Of several rolls the
last one that has ``NAME.xml`` or ``replace-NAME.xml`` wins, within one roll ``replace-`` does. Extensions speak of the
node, whoever defines it: all of them are added, in the order of rolls, but for those that a ``replace-`` of the same or
a later roll puts aside.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from avalanche.errors import GraphError
from avalanche.graph import Edge, Graph
from avalanche.names import is_label
from avalanche.nodefile import NodeFile, parse_nodefile
from avalanche.remark import Remark

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
    remarks: tuple[Remark, ...] = ()  # about the folder, not about what its files say
    includes: Mapping[str, Source] = field(default_factory=dict)  # by path under include/
    library: str = ""  # a fingerprint of the includes

    def __repr__(self) -> str:
        return f"<Roll {self.name}: {self.graph!r}, {len(self.nodes)} node files>"


@dataclass(frozen=True, slots=True)
class Hidden:
    """A node file that another one puts aside."""

    node: str
    source: Source
    by: Source
    roll: str
    by_roll: str


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
        self.hidden: tuple[Hidden, ...] = ()
        self.orphans: dict[str, tuple[Source, ...]] = {}
        self._sources: dict[str, tuple[tuple[str, Roll], ...]] = {}
        self._files: dict[tuple[str, str], NodeFile] = {}
        self._mentioned: dict[str, frozenset[str]] = {}
        self._weighed: dict[str, frozenset[str]] = {}
        for name in sorted({node_of(stem) for roll in self.rolls for stem in roll.nodes}):
            self._lay(name)

    def __repr__(self) -> str:
        return f"<RollSet {', '.join(roll.name for roll in self.rolls)}: {len(self._sources)} nodes>"

    def _lay(self, name: str) -> None:
        """Find out which files make a node, and which are put aside."""
        bases = [
            (number, stem, roll)
            for number, roll in enumerate(self.rolls)
            for stem in (name, REPLACE + name)
            if stem in roll.nodes
        ]
        extend = EXTEND + name
        extensions = [(number, roll) for number, roll in enumerate(self.rolls) if extend in roll.nodes]
        if not bases:
            self.orphans[name] = tuple(roll.nodes[extend] for _, roll in extensions)
            return
        place, winner, owner = bases[-1]
        aside = [(stem, roll) for _, stem, roll in bases[:-1]]
        if winner != name:
            aside += [(extend, roll) for number, roll in extensions if number <= place]
            extensions = [(number, roll) for number, roll in extensions if number > place]
        by = owner.nodes[winner]
        self.hidden += tuple(Hidden(name, roll.nodes[stem], by, roll.name, owner.name) for stem, roll in aside)
        self._sources[name] = ((winner, owner), *((extend, roll) for _, roll in extensions))

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
        if name not in self._sources:
            raise self._unknown(name, included_by)
        return tuple(self.file(stem, roll) for stem, roll in self._sources[name])

    def sources(self, name: str) -> tuple[Source, ...]:
        """Return where a node's files are, in the order in which they take effect; none for an unknown node."""
        return tuple(roll.nodes[stem] for stem, roll in self._sources.get(name, ()))

    def owner(self, name: str) -> str | None:
        """Return the name of the roll that a node comes from, or None for an unknown node."""
        found = self._sources.get(name)
        return found[0][1].name if found else None

    def file(self, stem: str, roll: Roll) -> NodeFile:
        """Return a roll's node file by its file name without ``.xml``.

        Raises:
            NodeFileError, ConditionError: it is malformed.
        """
        found = self._files.get((roll.name, stem))
        if found is None:
            source = roll.nodes[stem]
            label = f"{stem}@{roll.name}" if stem.startswith(EXTEND) else stem.removeprefix(REPLACE)
            found = parse_nodefile(
                source.data, name=label, file=source.file, roll=roll.name, include=self._include, library=roll.library
            )
            self._files[roll.name, stem] = found
        return found

    def _included(self, path: str) -> tuple[str, bytes] | None:
        """Find a file under ``include/``; as with node files, a later roll's lies on top."""
        for roll in reversed(self.rolls):
            if path in roll.includes:
                return roll.includes[path].file, roll.includes[path].data
        return None

    def closest(self, name: str) -> str:
        """Return what to add to a message about an unknown node: the names its author may have meant."""
        return closest(name, {*self._sources, *self.graph.nodes} - {name})

    def _unknown(self, name: str, edge: Edge | None) -> GraphError:
        where = f"none of the rolls {', '.join(roll.name for roll in self.rolls)} has nodes/{name}.xml"
        if name in self.orphans:
            where += f", which {self.orphans[name][0].file} extends"
        where += closest(name, self._sources)
        if edge is None:
            return GraphError(f"unknown root node {name!r}: {where}")
        return GraphError(f"{edge.source} includes the unknown node {name!r}: {where}", file=edge.file, line=edge.line)

    def appliances(self) -> tuple[str, ...]:
        """The nodes that look like roots of appliances: edges leave them, none leads to them, they have a file, and a
        name that an appliance can have."""
        sources, targets = ({edge.source for edge in self.graph.edges}, {edge.target for edge in self.graph.edges})
        return tuple(sorted(name for name in sources - targets if self.owner(name) and is_label(name)))

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

    def weighed(self, root: str) -> frozenset[str]:
        """Return those of the mentioned attributes whose values decide; of the others only whether there is one does.

        Raises:
            GraphError, NodeFileError, ConditionError: a file within the root's reach is malformed.
        """
        names = self._weighed.get(root)
        if names is None:
            nodes, _ = self.graph.reachable(root)
            edges = [edge.when.weighed for edge in self.graph.edges if edge.source in nodes]
            files = [file.weighed for node in nodes if node in self._sources for file in self.node(node)]
            names = self._weighed[root] = frozenset[str]().union(*edges, *files)
        return names


def node_of(stem: str) -> str:
    """Return the node that a file speaks of."""
    prefix = next((prefix for prefix in (EXTEND, REPLACE) if stem.startswith(prefix)), "")
    return stem.removeprefix(prefix)


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.65) -> str:
    """Return ``"; closest: a, b"``, or nothing when no known name is near."""
    folded = {other.lower(): other for other in sorted(known, reverse=True)}
    matches = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=cutoff)
    return f"; closest: {', '.join(folded[match] for match in matches)}" if matches else ""
