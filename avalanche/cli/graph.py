"""``avalanche graph``: what the graph selects, in which order, why, and whether it is right."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns, add_noun, print_json
from avalanche.cli.sources import Source, add_source_command, source_of
from avalanche.errors import AvalancheError, GraphError

if TYPE_CHECKING:
    from avalanche.roll import RollSet


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "graph", "the graph of node files: order, check, why")
    add_source_command(verbs, "order", _order, "print the nodes that are selected, in order", json=True)
    add_source_command(verbs, "check", _check, "print everything that is wrong, with file and line", json=True)
    why = add_source_command(verbs, "why", _why, "print the edges that lead to a node", json=True)
    why.add_argument("node", metavar="NODE", help="the node in question")


def _order(arguments: argparse.Namespace) -> None:
    source = source_of(arguments)
    if arguments.legacy:
        from avalanche.cli.legacy import print_order

        return print_order(source, arguments)
    nodes = _rolls(source).graph.traverse(source.root, source.attributes).nodes
    if arguments.json:
        print_json(list(nodes))
    else:
        print("\n".join(nodes))


def _why(arguments: argparse.Namespace) -> None:
    source = source_of(arguments)
    traversal = _rolls(source).graph.traverse(source.root, source.attributes)
    if arguments.node not in traversal.nodes:
        raise GraphError(f"{source.root} does not select {arguments.node} with these attributes")
    path = traversal.path(arguments.node)
    if arguments.json:
        print_json(
            [{"source": edge.source, "target": edge.target, "file": edge.file, "line": edge.line} for edge in path]
        )
        return
    print(source.root)
    for edge in path:
        print(f"{edge.target}  {edge.file}:{edge.line}")


def _check(arguments: argparse.Namespace) -> int:
    source = source_of(arguments)
    problems = list(dict.fromkeys(str(error) for error in _problems(source)))
    if arguments.json:
        print_json(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _problems(source: Source) -> Iterator[AvalancheError]:
    """Everything that is wrong and does not hide the rest: rolls, node files within reach, then the profile."""
    from avalanche.compiler import compile_profile

    broken = list(_broken_rolls(source.rolls))
    if broken:
        yield from broken
        return
    try:
        rolls = _rolls(source)
        # Called for its complaints: a cycle of order pairs shows only here.
        traversal = rolls.graph.traverse(source.root, source.attributes)
    except AvalancheError as error:
        yield error
        return
    failed = False
    for name in sorted(rolls.graph.reachable(source.root)[0]):
        try:
            rolls.node(name, included_by=traversal.included_by.get(name))
        except AvalancheError as error:
            failed = True
            yield error
    if not failed:
        try:
            compile_profile(rolls, source.root, source.attributes, release=source.release)
        except AvalancheError as error:
            yield error


def _broken_rolls(paths: Sequence[Path]) -> Iterator[AvalancheError]:
    from avalanche.adapters.rolls import load_rolls

    for path in paths:
        try:
            load_rolls([path])
        except AvalancheError as error:
            yield error


def _rolls(source: Source) -> RollSet:
    from avalanche.adapters.rolls import load_rolls

    return load_rolls(source.rolls)
