"""``avalanche tracker``: run a tracker by itself; and what ties the frontend to trackers, inside it or elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns
from avalanche.errors import ConfigError
from tracker.registry import MemoryRegistry, Registered, write_registry

if TYPE_CHECKING:
    from avalanche.adapters.state import State
    from avalanche.config import Config
    from avalanche.frontend.services import Services
    from avalanche.manifest import Manifest
    from avalanche.news import Holder
    from tracker.app import Tracker


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    help = "run a tracker by itself until stopped (SIGTERM, SIGINT)"
    parser = nouns.add_parser("tracker", help=help, description=help)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="tracker.toml")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    import asyncio

    from avalanche.log import setup_logging
    from tracker.__main__ import run
    from tracker.config import load_config

    config = load_config(arguments.config)
    setup_logging(config.level, config.style)
    asyncio.run(run(config))


class TrackerRegistrar:
    """Keeps the registry of the tracker inside the frontend, and the file for trackers elsewhere when there is one."""

    def __init__(self, file: Path | None = None) -> None:
        self.registry = MemoryRegistry()
        self.tracker: Tracker | None = None
        """The one inside this frontend, while it runs."""
        self._file = file
        self._known: dict[str, Registered] = {}

    def __repr__(self) -> str:
        return f"<TrackerRegistrar {len(self._known)} generations>"

    def register(self, generation: Manifest, closure: Manifest) -> None:
        """Answer for all objects of a generation, and know what a host with this closure wants."""
        known = self._known.get(generation.generation)
        if known is not None and closure.digest in known.closures:
            return
        objects = known.objects if known else {entry.sha256: entry.size for entry in generation.entries}
        wanted = frozenset(entry.sha256 for entry in closure.entries)
        closures = {**(known.closures if known else {}), closure.digest: wanted}
        self._put(Registered(generation.generation, objects, closures, known.info_hashes if known else frozenset()))

    def add_torrent(self, generation: str, info_hash: bytes) -> None:
        """Answer announces for a torrent of a registered generation too."""
        known = self._known[generation]
        if info_hash not in known.info_hashes:
            self._put(replace(known, info_hashes=known.info_hashes | {info_hash}))

    def _put(self, registered: Registered) -> None:
        self._known[registered.generation] = registered
        self.registry.add(registered)
        self._write()

    def retain(self, generations: Collection[str]) -> None:
        """Answer for no other generations than these."""
        gone = self._known.keys() - set(generations)
        for generation in gone:
            del self._known[generation]
            self.registry.remove(generation)
        if gone or (self._file is not None and not self._file.exists()):
            self._write()

    def holders(self) -> list[Holder]:
        """The hosts that install now, and so have the agent bundle."""
        from avalanche.news import Holder

        if self.tracker is None:
            return []
        return [Holder(peer.order, peer.generation, peer.address, peer.port) for peer in self.tracker.chains.peers()]

    def _write(self) -> None:
        if self._file is None:
            return
        from avalanche.adapters.files import write_whole

        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._file, write_registry(self._known.values()))
        except OSError as error:
            raise ConfigError(f"{self._file}: the trackers' registry cannot be written: {error.strerror}") from error


def make_registrar(state: State, config: Config) -> TrackerRegistrar:
    """What a frontend tells its trackers through."""
    return TrackerRegistrar(state.root / config.tracker.registry if config.tracker.urls else None)


@asynccontextmanager
async def embedded(services: Services, registrar: TrackerRegistrar, swarm_key: bytes) -> AsyncIterator[None]:
    """Run the tracker inside the frontend, unless trackers run elsewhere. What it reports goes into timelines.

    Raises:
        ConfigError: its port cannot be bound.
    """
    from contextlib import AsyncExitStack

    from tracker.app import Tracker, log_report
    from tracker.reporter import wire_form
    from tracker.server import Gate, serving
    from tracker.standing import Report

    config = services.config
    if config.tracker.urls:
        yield
        return

    def note(report: Report) -> None:
        log_report(report)
        services.trackers.note(wire_form(report))

    slow = services.trackers.slow
    tracker = registrar.tracker = Tracker(
        swarm_key=swarm_key, registry=registrar.registry, on_report=note, is_known_slow=slow.__contains__
    )
    gate = Gate(10_000)
    async with AsyncExitStack() as stack:
        for address in config.frontend.listen:
            try:
                await stack.enter_async_context(serving(tracker, address, config.tracker.port, gate=gate))
            except OSError as error:
                where = f"{address}:{config.tracker.port}"
                remedy = "set tracker.port in avalanche.toml"
                raise ConfigError(f"cannot listen on {where}: {error.strerror}; {remedy}") from error
        yield
