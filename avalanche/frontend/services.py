"""What handlers work with, and how long it lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from avalanche.adapters.bundle import Bundle
from avalanche.adapters.wheels import Wheels
from avalanche.config import Config
from avalanche.errors import AvalancheError
from avalanche.frontend.generations import Generations
from avalanche.frontend.installations import Installations
from avalanche.frontend.profiles import Profiles
from avalanche.frontend.storage import Storage
from avalanche.frontend.swarm import Swarm
from avalanche.frontend.timeline import Timeline
from avalanche.frontend.trackers import Trackers
from avalanche.log import facts

log = logging.getLogger(__name__)

ASK_SECONDS = 1.0


@dataclass(frozen=True)
class Services:
    """The parts of a running frontend.

    Attributes:
        ca: a PEM certificate.
        clock: seconds since 1970.
        strangers: when which MAC, that is no host's, was last noted for asking.
    """

    config: Config
    storage: Storage
    timeline: Timeline
    profiles: Profiles
    installations: Installations
    generations: Generations
    swarm: Swarm
    trackers: Trackers
    bundle: Bundle
    wheels: Wheels
    ca: str
    order_key: bytes = field(repr=False)
    clock: Callable[[], float] = time.time
    strangers: dict[str, float] = field(default_factory=dict, repr=False)


SERVICES = web.AppKey("services", Services)


@asynccontextmanager
async def living(services: Services) -> AsyncIterator[Services]:
    """Keep the services going; at the end, store what is waiting and close the database."""
    try:
        await services.storage.open()
    except BaseException:
        services.profiles.close()
        await services.storage.close()
        raise
    storing = asyncio.create_task(services.timeline.run(), name="timeline")
    # Before anybody is answered: hosts that were installing when an earlier frontend ended are known at once. Without
    # a database nobody gets an answer that this is needed for.
    knows = await _remember(services)
    running = [
        asyncio.create_task(_keep_refreshed(services, knows=knows), name="swarm"),
        asyncio.create_task(services.swarm.torrents.run(), name="torrents"),
    ]
    try:
        yield services
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        services.timeline.close()
        await storing
        services.profiles.close()
        await services.storage.close()


async def _remember(services: Services) -> bool:
    """Read what an earlier frontend knew; False: the database is away."""
    try:
        await services.swarm.refresh(services.clock())
        await services.trackers.load()
    except AvalancheError as error:
        log.warning("trackers not told what to answer for yet", extra=facts(reason=error))
        return False
    return True


async def _keep_refreshed(services: Services, *, knows: bool) -> None:
    """Go on until cancelled; a database that was away is asked until it is there."""
    while not knows:
        await asyncio.sleep(ASK_SECONDS)
        knows = await _remember(services)
    await services.swarm.run(services.clock)
