"""``insert-ethers``, also called ``avalanche ethers``: machines that ask by DHCP become hosts."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns, add_command, opened_database, print_facts, state_of
from avalanche.errors import AvalancheError, ClusterError, ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.database import Database, Transaction
    from avalanche.adapters.plugins import Plugins
    from avalanche.adapters.registrar import Generations, Registrar
    from avalanche.adapters.state import State
    from avalanche.cli.ethers_session import Result, Session
    from avalanche.cli.ethers_sources import Sources
    from avalanche.cluster import Cluster, Host
    from avalanche.config import Config

LOOK_SECONDS = 1.0
"""How old what is known of the rolls may be when an order is made."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program ``insert-ethers``."""
    from avalanche.cli import main as avalanche

    if "_ARGCOMPLETE" in os.environ:
        _complete_as_avalanche(os.environ)
    return avalanche(["ethers", *(sys.argv[1:] if argv is None else argv)])


def _complete_as_avalanche(environment: MutableMapping[str, str]) -> None:
    """Let the shell that completes ``insert-ethers ...`` have the words of ``avalanche ethers ...``."""
    line = environment.get("COMP_LINE", "")
    ours = f"avalanche ethers {line.partition(' ')[2]}"
    point = int(environment.get("COMP_POINT", len(line)))
    environment.update(COMP_LINE=ours, COMP_POINT=str(point + len(ours) - len(line)))


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    from avalanche.cli.order import _duration
    from avalanche.orders import PLANES

    help = "watch DHCP, and make hosts of the machines that ask (insert-ethers)"
    parser = add_command(nouns, "ethers", _run, help)
    add = parser.add_argument_group("what new hosts are").add_argument
    add("--membership", metavar="NAME", help="the group they join; asked for when there are several")
    add("--rack", "--cabinet", type=int, default=0, metavar="N", help="their rack (0)")
    add("--rank", type=int, metavar="N", help="one host's rank; default: one above the highest in the rack")
    add("--basename", metavar="NAME", help="first part of their names (the appliance)")
    add("--hostname", metavar="NAME", help="one host's name")
    add("--per-rack", type=int, metavar="N", help="go on in the next rack after so many")
    add("--network", metavar="NAME", help="where their addresses come from (private, or the only one)")
    add("--ipaddr", metavar="ADDRESS", help="one host's address")
    add("--baseip", metavar="ADDRESS", help="the first address to try (the top of the network)")
    add("--inc", type=int, default=-1, metavar="N", help="step from one address to the next (-1)")
    add("--pool", action="append", default=[], metavar="FIRST-LAST", help="addresses to leave alone; repeatable")
    add("--staticip", action="store_true", help="ask for every address")
    add = parser.add_argument_group("whom to take").add_argument
    add("--ordered", action="store_true", help="one after the other: each waits for the kickstart request before it")
    add("--record-only", action="store_true", help="register nobody; remember who asked (avalanche host why MAC)")
    add("--installers", action="store_true", help="only firmware, boot loaders and installers, by their vendor class")
    add("--count", type=int, metavar="N", help="take so many hosts")
    add("--replace", metavar="HOST", help="the next machine takes this host's place")
    add("--interface", action="append", default=[], metavar="NAME", help="watch here; repeatable (by the network)")
    source = (
        "observer, none, dnsmasq:LOG, dhcpd:LOG, kea:LOG or kea:LEASES, list:FILE (- is standard input); repeatable"
    )
    add("--source", action="append", default=[], metavar="SOURCE", help=source)
    add = parser.add_argument_group("their install orders").add_argument
    add("--no-order", action="store_true", help="register only")
    add("--expires", type=_duration, default="4h", metavar="TIME", help="life of an order, like 30m, 4h, 2d (4h)")
    add("--attempts", type=int, default=3, help="how often a host may boot into the installer (3)")
    add("--plane", choices=PLANES, default=PLANES[0], help="how packages travel (%(default)s)")
    add = parser.add_argument_group("how to run").add_argument
    add("--batch", action="store_true", help="no screen; plugins' restart runs once, at the end")
    add("--norestart", action="store_true", help="plugins' restart does not run")
    add("--until", choices=("registered", "kickstart", "done"), help="end when --count hosts, or a list's, are so far")
    add("--timeout", type=_duration, metavar="TIME", help="give up after this time (exit 1)")
    add("--remove", metavar="HOST", help="remove this host, tell the plugins, and end")
    add("--update", action="store_true", help="tell the plugins to write everything anew, and end")


def _run(arguments: argparse.Namespace) -> int:
    from avalanche.adapters.plugins import Plugins

    _check(arguments)
    state = state_of(arguments)
    config = state.config()
    plugins = Plugins(state.ethers_plugins, {"state": str(state.root)})
    with opened_database(arguments) as database:
        if arguments.update:
            return _update(arguments, plugins)
        if arguments.remove:
            return _remove(arguments, database, plugins)
        return _register(arguments, state, config, database, plugins)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what contradicts itself before anything is opened."""
    from avalanche.cli.ethers_choices import has_screen

    one = [name for name in ("hostname", "ipaddr", "rank", "replace") if getattr(arguments, name) is not None]
    if one and arguments.count not in (None, 1):
        raise ConfigError(f"--{one[0]} is for one host, --count {arguments.count} for several")
    if one:
        arguments.count = 1
    if arguments.ordered and arguments.record_only:
        raise ConfigError("--ordered registers hosts, --record-only does not: take one of them")
    if arguments.count is not None and arguments.count < 1:
        raise ConfigError("--count is at least 1")
    places = ("rank", "hostname", "ipaddr", "baseip", "basename")
    given = [name for name in places if getattr(arguments, name) is not None]
    if arguments.replace and given:
        raise ConfigError(f"--replace keeps the host's name, place and address: leave --{given[0]} out")
    if arguments.staticip and not has_screen(arguments) and arguments.ipaddr is None:
        raise ConfigError("--staticip asks for addresses, which takes a terminal; without one say --ipaddr ADDRESS")
    listed = any(source.startswith("list:") for source in arguments.source)
    if arguments.until and arguments.count is None and not listed:
        raise ConfigError("--until needs to know of how many: --count N, or a list (--source list:FILE)")


# --- the short ones ---


def _update(arguments: argparse.Namespace, plugins: Plugins) -> int:
    return _hooks(arguments, plugins, ["update", *([] if arguments.norestart else ["restart"])], None)


def _remove(arguments: argparse.Namespace, database: Database, plugins: Plugins) -> int:
    from avalanche.cli.ethers_telling import facts_of

    def work(transaction: Transaction) -> Host:
        host = transaction.cluster().host(arguments.remove)
        transaction.remove_host(host.name)
        return host

    host = database.run(work, writes=True)
    return _hooks(
        arguments, plugins, ["removed", *([] if arguments.norestart else ["restart"]), "done"], facts_of(host)
    )


def _hooks(arguments: argparse.Namespace, plugins: Plugins, events: Sequence[str], host: dict[str, str] | None) -> int:
    problems = []
    for event in events:
        told = host if event in ("added", "removed") else None
        calls = [call for call in plugins.call(event, told) if call.problem]
        problems += [f"plugin {call.plugin}, {event}: {call.problem}" for call in calls]
    plugins.close()
    facts = {"removed": host["host"]} if host else {"plugins": plugins.names()}
    print_facts(arguments, facts)
    if problems:
        raise ClusterError("; ".join(problems))
    return 0


# --- registration ---


def _register(arguments: argparse.Namespace, state: State, config: Config, database: Database, plugins: Plugins) -> int:
    import asyncio

    from avalanche.adapters.registrar import Registrar, Terms
    from avalanche.cli.ethers_choices import membership_of, network_of, wanted_of
    from avalanche.cli.ethers_sources import open_sources

    with database.snapshot() as transaction:
        cluster = transaction.cluster()
    membership = membership_of(arguments, cluster)
    network = network_of(arguments, cluster)
    wanted = wanted_of(arguments, config, membership, network)
    registrar = Registrar(
        database,
        wanted,
        network=network.name if network is not None else None,
        generation_of=None if arguments.no_order else _generations(state, config),
        terms=Terms(arguments.expires, arguments.attempts, arguments.plane),
        reserved=config.frontend.address,
        plugins=len(plugins.names()),
    )
    if arguments.replace:
        cluster.host(arguments.replace)
    if not arguments.record_only:
        _check_ready(registrar)
    with ExitStack() as stack:
        sources = open_sources(arguments.source, arguments.interface, network)
        stack.callback(sources.close)
        result = asyncio.run(_session(arguments, database, registrar, plugins, sources))
    if result.failed:
        more = f" (and {len(result.failed) - 1} more)" if len(result.failed) > 1 else ""
        raise ClusterError(f"{result.failed[0]}{more}")
    return 0


async def _session(
    arguments: argparse.Namespace, database: Database, registrar: Registrar, plugins: Plugins, sources: Sources
) -> Result:
    from avalanche.cli.ethers_choices import has_screen, policy_of
    from avalanche.cli.ethers_goal import Until
    from avalanche.cli.ethers_session import Session
    from avalanche.cli.ethers_views import JsonView, LineView, View
    from avalanche.ethers import Ethers

    def make(view: View) -> Session:
        stage = arguments.until or (None if has_screen(arguments) else "registered")
        return Session(
            ethers=Ethers(policy_of(arguments, sources.observers, registrar.wanted)),
            registrar=registrar,
            plugins=plugins,
            database=database,
            sources=sources,
            view=view,
            until=Until(stage, arguments.timeout),
            clock=time.time,
            replaces=arguments.replace,
            is_static=arguments.staticip and arguments.ipaddr is None,
            restarts=not arguments.norestart,
            is_batch=arguments.batch,
        )

    if not has_screen(arguments):
        return await make(JsonView() if arguments.json else LineView()).run()
    import asyncio

    from avalanche.cli.ethers_screen import Screen

    pressed: list[Session] = []
    # The screen is there before the session, so that what is said while it begins is shown.
    with Screen(
        lambda key: pressed[0].press(key),  # noqa: PLW0108 -- it is not there yet
        lambda: arguments.replace or registrar.peek(),
    ) as screen:
        pressed.append(make(screen))
        drawing = asyncio.create_task(screen.drawing(), name="screen")
        try:
            return await pressed[0].run()
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)


def _check_ready(registrar: Registrar) -> None:
    """See that the next host can be registered and installed, before anybody switches machines on."""
    from avalanche.adapters.database import DatabaseUnavailable
    from avalanche.errors import DuplicateHost

    try:
        registrar.check()
    except (DatabaseUnavailable, DuplicateHost):
        raise
    except ClusterError:
        raise
    except AvalancheError as error:
        raise ClusterError(f"{error}; mend it, or register without install orders: --no-order") from error


def _generations(state: State, config: Config) -> Generations:
    """What says from which generation a host would be installed, and that it can be."""
    from avalanche.adapters.distributions import Distributions
    from avalanche.cli.plan import intrinsic_of, make_planner

    distributions = Distributions(state.root)
    planner = make_planner(state, config, distributions)
    intrinsic = intrinsic_of(config)
    looked = -LOOK_SECONDS

    def generation_of(cluster: Cluster, host: Host) -> str:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            planner.look(cluster.rolls)
            looked = time.monotonic()
        attributes = cluster.attributes(host, intrinsic)
        compiled = planner.compiled(cluster, cluster.appliance(host.appliance).root, attributes)
        generation = distributions.current(attributes["distribution"])
        planner.closure(generation.id, compiled.profile)
        return generation.id

    return generation_of
