"""What handlers work with, and how long it lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from avalanche.adapters.bundle import Bundle
from avalanche.adapters.wheels import Wheels
from avalanche.config import Config
from avalanche.frontend.generations import Generations
from avalanche.frontend.installations import Installations
from avalanche.frontend.profiles import Profiles
from avalanche.frontend.storage import Storage
from avalanche.frontend.swarm import Swarm
from avalanche.frontend.timeline import Timeline
from avalanche.frontend.trackers import Trackers


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
    storing = asyncio.create_task(services.timeline.run(), name="timeline")
    # Before anybody is answered: hosts that were installing when an earlier frontend ended are known at once.
    await services.swarm.refresh(services.clock())
    await services.trackers.load()
    running = [
        asyncio.create_task(services.swarm.run(services.clock), name="swarm"),
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
