"""A frontend whose MariaDB goes away, or is not there yet: 503 and Retry-After, packages go on, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.authority import Authority
from avalanche.adapters.database import Database
from avalanche.adapters.state import State
from avalanche.cli.frontend import make_services
from avalanche.cli.tracker import TrackerRegistrar
from avalanche.errors import ConfigError
from avalanche.frontend.services import living
from avalanche.messages import Done, Event, EventBatch
from avalanche.orders import Order
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import TOKEN, Rig, avalanche, copy_template, running

OUTAGE = float(os.environ.get("AVALANCHE_OUTAGE", "0"))
"""Seconds. 30: as long as an administrator needs to restart a machine's service."""


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """A server that these tests may kill."""
    found = MariaDB()
    yield found
    found.close()


@pytest.fixture
def remote(server: MariaDB, template: Path, tmp_path: Path) -> Iterator[State]:
    """A state directory whose database is on that server."""
    state = copy_template(template, tmp_path)
    url = server.borrow_database()
    plain = f"mysql+pymysql://{USER}@127.0.0.1:{server.port}/{url.database}"
    state.config_file.write_text(state.config_file.read_text().replace('url = ""', f'url = "{plain}"'))
    state.database_password_file.write_text(f"{PASSWORD}\n")
    state.database_file.unlink()
    avalanche("init", "--state", state.root)
    yield state
    server.give_back(url)


def events(first: int) -> bytes:
    found = tuple(Event(number, 1.0, "packages", "progress", f"event {number}") for number in range(first, first + 3))
    return EventBatch(TOKEN, found).to_json().encode()


async def answer(rig: Rig, method: str, url: str, **options: Any) -> tuple[int, str, str | None]:
    async with rig.session.request(method, url, **options) as found:
        return found.status, await found.text(), found.headers.get("Retry-After")


async def until(rig: Rig, status: int, method: str, url: str, **options: Any) -> None:
    """Ask as hosts do, until the answer is there."""
    async with asyncio.timeout(60):
        while (found := await answer(rig, method, url, **options))[0] != status:
            assert found[0] == 503, found
            await asyncio.sleep(0.05)


async def test_an_outage_in_the_middle_of_everything_loses_nothing(server: MariaDB, remote: State) -> None:
    async with running(remote) as rig:
        rig.add_host()
        rig.order()
        order = (await asked_order(rig)).id
        told = {"headers": rig.headers(order)}
        assert (await rig.get(rig.https + "/install/profile", **told))[0] == 200
        assert (await rig.post("/install/events", events(1), rig.headers(order)))[0] == 204
        package = f"{rig.http}/install/packages/{(await asked_order(rig)).generation}/repodata/repomd.xml"
        done = Done(TOKEN, "ok").to_json().encode()
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        try:
            needs = [
                ("GET", rig.http + "/install/stub", {}),
                ("GET", rig.http + "/boot/ipxe", {}),
                ("GET", rig.https + "/install/profile", told),
                ("POST", rig.https + "/install/events", {**told, "data": events(4)}),
                ("POST", rig.https + "/install/done", {**told, "data": done}),
            ]
            for method, url, options in needs:
                status, text, retry = await answer(rig, method, url, **options)
                assert (status, text.count("\n")) == (503, 1), (url, text)
                assert retry is not None and 1 <= int(retry) <= 4
                assert "Packages are served on" in text
            assert (await rig.get(package))[0] == 200
            bundle = f"{rig.http}/install/bundle/{rig.services.bundle.sha256}"
            async with rig.session.get(bundle) as found:
                assert found.status == 200
            with suppress(TimeoutError):
                async with asyncio.timeout(OUTAGE):
                    while OUTAGE:  # hosts go on asking
                        assert (await answer(rig, "GET", rig.http + "/install/stub"))[0] == 503
                        assert (await rig.get(package))[0] == 200
                        await asyncio.sleep(0.2)
        finally:
            server.start()  # from this thread: the server ends with the one that started it
        await until(rig, 204, "POST", rig.https + "/install/events", **told, data=events(4))
        assert (await rig.post("/install/events", events(4), rig.headers(order)))[0] == 204  # an answer got lost
        await until(rig, 200, "GET", rig.http + "/install/stub")
        await until(rig, 204, "POST", rig.https + "/install/done", **told, data=done)
        found = await rig.timeline()
        assert [one.seq for one in found if one.seq is not None] == [1, 2, 3, 4, 5, 6]
        assert [one.stage for one in found][-1] == "done"
        assert (await asked_order(rig)).closed == "done"


async def test_a_frontend_starts_without_its_database_and_finds_it(
    server: MariaDB, remote: State, caplog: pytest.LogCaptureFixture
) -> None:
    avalanche("host", "add", "compute-0-0", "--ip", "127.0.0.1", "--state", remote.root)
    (made,) = json.loads(avalanche("order", "create", "compute-0-0", "--state", remote.root, "--json"))
    package = f"/install/packages/{made['generation']}/repodata/repomd.xml"
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    is_away = True
    try:
        async with running(remote) as rig:
            status, text, retry = await answer(rig, "GET", rig.http + "/install/stub")
            assert (status, retry is not None) == (503, True)
            assert "is the server running?" in text
            assert (await rig.get(rig.http + package))[0] == 200
            assert [record.message for record in caplog.records].count("database away") == 1
            server.start()
            is_away = False
            await until(rig, 200, "GET", rig.http + "/install/stub")
            registrar = rig.services.swarm._registrar
            assert isinstance(registrar, TrackerRegistrar)
            async with asyncio.timeout(30):  # what earlier frontends knew is read by itself
                while registrar.registry.find(made["generation"]) is None:  # noqa: ASYNC110 -- nobody would set an event
                    await asyncio.sleep(0.05)
    finally:
        if is_away:
            server.start()


async def test_a_database_of_another_version_ends_the_start_when_it_is_there(remote: State) -> None:
    database = Database(remote.database())
    with database.transaction() as transaction:
        transaction.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    services = make_services(remote, remote.config(), Authority.open(remote.authority))
    with pytest.raises(ConfigError, match="is of version 9999"):
        async with living(services):
            pass


async def asked_order(rig: Rig) -> Order:
    (found,) = await asyncio.to_thread(rig.orders)
    return found
