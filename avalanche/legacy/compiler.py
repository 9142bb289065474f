"""From a tree, a root and attributes to what the original answered. A pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avalanche.errors import DefinitionError
from avalanche.legacy.expand import Expander, Expansion, assemble
from avalanche.legacy.generate import generate
from avalanche.legacy.graphs import read_graphs
from avalanche.legacy.text import Written, escape_value
from avalanche.legacy.traversal import traverse
from avalanche.legacy.tree import Tree


@dataclass(frozen=True)
class LegacyProfile:
    """What the original made of a root: its nodes in order, and their document.

    The original ended at the first node that it could not read. Here the others are there nevertheless, so that a
    person sees how far it goes; ``failures`` are the nodes that are not.
    """

    nodes: tuple[str, ...]
    failures: tuple[DefinitionError, ...]
    attributes: Mapping[str, str] = field(repr=False)
    document: Written

    def check(self) -> None:
        """Raise what the original ended with, if it did.

        Raises:
            Stopped, DefinitionError: the first failure.
        """
        if self.failures:
            raise self.failures[0]

    def kickstart(self) -> str:
        """Print the kickstart of the nodes that are there.

        Raises:
            Stopped: the original ended with an exception.
            DefinitionError: a bound is broken, or something is not reproduced.
        """
        return generate(self.document, self.attributes)


def compile_legacy(tree: Tree, root: str, attributes: Mapping[str, str], *, evals: bool = False) -> LegacyProfile:
    """Compile a root as the original did.

    Args:
        evals: False leaves ``<eval>`` and ``<include>`` out. True includes, and refuses what would have to be executed.

    Raises:
        Stopped: the original ended with an exception before it came to the nodes.
        DefinitionError: a bound is broken.
    """
    values = {**attributes, "root": root}
    escaped = {name: escape_value(value) for name, value in values.items()}
    graphs = read_graphs((tree.graphs[name] for name in sorted(tree.graphs)), escaped)
    expander = Expander(tree, values, evals=evals)
    names: list[str] = []
    expansions: list[Expansion] = []
    failures: list[DefinitionError] = []
    for node in traverse(graphs, root, escaped):
        try:
            expansion = expander.expand(node)
        except DefinitionError as error:
            failures.append(error)
        else:
            names.append(node.name)
            expansions.append(expansion)
    return LegacyProfile(tuple(names), tuple(failures), values, assemble(values, expansions))
