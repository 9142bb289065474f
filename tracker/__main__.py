"""``python -m tracker --config FILE``: a tracker alone."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from avalanche.errors import AvalancheError, ConfigError
from avalanche.log import facts, setup_logging
from tracker.app import Tracker, log_report
from tracker.config import Config, load_config
from tracker.registry import FileRegistry
from tracker.reporter import Reporter
from tracker.server import Gate, serving

log = logging.getLogger("tracker")

REFRESH_SECONDS = 1.0
"""How often the registry file is looked at."""


async def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: the registry cannot be read, or the address is taken.
    """
    registry = FileRegistry(config.registry, on_error=lambda error: log.error("registry kept: %s", error))
    reporter = Reporter(config.frontend, config.swarm_key)
    tracker = Tracker(
        swarm_key=config.swarm_key,
        registry=registry,
        on_report=reporter.note if config.frontend else log_report,
        is_known_slow=lambda host: host in reporter.slow,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with serving(tracker, config.address, config.port, gate=Gate(config.connections)) as port:
            log.info("tracker ready", extra=facts(address=config.address, port=port, registry=config.registry))
            telling = asyncio.create_task(reporter.run(tracker.chains.peers)) if config.frontend else None
            try:
                while not stop.is_set():
                    if registry.refresh():
                        log.info("registry read again", extra=facts(registry=config.registry))
                    await _wait(stop, REFRESH_SECONDS)
            finally:
                if telling is not None:
                    telling.cancel()
    except OSError as error:
        raise ConfigError(f"cannot listen on {config.address}:{config.port}: {error.strerror}") from error
    log.info("tracker stopped")


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 after a regular end, 1 with a line on stderr when it cannot run."""
    parser = argparse.ArgumentParser(prog="tracker", description="The tracker of an Avalanche cluster.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="tracker.toml")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        setup_logging(config.level, config.style)
        asyncio.run(run(config))
    except AvalancheError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
