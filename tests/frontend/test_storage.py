"""The database behind the event loop: grouped commits, isolation of failures, changes by other processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from avalanche.adapters import orderbook, schema
from avalanche.adapters.database import Database, DatabaseFull, Transaction
from avalanche.adapters.engine import Where
from avalanche.cluster import Appliance, Cluster, Host, Setting
from avalanche.errors import ClusterError
from avalanche.frontend.storage import Storage
from avalanche.orders import Order


@pytest.fixture
async def storage(where: Where) -> AsyncIterator[Storage]:
    database = Database(where)
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
    found = Storage(database)
    yield found
    await found.close()


def add(name: str) -> object:
    return lambda transaction, _: transaction.add_host(Host(name, "compute", 0, 0))


async def names(storage: Storage) -> set[str]:
    return await storage.read(lambda _, cluster: set(cluster.hosts))


async def test_what_is_written_is_seen_by_the_next_read(storage: Storage) -> None:
    await storage.write(add("a"))  # type: ignore[arg-type]
    assert await names(storage) == {"a"}


async def test_a_change_by_another_process_is_seen_by_the_next_read(storage: Storage, where: Where) -> None:
    assert await names(storage) == set()
    other = Database(where)
    with other.transaction() as transaction:
        transaction.add_host(Host("b", "compute", 0, 0))
    other.close()
    assert await names(storage) == {"b"}


async def test_an_inventory_that_did_not_change_is_not_read_again(storage: Storage) -> None:
    first = await storage.read(lambda _, cluster: cluster)
    assert await storage.read(lambda _, cluster: cluster) is first


async def test_requests_that_wait_together_share_a_commit(storage: Storage) -> None:
    commits: set[int] = set()

    def work(transaction: Transaction, _: Cluster) -> None:
        commits.add(id(transaction))

    await asyncio.gather(*(storage.write(work) for _ in range(100)))
    assert len(commits) <= 2


async def test_a_refusal_undoes_only_its_own_work(storage: Storage) -> None:
    def refused(transaction: Transaction, _: Cluster) -> None:
        transaction.add_host(Host("bad", "compute", 0, 0))
        raise ClusterError("no")

    results = await asyncio.gather(
        storage.write(add("a")),  # type: ignore[arg-type]
        storage.write(refused),
        storage.write(add("b")),  # type: ignore[arg-type]
        return_exceptions=True,
    )
    assert [str(result) for result in results] == ["None", "no", "None"]
    assert await names(storage) == {"a", "b"}


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
async def test_a_failure_of_the_database_is_told_to_all_who_wait_and_passes(storage: Storage) -> None:
    def full(transaction: Transaction, _: Cluster) -> None:
        pages = transaction.connection.exec_driver_sql("PRAGMA page_count").scalar()
        transaction.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        transaction.set_attribute(Setting("global", "", "a", "x" * 60_000))

    results = await asyncio.gather(
        storage.write(add("a")),  # type: ignore[arg-type]
        storage.write(full),
        return_exceptions=True,
    )
    assert {type(result) for result in results} == {DatabaseFull}
    assert await names(storage) == set()
    await storage.read(lambda transaction, _: transaction.connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
    await storage.write(add("a"))  # type: ignore[arg-type]
    assert await names(storage) == {"a"}


async def test_a_client_that_goes_away_does_not_stop_the_others(storage: Storage) -> None:
    gone = asyncio.create_task(storage.write(add("a")))  # type: ignore[arg-type]
    kept = asyncio.create_task(storage.write(add("b")))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    gone.cancel()
    await kept
    assert "b" in await names(storage)


async def test_closing_waits_for_what_is_running(where: Where) -> None:
    database = Database(where)
    storage = Storage(database)
    write = asyncio.create_task(
        storage.write(lambda transaction, _: transaction.add_appliance(Appliance("login", "login")))
    )
    await asyncio.sleep(0)
    await storage.close()
    await write
    again = Database(where)
    with again.snapshot() as transaction:
        assert transaction.connection.execute(schema.appliances.select()).all() != []
    again.close()


async def test_an_order_that_another_process_changed_is_read_again(storage: Storage, where: Where) -> None:
    order = Order("a" * 16, "a", "g", "http", 0.0, 100.0, 3)
    await storage.write(add("a"))  # type: ignore[arg-type]
    assert (await storage.order(order.id))[1] is None
    other = Database(where)
    with other.transaction() as transaction:
        orderbook.add_order(transaction, order, 1.0)
    _, first = await storage.order(order.id)
    assert first == order
    assert (await storage.order(order.id))[1] is first
    with other.transaction() as transaction:
        orderbook.save_order(transaction, order, order.cancel(2.0))
    other.close()
    _, second = await storage.order(order.id)
    assert second is not None and second.closed == "cancelled"


async def test_what_a_failed_transaction_saw_is_forgotten(storage: Storage, where: Where) -> None:
    def fail(transaction: Transaction, _: Cluster) -> None:
        transaction.add_host(Host("undone", "compute", 0, 0))
        raise RuntimeError("the whole group fails")

    with pytest.raises(RuntimeError):
        await storage.write(fail)
    other = Database(where)
    with other.transaction() as transaction:
        transaction.add_host(Host("kept", "compute", 0, 1))
    other.close()
    assert await names(storage) == {"kept"}
