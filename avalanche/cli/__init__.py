"""The command ``avalanche NOUN VERB``: one module per noun.

Exit status 0: done; 1: failed, one line on stderr says why; 2: wrong usage. With ``--json`` facts are printed as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from avalanche import __version__
from avalanche.errors import AvalancheError

NOUNS = (
    "init", "frontend", "tracker", "dist", "roll", "appliance", "membership", "network", "bootaction", "host",
    "attr", "order", "ethers", "report", "profile", "kickstart", "graph", "database", "audit",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Wrong usage ends the program with status 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    if "_ARGCOMPLETE" in os.environ:
        _complete(_parser(NOUNS))
    # The parsers of all nouns take longer to make than most commands take to run.
    arguments = _parser(words[:1] if words and words[0] in NOUNS else NOUNS).parse_args(words)
    try:
        status: int | None = arguments.run(arguments)
        sys.stdout.flush()
    except AvalancheError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain when it flushes.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _fail("interrupted")
    return status or 0


def _parser(known: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avalanche", description="Install a cluster, peer to peer.")
    parser.add_argument("--version", action="version", version=f"avalanche {__version__}")
    nouns = parser.add_subparsers(metavar="NOUN", required=True)
    for noun in known:
        import_module(f"avalanche.cli.{noun}").register(nouns)
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that wants to complete a word, and end; see docs/decisions/0082."""
    import argcomplete

    from avalanche.cli.completion import give_completers

    give_completers(parser)
    argcomplete.autocomplete(parser)


def _fail(reason: str) -> int:
    print(" ".join(reason.split("\n")), file=sys.stderr)
    return 1
