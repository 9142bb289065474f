"""The frontend's metrics: those of the table, by the field's conventions, with labels that nobody outside chooses."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from avalanche.adapters.distributions import Distributions
from tests.frontend.rig import Rig, running
from tests.metrics_pages import documented, exposed


async def values(rig: Rig) -> dict[tuple[str, tuple[str, ...]], float]:
    status, text = await rig.get(rig.http + "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples
    }  # fmt: skip


async def test_the_table_of_the_documentation_is_what_is_exposed(rig: Rig) -> None:
    await rig.get(rig.http + "/")
    assert exposed((await rig.get(rig.http + "/metrics"))[1]) == documented("frontend")


async def test_what_was_sent_is_counted(rig: Rig) -> None:
    generation = Distributions(rig.state.root).current("default")
    entry = max(generation.manifest.entries, key=lambda entry: entry.size)
    async with running(rig.state, max_streams=7, egress_mbit=800) as site:
        url = f"{site.http}/install/packages/{generation.id}/{entry.path}"
        async with site.session.get(url) as answer:
            assert len(await answer.read()) == entry.size
        async with site.session.get(url, headers={"Range": "bytes=0-9"}) as answer:
            await answer.read()
        await site.get(f"{site.http}/install/packages/{generation.id}/none")
        async with site.session.head(url):
            pass
        found = await values(site)
    assert found["avalanche_frontend_sent_bytes_total", ()] == entry.size + 10
    route = "/install/packages/{path}"
    counts = {key[1]: value for key, value in found.items() if key[0] == "avalanche_frontend_requests_total"}
    assert counts == {(route, "200"): 2, (route, "206"): 1, (route, "404"): 1}
    assert found["avalanche_frontend_request_seconds_count", (route,)] == 4
    assert (found["avalanche_frontend_streams_limit", ()], found["avalanche_frontend_streams", ()]) == (7, 0)
    assert found["avalanche_frontend_egress_limit_bytes_per_second", ()] == 1e8


async def test_no_stranger_adds_to_the_labels(rig: Rig) -> None:
    """Invariant: the number of series is the program's, however many addresses are asked for."""
    for number in range(50):
        await rig.get(f"{rig.http}/no/such/{number}")
        await rig.get(f"{rig.http}/install/packages/g-{number:016x}/{number}")
        await rig.get(f"{rig.http}/install/bundle/{number:064x}")
    found = await values(rig)
    routes = {key[1] for key in found if key[0] == "avalanche_frontend_requests_total"}
    assert routes == {
        ("none", "404"), ("/install/packages/{path}", "404"), ("/install/bundle/{sha256}", "404"),
    }  # fmt: skip
