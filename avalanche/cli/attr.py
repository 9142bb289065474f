"""``avalanche attr``: attributes, at their scopes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_rows,
    read_bounded,
    state_of,
    when,
)
from avalanche.cli.plan import intrinsic_of
from avalanche.cli.selection import HELP, complete_host, hosts_of
from avalanche.cluster import Cluster, Host, Setting
from avalanche.errors import ClusterError

if TYPE_CHECKING:
    from avalanche.adapters.database import Database, Transaction

COLUMNS = ("name", "value", "scope", "owner")
HIDDEN = "***"


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "attr", "attributes: set, list, show, history, remove")
    set_ = add_command(verbs, "set", _set, "set an attribute (global < os < appliance < rack < host)")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("value", metavar="VALUE", help="'-' reads it from standard input, where ps does not show it")
    set_.add_argument("--secret", action="store_true", help="do not show the value in lists, logs and queries")
    list_ = add_command(verbs, "list", _list, "list what is set; with --host everything that host has, and from where")
    list_.add_argument("--show-secrets", action="store_true", help="print secret values too")
    show = add_command(verbs, "show", _show, "show what a host's attribute is, or with --why where it comes from")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--host", required=True, metavar="HOST").completer = complete_host  # type: ignore[attr-defined]
    show.add_argument("--why", action="store_true", help="every scope that sets it: by whom, when, what it hides")
    show.add_argument("--show-secrets", action="store_true", help="print secret values too")
    history = add_command(verbs, "history", _history, "print what an attribute was, who set it, and when")
    history.add_argument("name", metavar="NAME")
    remove = add_command(verbs, "remove", _remove, "remove an attribute from a scope")
    remove.add_argument("name", metavar="NAME")
    for verb in (set_, list_, remove, history):
        scope = verb.add_mutually_exclusive_group()
        scope.add_argument(
            "--scope", metavar="SCOPE[=OWNER]", help="global, os=OS, appliance=NAME, rack=NUMBER, host=HOST"
        )
        host = scope.add_argument("--host", metavar="HOST", help=f"the same as --scope host=HOST; {HELP}")
        host.completer = complete_host  # type: ignore[attr-defined]
        scope.add_argument("--appliance", metavar="NAME", help="the same as --scope appliance=NAME")
        if verb in (set_, remove):
            scope.add_argument("--query", metavar="SELECT", help="hosts by SQL: the first column names them")
        verb.set_defaults(query=None)


def _scope(arguments: argparse.Namespace) -> tuple[str, str]:
    if arguments.host is not None:
        return "host", arguments.host
    if arguments.appliance is not None:
        return "appliance", arguments.appliance
    scope, _, owner = (arguments.scope or "global").partition("=")
    return scope, owner


def _owners(arguments: argparse.Namespace, database: Database, transaction: Transaction) -> list[tuple[str, str]]:
    """The scope a command was given, once for each host when that is a set of hosts."""
    scope, owner = _scope(arguments)
    if scope == "host" or arguments.query is not None:
        hosts = hosts_of(transaction.cluster(), database, [owner] if arguments.query is None else [], arguments.query)
        return [("host", host.name) for host in hosts]
    return [(scope, owner)]


def _set(arguments: argparse.Namespace) -> None:
    value = read_bounded(sys.stdin, "standard input").removesuffix("\n") if arguments.value == "-" else arguments.value
    with opened_database(arguments) as database, database.transaction() as transaction:
        owners = _owners(arguments, database, transaction)
        settings = [Setting(scope, owner, arguments.name, value, arguments.secret) for scope, owner in owners]
        transaction.set_attributes(settings)
    rows = [_row(setting, show=False) for setting in settings]
    if len(rows) == 1:
        print_facts(arguments, rows[0])
    else:
        print_rows(arguments, rows, COLUMNS, none="")


def _remove(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        owners = _owners(arguments, database, transaction)
        transaction.remove_attributes([(scope, owner, arguments.name) for scope, owner in owners])
    names = [owner for _, owner in owners]
    print_facts(
        arguments,
        {"removed": arguments.name, "scope": owners[0][0], "owner": names if len(names) > 1 else names[0]},
    )


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
        if arguments.host is not None:
            hosts = hosts_of(cluster, database, [arguments.host], None)
    if arguments.host is not None:
        rows = [row for host in hosts for row in _effective(arguments, cluster, host, several=len(hosts) > 1)]
        columns = [*(("host",) if len(hosts) > 1 else ()), "name", "value", "scope", "hides"]
        print_rows(arguments, rows, columns, none="no attribute")
        return
    found = cluster.settings
    if arguments.scope is not None or arguments.appliance is not None:
        found = tuple(setting for setting in found if (setting.scope, setting.owner) == _scope(arguments))
    rows = [_row(setting, show=arguments.show_secrets) for setting in found]
    print_rows(arguments, rows, COLUMNS, none="no attribute is set there")


def _show(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    host = cluster.find(arguments.host)
    attributes = cluster.attributes(host, intrinsic_of(state_of(arguments).config()))
    if arguments.name not in attributes:
        near = attributes.closest(arguments.name)
        hint = f" (close: {', '.join(near)})" if near else ""
        raise ClusterError(f"{host.name} has no attribute {arguments.name}{hint}")
    rows: list[dict[str, Any]] = []
    for layer in (attributes.attribute(arguments.name), *attributes.overridden(arguments.name)):
        setting = cluster.setting(host, layer.scope, arguments.name)
        rows.append(
            {
                "name": arguments.name,
                "value": HIDDEN if layer.secret and not arguments.show_secrets else layer.value,
                "scope": layer.scope,
                "owner": setting.owner if setting else host.name,
                "author": setting.author if setting else "avalanche",
                "at": when(setting.at) if setting else None,
                "secret": layer.secret,
                "hidden": bool(rows),
            }
        )
    if arguments.why:
        print_rows(arguments, rows, ("value", "scope", "owner", "author", "at", "hidden"), none="")
    else:
        print_facts(arguments, {field: rows[0][field] for field in ("name", "value", "scope", "owner", "secret")})


def _history(arguments: argparse.Namespace) -> None:
    scope, owner = _scope(arguments) if arguments.scope or arguments.host or arguments.appliance else (None, None)
    with opened_database(arguments) as database, database.snapshot() as transaction:
        past = transaction.attribute_history(arguments.name, scope=scope, owner=owner)
    rows = [
        {
            "at": when(entry.at),
            "author": entry.author,
            "scope": entry.scope,
            "owner": entry.owner,
            "change": "removed" if entry.removed else "set",
            "value": HIDDEN if entry.secret and not entry.removed else entry.value,
            "secret": entry.secret,
        }
        for entry in past
    ]
    columns = ("at", "author", "scope", "owner", "change", "value")
    print_rows(arguments, rows, columns, none=f"nobody set {arguments.name} there")


def _effective(arguments: argparse.Namespace, cluster: Cluster, host: Host, *, several: bool) -> list[dict[str, Any]]:
    """What a host has, and the scopes of the values that the strongest one hides."""
    attributes = cluster.attributes(host, intrinsic_of(state_of(arguments).config()))
    return [
        ({"host": host.name} if several else {})
        | {
            "name": name,
            "value": HIDDEN if found.secret and not arguments.show_secrets else found.value,
            "scope": found.scope,
            "secret": found.secret,
            "hides": [weaker.scope for weaker in attributes.overridden(name)],
        }
        for name in attributes
        for found in (attributes.attribute(name),)
    ]


def _row(setting: Setting, *, show: bool) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": HIDDEN if setting.secret and not show else setting.value,
        "scope": setting.scope,
        "owner": setting.owner,
        "secret": setting.secret,
    }
