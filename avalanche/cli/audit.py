"""``avalanche audit``: who changed what, and when."""

from __future__ import annotations

import argparse
import json

from avalanche.cli.common import Nouns, add_command, opened_database, print_rows, when


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(nouns, "audit", _run, "print who changed what, the newest last")
    parser.add_argument(
        "subject", nargs="?", metavar="NAME", help="only changes of the host, appliance ... of this name"
    )
    parser.add_argument("--author", metavar="USER", help="only this person's changes")
    parser.add_argument("--last", type=int, default=100, metavar="N", help="at most N of them (default: 100)")


def _run(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.audit import read_audit

    with opened_database(arguments) as database, database.snapshot() as transaction:
        found = read_audit(transaction, subject=arguments.subject, author=arguments.author, last=max(arguments.last, 1))
    rows = [
        {
            "at": when(entry.at),
            "author": entry.author,
            "action": entry.action,
            "subject": entry.subject,
            "detail": dict(entry.detail) if arguments.json else json.dumps(entry.detail) if entry.detail else "",
        }
        for entry in found
    ]
    about = [f"of {arguments.subject!r}"] if arguments.subject else []
    about += [f"by {arguments.author!r}"] if arguments.author else []
    none = f"no change {' '.join(about)} is on record" if about else "nothing was changed yet"
    print_rows(arguments, rows, ("at", "author", "action", "subject", "detail"), none=none)
