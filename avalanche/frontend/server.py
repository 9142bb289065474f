"""Running the frontend: its ports, its signals, and how it ends.

SIGTERM or SIGINT: no new connections, running answers may finish for ``stop_seconds``, events are flushed. A second
signal cuts the running answers short. Either way nothing that was answered is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import ssl
from contextlib import AbstractAsyncContextManager, suppress

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from avalanche.config import FrontendConfig
from avalanche.errors import ConfigError
from avalanche.frontend.app import make_app
from avalanche.frontend.services import Services, living
from avalanche.log import facts

log = logging.getLogger(__name__)

BACKLOG = 1024
IDLE_SECONDS = 30.0  # a connection without a whole request head is closed; also what ends a slow loris


async def serve(services: Services, tls: ssl.SSLContext, *, beside: AbstractAsyncContextManager[None]) -> None:
    """Serve until a signal says stop.

    Args:
        beside: what runs as long as the frontend does: its tracker.

    Raises:
        ConfigError: a port cannot be bound.
    """
    _raise_file_limit()
    config = services.config.frontend
    stop = _Stop()
    runner = make_runner(services)
    async with living(services), beside:
        await runner.setup()
        try:
            await _listen(runner, config, tls)
            urls = facts(http=" ".join(config.urls("http")), https=" ".join(config.urls("https")), pid=os.getpid())
            log.info("frontend ready", extra=urls)
            await stop.asked.wait()
            log.info("frontend stopping", extra=facts(seconds=config.stop_seconds))
        finally:
            await _clean(runner, stop)
    stop.ignore_more()
    log.info("frontend stopped")


def make_runner(services: Services) -> web.AppRunner:
    """Wrap the application with the limits it runs under."""
    return web.AppRunner(
        make_app(services),
        logger=_protocol_log(),
        access_log=None,  # handlers log what finished, with the facts an operator asks for
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=services.config.frontend.stop_seconds,
    )


async def _listen(runner: web.AppRunner, config: FrontendConfig, tls: ssl.SSLContext) -> None:
    for address in config.listen:
        for port, context in ((config.http_port, None), (config.https_port, tls)):
            site = web.TCPSite(runner, address, port, ssl_context=context, backlog=BACKLOG, reuse_address=True)
            try:
                await site.start()
            except OSError as error:
                raise ConfigError(_cannot_listen(address, port, error)) from error


def _cannot_listen(address: str, port: int, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = "set frontend.listen, http_port and https_port in avalanche.toml"
    if isinstance(error, PermissionError):
        remedy = "ports below 1024 need root or CAP_NET_BIND_SERVICE; or " + remedy
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"cannot listen on {where}: {reason}; {remedy}"


async def _clean(runner: web.AppRunner, stop: _Stop) -> None:
    """Close the ports and wait for running answers; a second signal ends the wait."""
    cleaning = asyncio.create_task(runner.cleanup())
    hurry = asyncio.create_task(stop.hurried.wait())
    await asyncio.wait((cleaning, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (cleaning, hurry):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _protocol_log() -> logging.Logger:
    """The logger of the HTTP protocol: what a client broke is one line, or none when a handler told it already."""
    logger = logging.getLogger("avalanche.frontend.http")
    if not logger.filters:
        logger.addFilter(_clients_fault)
    return logger


def _clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConnectionError):
        return False
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        client = record.args[0] if isinstance(record.args, tuple) and record.args else None
        record.msg, record.args = "malformed request", None
        record.__dict__.update(facts(client=client, reason=" ".join(error.message.split())[:200]))
    return True


class _Stop:
    """The signals with which an operator says stop, and stop now."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            self._loop.add_signal_handler(number, self._signalled)

    def ignore_more(self) -> None:
        """Everything is stored and closed: a late signal must not turn a clean end into a killed one."""
        for number in self.SIGNALS:
            self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _signalled(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()


def _raise_file_limit() -> None:
    # Every stream is a socket and a file; the soft limit of most systems is 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
