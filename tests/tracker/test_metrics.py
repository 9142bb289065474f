"""The tracker's metrics: those of the table, by the field's conventions."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.metrics_pages import documented, exposed
from tests.tracker.worlds import OBJECTS, THINGS, Running, running

ASK = [[thing, OBJECTS[thing]] for thing in THINGS[:2]]


async def page(world: Running) -> str:
    async with world.session.get(world.address + "/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_the_table_of_the_documentation_is_what_is_exposed() -> None:
    async with running() as world:
        await world.look_up(1, ask=ASK)
        world.tracker.metrics.reports.labels("slow")
        assert exposed(await page(world)) == documented("tracker")


async def test_lookups_are_counted_by_how_they_ended() -> None:
    async with running() as world:
        await world.look_up(1, ask=ASK)
        async with world.session.post(world.address + "/lookup", data=b"x") as answer:
            assert answer.status == 403
        families = text_string_to_metric_families(await page(world))
        found = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert found["avalanche_tracker_requests_total", "ok", "lookup"] == 1
    assert found["avalanche_tracker_requests_total", "refused", "lookup"] == 1
    assert found["avalanche_tracker_asked_objects_total",] == 2
    assert found["avalanche_tracker_hosts",] == 1
    assert found["avalanche_tracker_lookup_seconds_count",] == 1
