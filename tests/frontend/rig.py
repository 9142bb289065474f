"""A whole frontend for tests: a state directory made by the commands, small real RPMs, and a server on loopback."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from avalanche.adapters import orderbook
from avalanche.adapters.authority import Authority
from avalanche.adapters.database import Database
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.state import State
from avalanche.cli import main
from avalanche.cli.frontend import make_services
from avalanche.frontend.server import make_runner
from avalanche.frontend.services import Services, living
from avalanche.messages import ATTEMPT_HEADER, format_authorization
from avalanche.orders import Order, order_secret
from tests.adapters.conftest import COMPS, build_rpm

GRAPH = """<graph roll="test"><description>has_gpu: whether there is one.</description>
<edge from="compute" to="base"/>
<edge from="compute" to="gpu" cond="has_gpu"/>
</graph>
"""
NODES = {
    "compute": "<kickstart><package>alpha</package></kickstart>\n",
    "gpu": "<kickstart><package>gcc-c++</package></kickstart>\n",
    "base": """<kickstart>
<main>
<lang>&Kickstart_Lang;</lang>
</main>
<post>echo &hostname;</post>
</kickstart>
""",
}
TOKEN = "0123456789abcdef"


@dataclass(frozen=True)
class Result:
    """What a command did."""

    status: int
    out: str
    err: str


def run(*arguments: object) -> Result:
    """Run an avalanche command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = int(error.code or 0)
    out.seek(0)
    return Result(status, out.read(), err.getvalue())


def avalanche(*arguments: object) -> str:
    """Run an avalanche command that must succeed; returns what it printed."""
    result = run(*arguments)
    assert result.status == 0, result
    return result.out


def make_roll(folder: Path) -> Path:
    """Write a roll of three nodes."""
    (folder / "graphs" / "default").mkdir(parents=True)
    (folder / "nodes").mkdir()
    (folder / "graphs" / "default" / "test.xml").write_text(GRAPH)
    for name, text in NODES.items():
        (folder / "nodes" / f"{name}.xml").write_text(text)
    return folder


def make_packages(folder: Path) -> Path:
    """Build three RPMs: alpha needs beta (600 kB: three pieces), and gcc-c++."""
    build_rpm(folder, "alpha", tags="Requires: beta", files={"/usr/bin/alpha": b"#!/bin/sh\n"})
    build_rpm(
        folder, "beta", files={"/usr/share/beta": bytes(range(256)) * 2400}, tags="%define _binary_payload w0.ufdio"
    )
    build_rpm(folder, "gcc-c++")
    (folder / "comps.xml").write_bytes(COMPS)
    return folder


def make_template(folder: Path) -> Path:
    """Make what every test begins with: FOLDER/state, FOLDER/roll; one appliance, one distribution, no host."""
    packages = make_packages(folder / "rpms")
    roll = make_roll(folder / "roll")
    avalanche("init", "--state", folder / "state", "--address", "127.0.0.1", "--roll", roll)
    avalanche("dist", "import", "default", packages, "--allow-unsigned", "--state", folder / "state")
    return folder


def copy_template(template: Path, folder: Path) -> State:
    """Copy a template, so that a test may do what it likes with it."""
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)
    state = State(folder / "state")
    state.config_file.write_text(state.config_file.read_text().replace(str(template), str(folder)))
    return state


class Rig:
    """A running frontend and a client that trusts it."""

    def __init__(self, state: State, services: Services, session: aiohttp.ClientSession) -> None:
        self.state = state
        self.services = services
        self.session = session
        self.http, self.https = (services.config.frontend.urls(scheme)[0] for scheme in ("http", "https"))

    def cli(self, *arguments: object) -> str:
        """Run a command on this frontend's state."""
        return avalanche(*arguments, "--state", self.state.root)

    def add_host(self, name: str = "compute-0-0", *options: object) -> None:
        """Register a host; by default the one that speaks from this machine."""
        self.cli("host", "add", name, *(options or ("--mac", "52:54:00:00:00:01", "--ip", "127.0.0.1")))

    def order(self, host: str = "compute-0-0", *options: object) -> str:
        """Create an order; returns its id."""
        self.cli("order", "create", host, *options)
        return self.orders(host)[-1].id

    def order_hosts(self, count: int) -> list[str]:
        """Register compute-0-0, which speaks from this machine, and hosts beside it; order each and return the ids."""
        orders = []
        for number in range(count):
            card = ("--mac", f"52:54:00:00:01:{number:02x}", "--ip", f"10.1.1.{number}") if number else ()
            self.add_host(f"compute-0-{number}", *card)
            orders.append(self.order(f"compute-0-{number}"))
        return orders

    def orders(self, host: str = "compute-0-0") -> list[Order]:
        """A host's orders, as the database has them."""
        with self._database() as database, database.snapshot() as transaction:
            return orderbook.orders_of(transaction, host)

    async def timeline(self, host: str = "compute-0-0") -> list[TimelineEvent]:
        """A host's timeline, with everything the frontend took so far."""
        await self.services.timeline.store([])
        with self._database() as database, database.snapshot() as transaction:
            return orderbook.timeline(transaction, host)

    def headers(self, order: str, token: str = TOKEN) -> dict[str, str]:
        """What an agent sends under an order."""
        secret = order_secret(self.state.order_key(), order)
        return {"Authorization": format_authorization(order, secret), ATTEMPT_HEADER: token}

    async def get(self, url: str, **options: Any) -> tuple[int, str]:
        """GET; returns status and body."""
        async with self.session.get(url, **options) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, body: str | bytes, headers: dict[str, str]) -> tuple[int, str]:
        """POST over HTTPS; returns status and body."""
        async with self.session.post(self.https + path, data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    @contextlib.contextmanager
    def _database(self) -> Iterator[Database]:
        database = Database.open(self.state.database())
        try:
            yield database
        finally:
            database.close()


@asynccontextmanager
async def running(state: State, **frontend: Any) -> AsyncIterator[Rig]:
    """Serve a state directory on free ports of loopback; ``frontend`` overrides settings of that table."""
    authority = Authority.open(state.authority)
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
    http, https = (found.getsockname()[1] for found in sockets)
    config = state.config()
    frontend = {"http_port": http, "https_port": https, "stop_seconds": 1, **frontend}
    config = replace(config, frontend=replace(config.frontend, **frontend))
    services = make_services(state, config, authority)
    async with living(services):
        runner = make_runner(services)
        await runner.setup()
        try:
            for found, context in zip(sockets, (None, authority.server_context()), strict=True):
                await web.SockSite(runner, found, ssl_context=context, backlog=1024).start()
            trusted = ssl.create_default_context(cadata=authority.pem)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, limit=0)) as session:
                yield Rig(state, services, session)
        finally:
            await runner.cleanup()
