"""Events on their way: in order, late by a bounded time, kept while the database cannot be written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseUnavailable
from avalanche.adapters.engine import Where
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Appliance, Host
from avalanche.frontend import timeline as module
from avalanche.frontend.storage import Storage
from avalanche.frontend.timeline import Timeline


def event(text: str) -> TimelineEvent:
    return TimelineEvent("compute-0-0", 1.0, "stub", "ok", text)


@pytest.fixture
async def storage(where: Where) -> AsyncIterator[Storage]:
    database = Database(where)
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
        transaction.add_host(Host("compute-0-0", "compute", 0, 0))
    found = Storage(database)
    yield found
    await found.close()


@pytest.fixture
async def timeline(storage: Storage) -> AsyncIterator[Timeline]:
    found = Timeline(storage)
    running = asyncio.create_task(found.run())
    yield found
    found.close()
    await running


async def texts(storage: Storage) -> list[str]:
    stored = await storage.read(lambda transaction, _: orderbook.timeline(transaction, "compute-0-0"))
    return [found.text.rstrip("x").rstrip() for found in stored]


async def limit_pages(storage: Storage, pages: str) -> None:
    await storage.read(
        lambda transaction, _: transaction.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    )


async def test_events_are_stored_in_the_order_in_which_they_came(storage: Storage, timeline: Timeline) -> None:
    timeline.note(event("1"))
    posted = asyncio.create_task(timeline.store([event("2"), event("3")]))
    await asyncio.sleep(0)
    timeline.note(event("4"))
    await posted
    assert await texts(storage) == ["1", "2", "3", "4"]


async def test_an_event_nobody_waits_for_is_stored_soon(storage: Storage, timeline: Timeline) -> None:
    timeline.note(event("1"))
    for _ in range(500):
        if await texts(storage) == ["1"]:
            break
        await asyncio.sleep(0.01)
    assert await texts(storage) == ["1"]


async def test_closing_stores_what_waits(storage: Storage) -> None:
    timeline = Timeline(storage)
    running = asyncio.create_task(timeline.run())
    timeline.note(event("1"))
    timeline.close()
    await running
    assert await texts(storage) == ["1"]


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
async def test_while_the_disk_is_full_hosts_are_told_and_own_events_are_kept(
    storage: Storage, timeline: Timeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    caplog.set_level("INFO")
    for filling in (1, 2):
        await limit_pages(storage, "1")
        timeline.note(event(f"own {filling} " + "x" * 10_000))
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable, match="disk is full"):
                await timeline.store([event("x" * 10_000)])
            assert await texts(storage) == ["own 1", "later"][: 2 * filling - 2]  # reading goes on
        await limit_pages(storage, "100000")
        await timeline.store([event("later")])
        # Each time one line says what it is and what to do, and one that it is over, however often it was tried.
        said = [record.message for record in caplog.records if record.name.startswith("avalanche.frontend")]
        assert said == ["database away", "events not stored", "database back"] * filling
    assert await texts(storage) == ["own 1", "later", "own 2", "later"]


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)
async def test_events_of_a_database_that_stays_full_are_bounded_and_given_up_at_the_end(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 10)
    await limit_pages(storage, "1")
    timeline = Timeline(storage)
    for number in range(100):
        timeline.note(event(f"{number}" + "x" * 10_000))
    assert repr(timeline) == "<Timeline 10 waiting>"
    running = asyncio.create_task(timeline.run())
    timeline.close()
    await running
    assert "events lost" in caplog.text
