"""``avalanche graph``: what the graph selects, in which order, why, and whether it is right."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import Nouns, add_noun, print_json, state_of
from avalanche.cli.sources import Source, add_source_command, read_attributes, source_of
from avalanche.cluster import free_attributes
from avalanche.errors import ConfigError, GraphError

if TYPE_CHECKING:
    from avalanche.explain import Decision, Explainer, Mention, NodeAnswer, OrderAnswer, PackageAnswer, Step
    from avalanche.lint import Finding

SHOWN = 5  # closed ways that a person is told


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "graph", "the graph of node files: order, check, why, draw")
    order = add_source_command(verbs, "order", _order, "print the nodes that are selected, in order", json=True)
    order.add_argument(
        "--explain", nargs=2, metavar=("A", "B"), help="tell why one of two nodes comes before the other"
    )
    check = add_source_command(
        verbs, "check", _check, "print everything wrong or suspicious, with file and line", json=True
    )
    check.add_argument("--strict", action="store_true", help="fail (exit status 1) on remarks, too")
    why = add_source_command(verbs, "why", _why, "tell why a node is selected, or not", json=True)
    why.add_argument("node", nargs="?", metavar="NODE", help="the node in question")
    why.add_argument("--package", metavar="NAME", help="tell who asks for a package or @GROUP, or keeps it out")
    draw = add_source_command(verbs, "draw", _draw, "draw the graph as SVG or DOT")
    draw.add_argument("--format", choices=("svg", "dot"), help="default: as the output's name ends, or svg")
    draw.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: standard output)")
    draw.add_argument("--orders", action="store_true", help="draw the order pairs, too")


def _order(arguments: argparse.Namespace) -> None:
    source = source_of(arguments)
    if arguments.legacy:
        from avalanche.cli.legacy import print_order

        return print_order(source, arguments)
    if arguments.explain:
        _explain_order(arguments, _explainer(source).order(*arguments.explain))
        return
    nodes = source.load().graph.traverse(source.root, source.attributes).nodes
    if arguments.json:
        print_json(list(nodes))
    else:
        print("\n".join(nodes))


def _explain_order(arguments: argparse.Namespace, answer: OrderAnswer) -> None:
    if arguments.json:
        chains = [[dataclasses.asdict(pair) for pair in chain] for chain in answer.chains]
        print_json({"first": answer.first, "second": answer.second, "reason": answer.reason, "chains": chains})
        return
    print(f"{answer.first} takes effect before {answer.second}: {answer.reason}")
    for chain in answer.chains:
        for pair in chain:
            print(f"  {pair}  {pair.place}")


def _why(arguments: argparse.Namespace) -> int:
    _settle_names(arguments)
    source = source_of(arguments)
    explainer = _explainer(source)
    if arguments.package is not None:
        return _why_package(arguments, explainer.package(arguments.package))
    answer = explainer.node(arguments.node)
    if arguments.json:
        print_json(_node_facts(answer))
        return 0 if answer.selected else 1
    for line in _told(answer):
        print(line)
    if answer.selected:
        return 0
    raise GraphError(f"{answer.root} does not select {answer.node} with these attributes")


def _settle_names(arguments: argparse.Namespace) -> None:
    """Tell HOST and NODE apart: one name alone is the node, or with --package the host."""
    alone = arguments.host or arguments.node
    if arguments.package is not None:
        if arguments.host and arguments.node:
            arguments.usage_error("--package takes the place of NODE")
        arguments.host, arguments.node = alone, None
    elif arguments.root is not None:
        if arguments.host and arguments.node:
            arguments.usage_error("name a HOST, or --root NODE with --roll DIR")
        arguments.host, arguments.node = None, alone
    if arguments.package is None and arguments.node is None:
        arguments.usage_error("name the NODE in question, or --package NAME")


def _told(answer: NodeAnswer) -> Iterator[str]:
    if answer.selected:
        yield answer.root if answer.node == answer.root else f"{answer.root} selects {answer.node}:"
        yield from (f"  {step}" for step in answer.path)
        yield from (f"  also: {step}" for step in answer.others)
    elif answer.obstacles:
        shown = answer.obstacles[:SHOWN]
        for number, path in enumerate(shown, 1):
            yield f"way {number}, which is closed:" if len(answer.obstacles) > 1 else "the way, which is closed:"
            yield from (f"  {step}" for step in path)
        if len(answer.obstacles) > len(shown):
            yield f"{len(answer.obstacles) - len(shown)} more ways are closed; --json tells them"
    elif answer.roots:
        yield f"no way leads from {answer.root} to {answer.node}, whatever the attributes; ways begin at:"
        yield from (f"  {name}" for name in answer.roots)
    else:
        yield f"no edge leads to {answer.node}; include it with <edge from={answer.root!r} to={answer.node!r}/>"
    yield from (f"file {file}" for file in answer.files)
    if not answer.files:
        yield f"no roll has nodes/{answer.node}.xml"


def _why_package(arguments: argparse.Namespace, answer: PackageAnswer) -> int:
    if arguments.json:
        rows = [
            {
                "node": mention.node, "file": mention.file, "line": mention.line, "request": mention.request,
                "group": mention.meta, "disable": mention.disable, "counts": mention.counts,
                **_decision_facts(mention.decision), "why": _node_facts(mention.why),
            }
            for mention in answer.mentions
        ]  # fmt: skip
        print_json({"package": answer.package, "verdict": answer.verdict, "mentions": rows})
        return 0 if answer.verdict == "asked for" else 1
    print(f"{answer.package}: {answer.verdict}")
    for mention in answer.mentions:
        for line in _told_mention(mention):
            print(f"  {line}")
    if answer.verdict == "not asked for":
        print("  it may still come along because another package needs it")
    if answer.unreadable:
        more = f" (and {len(answer.unreadable) - 1} more)" if len(answer.unreadable) > 1 else ""
        print(f"not read: {answer.unreadable[0]}{more}; graph check tells all", file=sys.stderr)
    return 0 if answer.verdict == "asked for" else 1


def _told_mention(mention: Mention) -> Iterator[str]:
    asked = f"{'keeps out' if mention.disable else 'asks for'} {'@' if mention.meta else ''}{mention.request}"
    place = f"{mention.file}:{mention.line}"
    if mention.counts:
        decision = f"  {mention.decision}" if mention.decision.when else ""
        yield f"{mention.node} {asked}  {place}{decision}"
        yield from (f"    {step}" for step in mention.why.path)
    elif mention.why.selected:
        yield f"{mention.node} {asked}, but not here  {place}  {mention.decision}"
    else:
        yield f"{mention.node} {asked}, but is not selected  {place}"
        closed = mention.why.obstacles[:1]
        yield from (f"    {step}" for path in closed for step in path if not step.decision.holds)
        if not closed:
            yield f"    no way leads from {mention.why.root} to {mention.node}, whatever the attributes"


def _node_facts(answer: NodeAnswer) -> dict[str, Any]:
    return {
        "root": answer.root,
        "node": answer.node,
        "selected": answer.selected,
        "path": [_step_facts(step) for step in answer.path],
        "others": [_step_facts(step) for step in answer.others],
        "obstacles": [[_step_facts(step) for step in path] for path in answer.obstacles],
        "roots": list(answer.roots),
        "files": list(answer.files),
    }


def _step_facts(step: Step) -> dict[str, Any]:
    edge = step.edge
    place = {"source": edge.source, "target": edge.target, "file": edge.file, "line": edge.line}
    return {**place, **_decision_facts(step.decision)}


def _decision_facts(decision: Decision) -> dict[str, Any]:
    return {"condition": decision.when or None, "holds": decision.holds, "values": dict(decision.values)}


_FORMATS = {"": "svg", ".svg": "svg", ".dot": "dot", ".gv": "dot"}
"""What a drawing is written as, by the end of its file's name."""


def _draw(arguments: argparse.Namespace) -> None:
    from avalanche.drawing import Drawing

    source = _whole_source_of(arguments)
    rolls = source.load()
    traversal = rolls.graph.traverse(source.root, source.attributes) if source.root else None
    drawing = Drawing(rolls, traversal, orders=arguments.orders)
    output: Path | None = arguments.output
    chosen = arguments.format or _FORMATS.get(output.suffix if output is not None else ".svg")
    if chosen is None:
        raise ConfigError(f"{output}: a drawing is .svg or .dot; dot -Tpng makes others of the latter")
    text = drawing.to_dot() if chosen == "dot" else drawing.to_svg()
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


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


def _explainer(source: Source) -> Explainer:
    from avalanche.explain import Explainer

    rolls = source.load()
    return Explainer(rolls, source.root, source.attributes, effects=source.effects(rolls))
