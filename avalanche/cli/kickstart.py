"""``avalanche kickstart``: the rendered kickstart of a host, byte for byte what the host itself renders."""

from __future__ import annotations

import argparse
import sys

from avalanche.cli.common import Nouns
from avalanche.cli.sources import add_source_command, source_of


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_source_command(nouns, "kickstart", _run, "print a host's kickstart, byte for byte what it will use")


def _run(arguments: argparse.Namespace) -> None:
    from avalanche.kickstart import render

    source = source_of(arguments)
    if arguments.legacy:
        from avalanche.cli.legacy import print_kickstart

        return print_kickstart(source, arguments)
    text = render(source.compiled().profile, source.attributes)
    # Bytes, because the host writes UTF-8 whatever the locale of this terminal is.
    sys.stdout.buffer.write(text.encode())
