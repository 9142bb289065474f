"""``avalanche frontend``: serve installing hosts until a signal says stop."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns, add_command, site_templates, state_of
from avalanche.cli.tracker import TrackerRegistrar, embedded, make_registrar
from avalanche.errors import ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.authority import Authority
    from avalanche.adapters.state import State
    from avalanche.cluster import Cluster
    from avalanche.config import Config
    from avalanche.frontend.services import Services
    from avalanche.frontend.swarm import Registrar
    from avalanche.report import Template


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_command(nouns, "frontend", _run, "serve installing hosts until stopped (SIGTERM, SIGINT)", json=False)


def _run(arguments: argparse.Namespace) -> None:
    import asyncio

    from avalanche.adapters.authority import Authority
    from avalanche.frontend.server import serve
    from avalanche.log import facts, setup_logging

    state = state_of(arguments)
    config = state.config()
    setup_logging(config.log.level, config.log.format)
    if not config.frontend.address:
        raise ConfigError(f"{state.config_file}: frontend.address is missing: how do hosts reach this machine?")
    authority = Authority.open(state.authority)
    reason = authority.renew_server(config.frontend.address, time.time())
    if reason is not None:
        log = logging.getLogger(__name__)
        log.info("server certificate renewed", extra=facts(reason=reason, names=", ".join(config.frontend.address)))

    registrar = make_registrar(state, config)
    swarm_key = state.swarm_key()

    async def main() -> None:
        services = make_services(state, config, authority, registrar)
        await serve(services, authority.server_context(), beside=_beside(state, services, registrar, swarm_key))

    asyncio.run(main())


@asynccontextmanager
async def _beside(
    state: State, services: Services, registrar: TrackerRegistrar, swarm_key: bytes
) -> AsyncIterator[None]:
    """What runs as long as the frontend does: its tracker, and its DHCP server when it has one."""
    from avalanche.frontend.dhcp import serving_dhcp

    def templates(cluster: Cluster) -> dict[str, Template]:
        return site_templates(state, services.config, cluster)

    async def inventory() -> Cluster:
        return await services.storage.read(lambda _, cluster: cluster)

    async with (
        embedded(services, registrar, swarm_key),
        serving_dhcp(services.config.dhcp, inventory, templates),
    ):
        yield


def make_services(state: State, config: Config, authority: Authority, registrar: Registrar | None = None) -> Services:
    """Put a frontend's parts together from its state directory.

    Args:
        registrar: what tells the trackers; by default one that tells nobody.

    Raises:
        ConfigError: something ``avalanche init`` makes is missing or damaged.
    """
    from avalanche.adapters.bundle import build_bundle
    from avalanche.adapters.database import Database
    from avalanche.adapters.distributions import Distributions
    from avalanche.adapters.wheels import Wheels
    from avalanche.cli.plan import make_planner
    from avalanche.frontend.generations import Generations
    from avalanche.frontend.installations import Installations
    from avalanche.frontend.profiles import Profiles
    from avalanche.frontend.services import Services
    from avalanche.frontend.storage import Storage
    from avalanche.frontend.swarm import Swarm
    from avalanche.frontend.timeline import Timeline
    from avalanche.frontend.trackers import Trackers

    storage = Storage(Database(state.database(), author="frontend"))  # it may be away now
    distributions = Distributions(state.root)
    profiles = Profiles(make_planner(state, config, distributions))
    generations = Generations(distributions)
    timeline = Timeline(storage)
    swarm_key = state.swarm_key()
    trackers = Trackers(swarm_key, storage, timeline, time.time)
    swarm = Swarm(
        key=swarm_key,
        trackers=config.trackers,
        heard=trackers,
        registrar=registrar or TrackerRegistrar(),
        storage=storage,
        profiles=profiles,
        generations=generations,
        leaves=distributions.store.leaves,
    )
    return Services(
        config=config,
        storage=storage,
        timeline=timeline,
        profiles=profiles,
        installations=Installations(profiles, swarm),
        generations=generations,
        swarm=swarm,
        trackers=trackers,
        bundle=build_bundle(),
        wheels=Wheels(state.wheels),
        ca=authority.pem,
        order_key=state.order_key(),
    )
