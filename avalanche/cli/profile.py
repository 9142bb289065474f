"""``avalanche profile``: the compiled profile of a host, as the frontend sends it."""

from __future__ import annotations

import argparse

from avalanche.cli.common import Nouns
from avalanche.cli.sources import add_source_command, source_of


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_source_command(nouns, "profile", _run, "print a host's compiled profile (XML)")


def _run(arguments: argparse.Namespace) -> None:
    print(source_of(arguments).compiled().profile.to_xml().decode(), end="")
