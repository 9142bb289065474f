"""``avalanche profile``: the compiled profile of a host, as the frontend sends it; and how two of them differ."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns, print_json, visible
from avalanche.cli.sources import Source, add_source_command, source_of

if TYPE_CHECKING:
    from avalanche.difference import Change


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command, and its verb."""
    what = "print a host's compiled profile (XML); 'profile diff A B' tells how two differ"
    parser = add_source_command(nouns, "profile", _run, what, json=True, twice=True)
    parser.add_argument(
        "sides", nargs="*", metavar="A B", help="after 'diff': two hosts; or give --root or --attrs twice"
    )
    parser.epilog = (
        "diff without a database: 'profile diff --roll DIR --root NODE --attrs A.json --attrs B.json', "
        "or two --root, or both twice"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.host == "diff":
        return _diff(arguments)
    roots, attrs = arguments.root or [None], arguments.attrs or [None]
    if arguments.sides or len(roots) > 1 or len(attrs) > 1:
        arguments.usage_error("one profile at a time; 'profile diff' compares two")
    side = _side(arguments, arguments.host, roots[0], attrs[0])
    if arguments.legacy:
        from avalanche.cli.legacy import print_profile

        print_profile(side, arguments)
        return 0
    profile = side.compiled().profile
    if arguments.json:
        arguments.usage_error("a profile is XML; --json goes with 'profile diff'")
    print(profile.to_xml().decode(), end="")
    return 0


def _side(arguments: argparse.Namespace, host: str | None, root: str | None, attrs: Path | None) -> Source:
    return source_of(argparse.Namespace(**{**vars(arguments), "host": host, "root": root, "attrs": attrs}))


def _diff(arguments: argparse.Namespace) -> int:
    """Print how two profiles differ; nothing when they do not."""
    from avalanche.difference import differences

    names, sources = _sides(arguments)
    before, after = (source.compiled().profile for source in sources)
    changes = differences(before, after, attributes=(sources[0].attributes, sources[1].attributes))
    if arguments.json:
        print_json([dataclasses.asdict(change) for change in changes])
    elif changes:
        print(f"--- {names[0]}\n+++ {names[1]}")
        for line in _told(changes):
            print(visible(line))
    return 0


def _sides(arguments: argparse.Namespace) -> tuple[tuple[str, str], tuple[Source, Source]]:
    if arguments.sides:
        if len(arguments.sides) != 2 or arguments.root or arguments.attrs:
            arguments.usage_error("diff takes two hosts, or --root with --roll, and --root or --attrs twice")
        left, right = (_side(arguments, host, None, None) for host in arguments.sides)
        return (arguments.sides[0], arguments.sides[1]), (left, right)
    roots, attrs = arguments.root or [], arguments.attrs or []
    if not 1 <= len(roots) <= 2 or len(attrs) > 2 or 2 not in (len(roots), len(attrs)):
        arguments.usage_error("diff takes two hosts, or --root with --roll, and --root or --attrs twice")
    pairs = [(roots[number % len(roots)], attrs[number % len(attrs)] if attrs else None) for number in (0, 1)]
    left, right = (_side(arguments, None, root, file) for root, file in pairs)
    names = [f"{root} {file}" if file is not None else root for root, file in pairs]
    return (names[0], names[1]), (left, right)


def _told(changes: Sequence[Change]) -> Iterator[str]:
    """As a unified diff, under headings."""
    heading = ""
    for change in changes:
        wanted = f"{change.name}: {change.kind}" if change.lines else f"{change.kind}s"
        if wanted != heading:
            heading = wanted
            yield f"@@ {heading} @@"
        yield from change.lines
        if not change.lines:
            named = "" if change.name == change.kind else f"{change.name} = "
            yield from (
                f"{sign}{named}{value}"
                for sign, value in (("-", change.before), ("+", change.after))
                if value is not None
            )
