"""``--legacy``: what the original Rocks compiler answers, for comparison (docs/legacy.md); never served to a host."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from avalanche.cli.common import print_json
from avalanche.cli.sources import Source

if TYPE_CHECKING:
    from avalanche.legacy.compiler import LegacyProfile

HIDDEN = "***"


def print_order(source: Source, arguments: argparse.Namespace) -> None:
    """Print the nodes that the original could read, in its order; then fail with what it failed with."""
    profile = _compiled(source, arguments)
    if arguments.json:
        print_json(list(profile.nodes))
    else:
        print("\n".join(profile.nodes))
    profile.check()


def print_profile(source: Source, arguments: argparse.Namespace) -> None:
    """Print the original's document, with what is secret hidden."""
    profile = _compiled(source, arguments, hide=True)
    profile.check()
    sys.stdout.write(profile.document.text)


def print_kickstart(source: Source, arguments: argparse.Namespace) -> None:
    """Print the original's kickstart."""
    profile = _compiled(source, arguments)
    profile.check()
    sys.stdout.write(profile.kickstart())


def _compiled(source: Source, arguments: argparse.Namespace, *, hide: bool = False) -> LegacyProfile:
    from avalanche.adapters.legacy_tree import load_tree
    from avalanche.legacy.compiler import compile_legacy

    values = {
        attribute.name: HIDDEN if hide and attribute.secret else attribute.value
        for attribute in source.attributes.effective()
    }
    return compile_legacy(load_tree(source.rolls), source.root, values, evals=not arguments.no_eval)
