"""``avalanche graph``: what the graph selects, in which order, why, and whether it is right."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import Nouns, add_noun, print_json, state_of
from avalanche.cli.sources import Source, add_source_command, read_attributes, source_of
from avalanche.cluster import free_attributes
from avalanche.errors import GraphError

if TYPE_CHECKING:
    from avalanche.lint import Finding
    from avalanche.roll import RollSet


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "graph", "the graph of node files: order, check, why")
    add_source_command(verbs, "order", _order, "print the nodes that are selected, in order", json=True)
    check = add_source_command(
        verbs, "check", _check, "print everything wrong or suspicious, with file and line", json=True
    )
    check.add_argument("--strict", action="store_true", help="fail (exit status 1) on remarks, too")
    why = add_source_command(verbs, "why", _why, "print the edges that lead to a node", json=True)
    why.add_argument("node", metavar="NODE", help="the node in question")


def _order(arguments: argparse.Namespace) -> None:
    source = source_of(arguments)
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
    from avalanche.adapters.rolls import survey_rolls
    from avalanche.lint import ERROR, check

    source = _whole_source_of(arguments)
    rolls, faults = survey_rolls(source.rolls, includes=source.evaluate)
    root = source.root or None
    attributes = source.attributes if root is not None or arguments.attrs is not None else None
    # Of a host it is told that its rolls lack trust; a folder may be looked at without any.
    effects = source.effects(rolls) if arguments.host is not None or source.trusted else None
    findings = check(rolls, faults, root=root, attributes=attributes, release=source.release, effects=effects)
    if arguments.json:
        print_json([_as_json(finding) for finding in findings])
    else:
        for finding in findings:
            # Flushed one by one, so that a terminal shows both streams in one order.
            print(finding, file=sys.stderr if finding.severity == ERROR else sys.stdout, flush=True)
    bad = findings if arguments.strict else [finding for finding in findings if finding.severity == ERROR]
    return 1 if bad else 0


def _as_json(finding: Finding) -> dict[str, Any]:
    row = dataclasses.asdict(finding)
    return {**row, "file": finding.file or None, "line": finding.line or None}


def _whole_source_of(arguments: argparse.Namespace) -> Source:
    """As ``source_of``; without HOST and --root, all nodes are meant: of --roll, or of the frontend's rolls."""
    if arguments.host is not None or arguments.root is not None:
        return source_of(arguments)
    given = read_attributes(arguments.attrs) if arguments.attrs is not None else {}
    attributes = free_attributes("", arguments.release, given)
    if arguments.roll:
        return Source("", tuple(arguments.roll), attributes, arguments.release)
    from avalanche.cli.plan import rolls_of

    state = state_of(arguments)
    return Source("", rolls_of(state, state.config()), attributes, arguments.release)


def _rolls(source: Source) -> RollSet:
    return source.load()
