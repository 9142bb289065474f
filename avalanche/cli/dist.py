"""``avalanche dist``: distributions, what hosts install."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avalanche.cli.common import (
    Nouns,
    add_command,
    add_noun,
    opened_database,
    print_facts,
    print_json,
    print_rows,
    state_of,
)
from avalanche.cluster import Distribution, Host, Interface
from avalanche.errors import AvalancheError, ClusterError

if TYPE_CHECKING:
    from avalanche.adapters.distributions import Distributions, Generation

BAR = 30
EXAMPLE_CARD = Interface("00:00:5e:00:53:01", "192.0.2.1")  # reserved for examples: RFC 7042, RFC 5737


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = add_noun(nouns, "dist", "distributions: add, import, set, list, show, check, remove, forget")
    for verb, run, help in (
        ("add", _add, "tell the inventory of a distribution, so that memberships can name it; import does it too"),
        ("set", _set, "change what the inventory says about a distribution"),
    ):
        parser = add_command(verbs, verb, run, help)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--os-release", metavar="TEXT", help="what it is a release of, for people")
        parser.add_argument("--lang", metavar="LANG", help="its language, for people")
    forget = add_command(verbs, "forget", _forget, "take a distribution that no membership names out of the inventory")
    forget.add_argument("name", metavar="NAME")
    import_ = add_command(verbs, "import", _import, "make a folder of RPMs the current generation of a distribution")
    import_.add_argument("name", metavar="NAME")
    import_.add_argument("folder", metavar="FOLDER", type=Path)
    import_.add_argument("--comps", type=Path, metavar="FILE", help="package groups (default: those of the folder)")
    import_.add_argument(
        "--key", type=Path, action="append", default=[], metavar="FILE", help="accepted signer; repeatable"
    )
    import_.add_argument("--allow-unsigned", action="store_true", help="accept packages that nobody accepted signed")
    add_command(verbs, "list", _list, "list distributions and their generations")
    show = add_command(verbs, "show", _show, "show a distribution's current generation")
    show.add_argument("name", metavar="NAME")
    check = add_command(verbs, "check", _check, "solve every appliance's packages, and read every object")
    check.add_argument("name", metavar="NAME")
    check.add_argument("--appliance", metavar="NAME", help="solve for this appliance only")
    remove = add_command(verbs, "remove", _remove, "remove a generation that is not the current one")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("generation", metavar="GENERATION")


def _add(arguments: argparse.Namespace) -> None:
    distribution = Distribution(arguments.name, arguments.os_release or "", arguments.lang or "")
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.add_distribution(distribution)
    print_facts(arguments, asdict(distribution))


def _set(arguments: argparse.Namespace) -> None:
    fields = {"os_release": arguments.os_release, "lang": arguments.lang}
    given = {field: value for field, value in fields.items() if value is not None}
    with opened_database(arguments) as database, database.transaction() as transaction:
        distribution = replace(transaction.cluster().distribution(arguments.name), **given)
        transaction.set_distribution(distribution)
    print_facts(arguments, asdict(distribution))


def _forget(arguments: argparse.Namespace) -> None:
    with opened_database(arguments) as database, database.transaction() as transaction:
        transaction.remove_distribution(arguments.name)
    print_facts(arguments, {"forgotten": arguments.name})


def _import(arguments: argparse.Namespace) -> None:
    with _progress() as progress:
        generation = _distributions(arguments).import_folder(
            arguments.name,
            arguments.folder,
            comps=arguments.comps,
            keys=arguments.key,
            allow_unsigned=arguments.allow_unsigned,
            progress=progress,
        )
    with opened_database(arguments) as database, database.transaction() as transaction:
        if arguments.name not in transaction.distributions():
            transaction.add_distribution(Distribution(arguments.name))
        transaction.record("dist import", [arguments.name], generation=generation.id)
    print_facts(arguments, _facts(generation, current=generation.id))


def _list(arguments: argparse.Namespace) -> None:
    distributions = _distributions(arguments)
    rows = []
    for name in distributions.names():
        current = distributions.current(name).id
        rows += [_facts(generation, current=current) for generation in distributions.generations(name)]
    columns = ("distribution", "generation", "current", "packages", "bytes")
    print_rows(arguments, rows, columns, none="no distribution; make one: avalanche dist import NAME FOLDER")


def _show(arguments: argparse.Namespace) -> None:
    generation = _distributions(arguments).current(arguments.name)
    facts = _facts(generation, current=generation.id) | {"path": str(generation.path)}
    print_facts(arguments, facts)


def _check(arguments: argparse.Namespace) -> int:
    distributions = _distributions(arguments)
    closures, problems = _closures(arguments, distributions)
    with _progress() as progress:
        problems += distributions.check(arguments.name, progress)
    if arguments.json:
        print_json({"appliances": closures, "problems": problems})
    else:
        print_rows(
            arguments, closures, ("appliance", "hosts", "packages", "bytes"), none="no appliance could be solved"
        )
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _closures(arguments: argparse.Namespace, distributions: Distributions) -> tuple[list[dict[str, Any]], list[str]]:
    """Solve what every host would install; an appliance without hosts is solved for one that might be added."""
    from avalanche.cli.plan import make_planner

    state = state_of(arguments)
    planner = make_planner(state, state.config(), distributions)
    with opened_database(arguments) as database, database.snapshot() as transaction:
        cluster = transaction.cluster()
    generation = distributions.current(arguments.name)
    names = list(cluster.appliances)
    if arguments.appliance is not None:
        names = [cluster.appliance(arguments.appliance).name]
    problems: dict[str, None] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name in names:
        root = cluster.appliance(name).root
        hosts = [host for host in cluster.hosts.values() if host.appliance == name]
        for host in hosts or [Host(f"{name}-0-0", name, 0, 0, (EXAMPLE_CARD,))]:
            try:
                compiled = planner.compiled(cluster, root, planner.attributes(cluster, host))
                manifest = planner.closure(generation.id, compiled.profile)
            except AvalancheError as error:
                problems[f"{error} (appliance {name})"] = None
                continue
            packages = sum(entry.nevra is not None for entry in manifest.entries)
            row = {"appliance": name, "hosts": 0, "packages": packages, "bytes": manifest.total_bytes}
            rows.setdefault((name, manifest.digest), row)["hosts"] += bool(hosts)
    return list(rows.values()), list(problems)


def _remove(arguments: argparse.Namespace) -> None:
    from avalanche.adapters import orderbook

    distributions = _distributions(arguments)
    now = time.time()
    # The lock of the database is held while files go, so that no order can be made for them meanwhile.
    with opened_database(arguments) as database, database.transaction() as transaction:
        for order in orderbook.all_orders(transaction):
            if order.generation == arguments.generation and order.state(now) == "live":
                cancel = f"cancel it first: avalanche order cancel {order.id}"
                raise ClusterError(f"{order.host} installs {order.generation} under order {order.id}; {cancel}")
        freed = distributions.remove(arguments.name, arguments.generation)
        transaction.record("dist remove", [arguments.name], generation=arguments.generation)
    print_facts(arguments, {"removed": arguments.generation, "freed_bytes": freed})


def _distributions(arguments: argparse.Namespace) -> Distributions:
    from avalanche.adapters.distributions import Distributions

    state = state_of(arguments)
    state.config()  # says what to do where no frontend was made
    return Distributions(state.root)


def _facts(generation: Generation, *, current: str) -> dict[str, Any]:
    return {
        "distribution": generation.name,
        "generation": generation.id,
        "current": generation.id == current,
        "packages": sum(entry.nevra is not None for entry in generation.manifest.entries),
        "bytes": generation.manifest.total_bytes,
        "manifest": generation.manifest.digest,
    }


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr when that is a terminal, and silence when it is not."""
    shown = sys.stderr.isatty()

    def show(stage: str, done: int, total: int) -> None:
        if shown and total > 0:
            filled = BAR * done // total
            print(
                f"\r{stage:<9} [{'#' * filled:<{BAR}}] {100 * done // total:3d} %", end="", file=sys.stderr, flush=True
            )

    try:
        yield show
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
