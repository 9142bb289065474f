"""``avalanche profile``: the compiled profile of a host, as the frontend sends it."""

from __future__ import annotations

import argparse

from avalanche.cli.common import Nouns
from avalanche.cli.sources import Source, add_source_command, source_of
from avalanche.profile import Profile


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_source_command(nouns, "profile", _run, "print a host's compiled profile (XML)")


def compiled_profile(source: Source) -> Profile:
    """Compile what a command works on.

    Raises:
        DefinitionError, ConfigError: a roll is wrong; names file and line.
    """
    from avalanche.adapters.rolls import load_rolls
    from avalanche.compiler import compile_profile

    return compile_profile(load_rolls(source.rolls), source.root, source.attributes, release=source.release)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.legacy:
        from avalanche.cli.legacy import print_profile

        return print_profile(source_of(arguments), arguments)
    print(compiled_profile(source_of(arguments)).to_xml().decode(), end="")
