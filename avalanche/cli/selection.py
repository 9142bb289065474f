"""Hosts as commands take them: names, node sets, groups, or ``--query``; and what goes with several of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from avalanche.cluster import Cluster, Host
from avalanche.errors import ClusterError

if TYPE_CHECKING:
    from avalanche.adapters.database import Database

HELP = "names, node sets like compute-0-[0-31], groups like @rack1&@compute"


def add_hosts(parser: argparse.ArgumentParser, *, all_by_default: bool = False) -> argparse.Action:
    """Add ``HOST...`` and ``--query``."""
    action = parser.add_argument("hosts", nargs="*", metavar="HOST", help=HELP)
    parser.add_argument("--query", metavar="SELECT", help="hosts by SQL: the first column of a SELECT names them")
    parser.set_defaults(usage_error=parser.error, all_by_default=all_by_default)
    action.completer = complete_host  # type: ignore[attr-defined]
    return action


def check_selection(arguments: argparse.Namespace) -> None:
    """See that hosts were selected in one way. Wrong usage ends the program with status 2."""
    if arguments.hosts and arguments.query is not None:
        arguments.usage_error("name hosts, or select them with --query, not both")
    if not arguments.hosts and arguments.query is None and not arguments.all_by_default:
        arguments.usage_error("name a HOST, or select hosts with --query; @all means every host")


def selected(arguments: argparse.Namespace, database: Database, cluster: Cluster) -> list[Host]:
    """The hosts a command was given.

    Raises:
        UnknownHost, ClusterError: a name is nobody's, a node set or query is wrong, or selects nobody.
    """
    check_selection(arguments)
    if not arguments.hosts and arguments.query is None:
        return list(cluster.hosts.values())
    return hosts_of(cluster, database, arguments.hosts, arguments.query, may_be_none=arguments.all_by_default)


def hosts_of(
    cluster: Cluster, database: Database, texts: Sequence[str], query: str | None, *, may_be_none: bool = False
) -> list[Host]:
    """The hosts that texts mean, or that a query names. Raises as ``selected``."""
    from avalanche.adapters.nodesets import select_hosts

    if query is None:
        found = select_hosts(cluster, texts)
        told = " ".join(texts)
    else:
        from avalanche.adapters.query import query_hosts

        found = [cluster.find(name) for name in query_hosts(database.where, query)]
        told = "--query"
    if not found and not may_be_none:
        raise ClusterError(f"{told} selects no host")
    return found


def complete_host(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Names for the shell; none where there is no database."""
    from avalanche.cli.common import opened_database
    from avalanche.errors import AvalancheError

    try:
        with opened_database(parsed_args) as database, database.snapshot() as transaction:
            cluster = transaction.cluster()
    except (AvalancheError, OSError):
        return []
    from avalanche.adapters.nodesets import groups_of

    return [*cluster.hosts, *(f"@{group}" for group in groups_of(cluster))]
