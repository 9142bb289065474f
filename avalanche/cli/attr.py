"""``avalanche attr``: attributes, at their scopes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from avalanche.cli.common import Nouns, add_command, add_noun, opened_database, print_facts, print_rows, state_of
from avalanche.cli.plan import intrinsic_of
from avalanche.cluster import Cluster, Setting

HIDDEN = "***"


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "attr", "attributes: set, list, remove")
    set_ = add_command(verbs, "set", _set, "set an attribute (global < os < appliance < rack < host)")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("value", metavar="VALUE", help="'-' reads it from standard input, where ps does not show it")
    set_.add_argument("--secret", action="store_true", help="do not show the value in lists and logs")
    list_ = add_command(verbs, "list", _list, "list what is set; with --host everything that host has, and from where")
    list_.add_argument("--show-secrets", action="store_true", help="print secret values too")
    remove = add_command(verbs, "remove", _remove, "remove an attribute from a scope")
    remove.add_argument("name", metavar="NAME")
    for verb in (set_, list_, remove):
        scope = verb.add_mutually_exclusive_group()
        scope.add_argument(
            "--scope", metavar="SCOPE[=OWNER]", help="global, os=OS, appliance=NAME, rack=NUMBER, host=HOST"
        )
        scope.add_argument("--host", metavar="HOST", help="the same as --scope host=HOST")
        scope.add_argument("--appliance", metavar="NAME", help="the same as --scope appliance=NAME")


def _scope(arguments: argparse.Namespace) -> tuple[str, str]:
    if arguments.host is not None:
        return "host", arguments.host
    if arguments.appliance is not None:
        return "appliance", arguments.appliance
    scope, _, owner = (arguments.scope or "global").partition("=")
    return scope, owner


def _set(arguments: argparse.Namespace) -> None:
    scope, owner = _scope(arguments)
    value = sys.stdin.read().removesuffix("\n") if arguments.value == "-" else arguments.value
    setting = Setting(scope, owner, arguments.name, value, arguments.secret)
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.set_attribute(setting)
    print_facts(arguments, _row(setting, show=False))


def _remove(arguments: argparse.Namespace) -> None:
    scope, owner = _scope(arguments)
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_attribute(scope, owner, arguments.name)
    print_facts(arguments, {"removed": arguments.name, "scope": scope, "owner": owner})


def _list(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    if arguments.host is not None:
        rows = _effective(arguments, cluster)
        print_rows(arguments, rows, ("name", "value", "scope", "hides"), none="")
        return
    wanted = None if arguments.scope is None and arguments.appliance is None else _scope(arguments)
    found = [setting for setting in cluster.settings if wanted in (None, (setting.scope, setting.owner))]
    rows = [_row(setting, show=arguments.show_secrets) for setting in found]
    print_rows(arguments, rows, ("name", "value", "scope", "owner"), none="no attribute is set there")


def _effective(arguments: argparse.Namespace, cluster: Cluster) -> list[dict[str, Any]]:
    """What a host has, and the scopes of the values that the strongest one hides."""
    intrinsic = intrinsic_of(state_of(arguments).config())
    attributes = cluster.attributes(cluster.host(arguments.host), intrinsic)
    return [
        {
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
