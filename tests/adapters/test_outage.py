"""MariaDB away, killed, refusing, full: one line each, nothing lost, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseBusy, DatabaseUnavailable, Transaction
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Appliance, Host, Setting
from avalanche.frontend import timeline as timeline_module
from avalanche.frontend.storage import Storage
from avalanche.frontend.timeline import Timeline
from lab.mariadb import MariaDB


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """A server that these tests may kill."""
    found = MariaDB()
    yield found
    found.close()


@pytest.fixture
def remote(server: MariaDB) -> Iterator[Database]:
    url = server.borrow_database()
    found = Database(url)
    with found.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
        transaction.add_host(Host("compute-0-0", "compute", 0, 0))
    yield found
    found.close()
    server.give_back(url)


def hosts(database: Database) -> set[str]:
    with database.snapshot() as transaction:
        return set(transaction.hosts())


def add(database: Database, rank: int) -> None:
    with database.transaction() as transaction:
        transaction.add_host(Host(f"compute-0-{rank}", "compute", 0, rank))


def test_a_server_that_was_killed_is_told_in_one_line_and_found_again(server: MariaDB, remote: Database) -> None:
    add(remote, 1)
    server.stop(signal.SIGKILL)
    try:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match=r"Can't connect .* is the server running\?") as away:
                add(remote, 2)
            assert "\n" not in str(away.value)
            assert "se cret" not in str(away.value)
    finally:
        server.start()
    add(remote, 3)
    assert hosts(remote) == {"compute-0-0", "compute-0-1", "compute-0-3"}


def test_a_server_killed_inside_a_transaction_leaves_nothing_half_done(server: MariaDB, remote: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"try again|running"), remote.transaction() as transaction:
        transaction.add_host(Host("compute-0-5", "compute", 0, 5))
        server.stop(signal.SIGKILL)
        server.start()
        transaction.add_host(Host("compute-0-6", "compute", 0, 6))
    assert hosts(remote) == {"compute-0-0"}


async def test_requests_are_told_to_come_back_and_events_wait_while_the_server_is_away(
    server: MariaDB, remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline_module, "RETRY_SECONDS", 0.05)
    storage = Storage(Database(remote.where))
    timeline = Timeline(storage)
    running = asyncio.create_task(timeline.run())

    def event(text: str) -> TimelineEvent:
        return TimelineEvent("compute-0-0", 1.0, "stub", "ok", text)

    timeline.note(event("before"))
    await timeline.store([])
    server.stop(signal.SIGKILL)
    try:
        for number in range(20):
            timeline.note(event(f"while away {number}"))
        for result in await asyncio.gather(
            *(storage.read(lambda _, cluster: cluster) for _ in range(5)), return_exceptions=True
        ):
            assert isinstance(result, DatabaseUnavailable)
        with pytest.raises(DatabaseUnavailable):
            await timeline.store([event("a host's own, which it will send again")])
    finally:
        # AVALANCHE_OUTAGE=30: as long as an administrator needs to restart a machine's service.
        await asyncio.sleep(float(os.environ.get("AVALANCHE_OUTAGE", "0")))
        server.start()  # from this thread: the server ends with the one that started it
    async with asyncio.timeout(60):
        while True:
            try:
                await timeline.store([event("after")])
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.01)
    stored = await storage.read(lambda transaction, _: orderbook.timeline(transaction, "compute-0-0"))
    assert [found.text for found in stored] == ["before", *(f"while away {number}" for number in range(20)), "after"]
    timeline.close()
    await running
    await storage.close()


def test_a_connection_that_the_server_dropped_is_replaced(server: MariaDB, remote: Database) -> None:
    add(remote, 1)
    server.stop(signal.SIGTERM)
    server.start()
    add(remote, 2)
    assert len(hosts(remote)) == 3


def test_a_server_that_refuses_us_says_what_to_look_at(server: MariaDB, remote: Database) -> None:
    assert not isinstance(remote.where, os.PathLike)
    for url, why in (
        (remote.where.set(password="wrong"), "Access denied .* the user or password of database.url is wrong"),
        (remote.where.set(database="mysql"), "Access denied .* grant the user of database.url this database"),
        (remote.where.set(port=1), r"Can't connect .* is the server running\?"),
    ):
        with pytest.raises(DatabaseUnavailable, match=why) as refused:
            Database.open(url)
        assert "wrong'" not in str(refused.value).replace("is wrong", "")
        assert "\n" not in str(refused.value)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avalanche.adapters.engine.ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = MariaDB.address("nix", silent.getsockname()[1])
        with pytest.raises(DatabaseUnavailable):
            Database.open(url)


def test_a_writer_that_waits_too_long_is_busy_and_work_is_tried_again(
    remote: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avalanche.adapters.engine.BUSY_SECONDS", 1)
    waiting = Database(remote.where)
    with remote.transaction() as holder:
        with pytest.raises(DatabaseBusy, match="another program is writing; try again"):
            add(waiting, 1)
        holder.add_host(Host("compute-0-9", "compute", 0, 9))
        tried = threading.Event()
        done: list[object] = []

        def work() -> None:
            tried.set()
            done.append(waiting.run(lambda transaction: transaction.add_host(Host("x", "compute", 0, 7)), writes=True))

        thread = threading.Thread(target=work)
        thread.start()
        tried.wait()
    thread.join()
    waiting.close()
    assert done == [None]
    assert hosts(remote) == {"compute-0-0", "compute-0-9", "x"}


class _Unordered(Database):
    """As a program does that does not begin with the row of revisions."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._connected(writes=True) as connection:
            yield Transaction(connection, author="x", now=0.0)


def test_a_deadlock_is_tried_again(remote: Database) -> None:
    """Two programs that take the same rows in another order: MariaDB ends one of them; it runs again."""
    met = threading.Barrier(2)
    tries = {"ab": 0, "ba": 0}

    def work(order: str) -> None:
        def take(transaction: Transaction) -> None:
            tries[order] += 1
            connection = transaction.connection
            for place, name in enumerate(order):
                only = f"scope = 'global' AND owner = '' AND name = '{name}'"
                connection.exec_driver_sql(f"UPDATE av_attributes SET value = '{order}' WHERE {only}")
                if place == 0 and tries[order] == 1:
                    met.wait(30)

        other = _Unordered(remote.where)
        other.run(take, writes=True)
        other.close()

    with remote.transaction() as transaction:
        transaction.set_attributes([Setting("global", "", "a", "0"), Setting("global", "", "b", "0")])
    threads = [threading.Thread(target=work, args=(order,)) for order in tries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tries.values()) == [1, 2]
    with remote.snapshot() as transaction:
        assert len({setting.value for setting in transaction.settings()}) == 1


def test_a_value_that_does_not_fit_is_refused_not_cut(remote: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="Data too long"), remote.transaction() as transaction:
        transaction.record("x" * 65, ["y"])
