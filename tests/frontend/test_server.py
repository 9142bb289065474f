"""The frontend as a process: ports, signals, and what survives a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.authority import Authority
from avalanche.adapters.database import Database
from avalanche.adapters.distributions import Distributions
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.state import State
from avalanche.frontend import install, server
from avalanche.messages import ATTEMPT_HEADER, Done, Event, EventBatch, format_authorization
from avalanche.orders import Order, order_secret
from tests.adapters.conftest import build_rpm
from tests.frontend.rig import TOKEN, avalanche, running


class Process:
    """``avalanche frontend`` as a process of its own."""

    def __init__(self, state: State, child: asyncio.subprocess.Process) -> None:
        self.state = state
        self.child = child
        config = state.config().frontend
        self.http, self.https = config.urls("http")[0], config.urls("https")[0]

    async def ends(self, number: int | None = None) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        if number is not None:
            self.child.send_signal(number)
        async with asyncio.timeout(20):
            return await self.child.wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        trusted = ssl.create_default_context(cadata=Authority.open(self.state.authority).pem)
        connector = aiohttp.TCPConnector(ssl=trusted)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session

    def headers(self, order: str) -> dict[str, str]:
        secret = order_secret(self.state.order_key(), order)
        return {"Authorization": format_authorization(order, secret), ATTEMPT_HEADER: TOKEN}


@asynccontextmanager
async def started(state: State) -> AsyncIterator[Process]:
    """Start a frontend and wait until it says that it is ready."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "avalanche", "frontend", "--state", state.root, stderr=asyncio.subprocess.PIPE
    )
    assert child.stderr is not None
    async with asyncio.timeout(60):
        while "frontend ready" not in (line := await child.stderr.readline()).decode():
            assert line, "the frontend ended before it was ready"
    reading = asyncio.create_task(child.stderr.read())
    try:
        yield Process(state, child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await reading


@pytest.fixture
def ported(state: State) -> State:
    """A state directory whose ports are free ones, with a host and an order."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    http, https, tracker = (found.getsockname()[1] for found in sockets)
    for found in sockets:
        found.close()
    settings = (
        f'[tracker]\nport = {tracker}\n\n[frontend]\nlisten = "127.0.0.1"\nhttp_port = {http}\nhttps_port = {https}\n'
    )
    state.config_file.write_text(state.config_file.read_text().replace("[frontend]\n", settings))
    avalanche("host", "add", "compute-0-0", "--ip", "127.0.0.1", "--state", state.root)
    avalanche("order", "create", "compute-0-0", "--state", state.root)
    return state


def stored(state: State) -> tuple[Order, list[TimelineEvent]]:
    database = Database.open(state.database_file)
    with database.snapshot() as transaction:
        found = orderbook.orders_of(transaction, "compute-0-0")[0], orderbook.timeline(transaction, "compute-0-0")
    database.close()
    return found


def large(state: State) -> tuple[str, int]:
    """Import an object that no socket buffer holds; returns its address and size."""
    tags = "%define _binary_payload w0.ufdio"
    build_rpm(state.root.parent / "large", "large", tags=tags, files={"/usr/share/large": os.urandom(12 << 20)})
    avalanche("dist", "import", "large", state.root.parent / "large", "--allow-unsigned", "--state", state.root)
    generation = Distributions(state.root).current("large")
    entry = max(generation.manifest.entries, key=lambda entry: entry.size)
    return f"/install/packages/{generation.id}/{entry.path}", entry.size


async def until_refused(address: str) -> None:
    """Wait until nothing listens at an address any more."""
    target = urlsplit(address)
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.02)
    raise AssertionError(f"{address} still accepts connections")


async def reading(frontend: Process, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin to fetch an object and take no more than the head and what little a buffer holds."""
    target = urlsplit(frontend.http)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((target.hostname, target.port))
    reader, writer = await asyncio.open_connection(sock=slow, limit=4096)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_an_idle_frontend_with_status_0(ported: State, number: int) -> None:
    async with started(ported) as frontend:
        async with frontend.client() as client, client.get(frontend.http + "/install/stub") as answer:
            assert answer.status == 200
        assert await frontend.ends(number) == 0
    assert [event.stage for event in stored(ported)[1]] == ["stub"]


async def test_a_running_answer_is_finished_before_the_end(ported: State) -> None:
    path, size = large(ported)
    async with started(ported) as frontend:
        reader, writer = await reading(frontend, path)
        frontend.child.send_signal(signal.SIGTERM)
        await until_refused(frontend.http)
        assert len(await reader.readexactly(size)) == size
        assert await frontend.ends() == 0
        writer.close()


async def test_a_second_signal_does_not_wait_for_a_client_that_takes_nothing(ported: State) -> None:
    path, _ = large(ported)
    async with started(ported) as frontend:
        _, writer = await reading(frontend, path)
        frontend.child.send_signal(signal.SIGTERM)
        await until_refused(frontend.http)
        assert frontend.child.returncode is None
        assert await frontend.ends(signal.SIGTERM) == 0
        writer.close()


async def test_a_client_that_takes_nothing_delays_the_end_by_a_bounded_time(ported: State) -> None:
    settings = ported.config_file.read_text().replace("[frontend]\n", "[frontend]\nstop_seconds = 1\n")
    ported.config_file.write_text(settings)
    path, _ = large(ported)
    async with started(ported) as frontend:
        _, writer = await reading(frontend, path)
        assert await frontend.ends(signal.SIGTERM) == 0
        writer.close()


async def test_what_was_answered_survives_a_kill(ported: State) -> None:
    order = stored(ported)[0].id
    batch = EventBatch(TOKEN, (Event(1, 1.0, "packages", "progress", "half"),)).to_json()
    async with started(ported) as frontend, frontend.client() as client:
        headers = frontend.headers(order)
        async with client.get(frontend.https + "/install/profile", headers=headers) as answer:
            before = await answer.read()
            assert answer.status == 200
        async with client.post(frontend.https + "/install/events", data=batch, headers=headers) as answer:
            assert answer.status == 204
        await frontend.ends(signal.SIGKILL)
    found, events = stored(ported)
    assert [attempt.token for attempt in found.attempts] == [TOKEN]
    assert "half" in [event.text for event in events]
    # The host goes on where it was: same attempt, same bytes, and its end counts.
    async with started(ported) as frontend, frontend.client() as client:
        headers = frontend.headers(order)
        async with client.get(frontend.https + "/install/profile", headers=headers) as answer:
            assert await answer.read() == before
        done = Done(TOKEN, "ok").to_json()
        async with client.post(frontend.https + "/install/done", data=done, headers=headers) as answer:
            assert answer.status == 204
        await frontend.ends(signal.SIGKILL)
    assert stored(ported)[0].closed == "done"


async def test_a_port_that_is_taken_is_one_line(ported: State) -> None:
    with socket.create_server(("127.0.0.1", ported.config().frontend.https_port)):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "avalanche", "frontend", "--state", ported.root, stderr=asyncio.subprocess.PIPE
        )
        _, told = await child.communicate()
    last = told.decode().splitlines()[-1]
    assert child.returncode == 1
    assert last.startswith("cannot listen on 127.0.0.1:")
    assert "Address already in use; set frontend.listen, http_port and https_port in avalanche.toml" in last


async def test_a_frontend_without_a_state_directory_says_how_to_make_one(state: State) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "avalanche", "frontend", "--state", "/nonexistent", stderr=asyncio.subprocess.PIPE
    )
    _, told = await child.communicate()
    assert (child.returncode, told.decode().count("\n")) == (1, 1)
    assert "avalanche init --address ADDRESS" in told.decode()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /install/events HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_400_and_one_log_line(
    state: State, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    async with running(state) as rig:
        target = urlsplit(rig.http)
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        writer.write(request_)
        assert b" 400 " in await reader.readline()
        await reader.read()
        writer.close()
        await writer.wait_closed()
    (record,) = [record for record in caplog.records if record.name == "avalanche.frontend.http"]
    assert (record.levelname, record.getMessage(), record.exc_info) == ("WARNING", "malformed request", None)
    assert record.facts["client"] == "127.0.0.1"  # type: ignore[attr-defined]


async def test_a_client_that_hangs_up_in_mid_answer_is_no_failure_of_ours(
    ported: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path, _ = large(ported)
    async with running(ported) as rig:
        target = urlsplit(rig.http)
        hasty = socket.socket()
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        hasty.connect((target.hostname, target.port))
        reader, writer = await asyncio.open_connection(sock=hasty)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(100)
        writer.transport.abort()
        for _ in range(500):
            if "package broken off" in caplog.text:
                break
            await asyncio.sleep(0.01)
        # The next one is served as if nothing had been.
        assert (await rig.get(rig.http + "/"))[0] == 200
    assert "package broken off" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_slow_loris_is_cut_off(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.5)
    async with running(state) as rig:
        target = urlsplit(rig.http)
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        async with asyncio.timeout(10):
            for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"z" * 1000:
                writer.write(bytes([byte]))
                if reader.at_eof():
                    break
                await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_body_that_never_comes_is_refused(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BODY_SECONDS", 0.2)
    async with running(state) as rig:
        rig.add_host()
        headers = rig.headers(rig.order()) | {"Content-Length": "100"}

        async def endless() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(30)

        status, text = await rig.post("/install/events", endless(), headers)  # type: ignore[arg-type]
        assert status == 400
        assert "did not arrive" in text


async def test_a_renewed_certificate_is_served_after_a_restart(ported: State) -> None:
    (ported.authority / "server.pem").unlink()
    async with started(ported) as frontend, frontend.client() as client, client.get(frontend.https + "/") as answer:
        assert answer.status == 200
