"""What an agent asks for and reports under its order."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable

import aiohttp
import pytest

from avalanche.cluster import RollEntry
from avalanche.frontend.planner import Planner
from avalanche.kickstart import render
from avalanche.manifest import parse_manifest
from avalanche.messages import MAX_BODY, Done, Event, EventBatch
from avalanche.orders import Order
from avalanche.profile import Installation, parse_installation
from avalanche.tokens import peer_key, verify_token
from tests.frontend.rig import TOKEN, Rig

OTHER = "f" * 16


@pytest.fixture
def order(rig: Rig) -> str:
    rig.add_host()
    return rig.order()


async def installation(rig: Rig, order: str, token: str = TOKEN) -> Installation:
    async with rig.session.get(rig.https + "/install/profile", headers=rig.headers(order, token)) as answer:
        assert answer.status == 200, await answer.text()
        return parse_installation(await answer.read())


async def test_the_installation_names_host_generation_and_manifest(rig: Rig, order: str) -> None:
    found = await installation(rig, order)
    assert (found.host, found.plane, found.generation) == ("compute-0-0", "relay", rig.orders()[0].generation)
    assert found.attributes["hostname"] == "compute-0-0"
    assert [node.name for node in found.profile.nodes] == ["base", "compute"]


async def test_a_host_is_admitted_to_its_peers_from_where_it_speaks(rig: Rig, order: str) -> None:
    found = (await installation(rig, order)).membership
    assert found is not None
    key = rig.state.swarm_key()
    token = verify_token(key, found.token, address="127.0.0.1", now=rig.services.clock())
    assert (token.host, token.order, token.rack) == ("compute-0-0", order, "0")
    assert found.peer_key == peer_key(key, order).hex()
    assert found.trackers == ("http://127.0.0.1:7969",)


async def test_an_order_over_http_admits_nobody(rig: Rig) -> None:
    rig.add_host()
    found = await installation(rig, rig.order("compute-0-0", "--plane", "http"))
    assert (found.plane, found.membership) == ("http", None)


async def test_the_manifest_is_the_closure(rig: Rig, order: str) -> None:
    found = await installation(rig, order)
    url = f"{rig.https}/install/manifest/{found.manifest}"
    async with rig.session.get(url, headers=rig.headers(order)) as answer:
        manifest = parse_manifest(await answer.read())
    assert manifest.digest == found.manifest
    names = {entry.nevra for entry in manifest.entries if entry.nevra}
    assert names == {"alpha-0:1.0-1.noarch", "beta-0:1.0-1.noarch"}


async def test_a_restarted_frontend_still_serves_the_manifest(rig: Rig, order: str) -> None:
    found = await installation(rig, order)
    # A planner that never solved anything, as after a restart.
    rig.services.profiles._planner._closures._values.clear()
    status, _ = await rig.get(f"{rig.https}/install/manifest/{found.manifest}", headers=rig.headers(order))
    assert status == 200


async def test_another_manifest_is_not_there(rig: Rig, order: str) -> None:
    status, text = await rig.get(f"{rig.https}/install/manifest/{'0' * 64}", headers=rig.headers(order))
    assert status == 404
    assert "fetch the profile again" in text


async def test_an_object_outside_the_closure_has_a_manifest_of_its_own(rig: Rig, order: str) -> None:
    generation = (await installation(rig, order)).generation
    entries = (await rig.services.generations.open(generation)).manifest.entries  # type: ignore[union-attr]
    gcc = next(entry for entry in entries if "gcc" in entry.path)
    url = rig.https + "/install/object"
    async with rig.session.get(url, params={"path": gcc.path}, headers=rig.headers(order)) as answer:
        assert parse_manifest(await answer.read()).entries == (gcc,)
    status, _ = await rig.get(url, params={"path": "Packages/nix.rpm"}, headers=rig.headers(order))
    assert status == 404


async def test_the_kickstart_command_prints_what_the_host_renders(rig: Rig, order: str) -> None:
    found = await installation(rig, order)
    assert rig.cli("kickstart", "compute-0-0") == render(found.profile, found.attributes)
    assert rig.cli("profile", "compute-0-0").encode() == found.profile.to_xml()


async def test_a_changed_attribute_shows_in_the_next_request(rig: Rig, order: str) -> None:
    assert (await installation(rig, order)).attributes["Kickstart_Lang"] == "en_US.UTF-8"
    rig.cli("attr", "set", "Kickstart_Lang", "it_IT.UTF-8", "--host", "compute-0-0")
    assert (await installation(rig, order)).attributes["Kickstart_Lang"] == "it_IT.UTF-8"


async def test_an_attribute_that_an_edge_mentions_changes_the_profile(rig: Rig, order: str) -> None:
    before = await installation(rig, order)
    rig.cli("attr", "set", "has_gpu", "1", "--host", "compute-0-0")
    after = await installation(rig, order)
    assert {node.name for node in after.profile.nodes} - {node.name for node in before.profile.nodes} == {"gpu"}
    assert after.manifest != before.manifest


async def test_a_changed_node_file_shows_in_the_next_request(rig: Rig, order: str) -> None:
    await installation(rig, order)
    node = rig.state.root.parent / "roll" / "nodes" / "base.xml"
    node.write_text(node.read_text().replace("echo", "printf"))
    assert "printf" in (await installation(rig, order)).profile.to_xml().decode()


async def test_a_wrong_node_file_is_a_500_with_file_and_line_and_an_event(rig: Rig, order: str) -> None:
    node = rig.state.root.parent / "roll" / "nodes" / "base.xml"
    good = node.read_text()
    node.write_text("<kickstart>\n<post><nonsense/></post>\n</kickstart>\n")
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert status == 500
    assert "nodes/base.xml:2: " in text
    assert text.count("\n") == 1
    event = (await rig.timeline())[-1]
    assert (event.stage, event.status) == ("profile", "failed")
    assert "nodes/base.xml:2: " in event.text
    node.write_text(good)
    await installation(rig, order)


async def test_attempts_are_counted_by_distinct_tokens(rig: Rig, order: str) -> None:
    for token in (TOKEN, TOKEN, OTHER, "1" * 16):
        await installation(rig, order, token)
    assert [attempt.token for attempt in rig.orders()[0].attempts] == [TOKEN, OTHER, "1" * 16]
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order, "2" * 16))
    assert status == 403
    assert "has used up its 3 attempts" in text
    assert (await installation(rig, order, OTHER)).host == "compute-0-0"


async def test_a_malformed_token_counts_nothing(rig: Rig, order: str) -> None:
    status, _ = await rig.get(rig.https + "/install/profile", headers=rig.headers(order, "nonsense"))
    assert (status, rig.orders()[0].attempts) == (400, ())


@pytest.mark.parametrize("path", ["profile", "manifest/" + "0" * 64, "object?path=x"])
async def test_what_is_private_is_refused_on_the_plain_port(rig: Rig, order: str, path: str) -> None:
    status, text = await rig.get(f"{rig.http}/install/{path}", headers=rig.headers(order))
    assert status == 403
    assert "HTTPS only" in text
    assert rig.orders()[0].attempts == ()


@pytest.mark.parametrize(
    ("authorization", "why"),
    [
        (None, "needs an install order"),
        ("Basic eDp5", "not 'Bearer ORDER.SECRET'"),
        ("Bearer nonsense", "not 'Bearer ORDER.SECRET'"),
        ("Bearer " + "0" * 16 + "." + "A" * 43, "wrong secret for order 0000000000000000"),
    ],
)
async def test_without_the_right_secret_nothing_is_told(
    rig: Rig, order: str, authorization: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("profile", "manifest/" + "0" * 64, "object"):
        status, text = await rig.get(f"{rig.https}/install/{path}", headers=headers)
        assert status == 403
        assert why in text
    for path in ("events", "done"):
        assert (await rig.post(f"/install/{path}", "{}", headers))[0] == 403
    assert [record.facts["client"] for record in caplog.records] == ["127.0.0.1"] * 5  # type: ignore[attr-defined]


async def test_the_secret_of_another_order_is_wrong(rig: Rig, order: str) -> None:
    rig.add_host("compute-0-1", "--ip", "10.1.1.11")
    other = rig.headers(rig.order("compute-0-1"))["Authorization"].partition(".")[2]
    headers = rig.headers(order) | {"Authorization": f"Bearer {order}.{other}"}
    status, _ = await rig.get(rig.https + "/install/profile", headers=headers)
    assert status == 403


async def test_an_expired_order_is_refused_with_the_frontends_clock(rig: Rig, order: str) -> None:
    late = rig.orders()[0].expires + 1
    # The whole frontend lives a day later.
    object.__setattr__(rig.services, "clock", lambda: late)
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert status == 403
    assert "expired at" in text
    assert "the frontend's clock says" in text
    assert "refused: order" in (await rig.timeline())[-1].text


async def test_the_order_of_a_removed_host_is_void(rig: Rig, order: str) -> None:
    rig.cli("host", "remove", "compute-0-0")
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert status == 403
    assert "its host was removed" in text


def batch(*numbers: int, token: str = TOKEN) -> str:
    return EventBatch(token, tuple(Event(seq, 1.5, "packages", "progress", f"{seq}") for seq in numbers)).to_json()


async def test_events_are_stored_once_and_in_order_of_arrival(rig: Rig, order: str) -> None:
    for body in (batch(1, 2), batch(2, 3), batch(1, token=OTHER)):
        assert (await rig.post("/install/events", body, rig.headers(order)))[0] == 204
    told = [(event.attempt, event.seq) for event in await rig.timeline()]
    assert told == [(TOKEN, 1), (TOKEN, 2), (TOKEN, 3), (OTHER, 1)]


async def test_events_that_many_hosts_post_at_once_are_all_stored(rig: Rig, order: str) -> None:
    posts = [rig.post("/install/events", batch(number), rig.headers(order)) for number in range(1, 101)]
    assert {status for status, _ in await asyncio.gather(*posts)} == {204}
    assert len(await rig.timeline()) == 100


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("events", "nonsense"),
        ("events", batch(1).replace('"version":1', '"version":2')),
        ("events", batch(1).replace('"stage"', '"sage"')),
        ("done", batch(1)),
        ("done", "[" * 100_000),
    ],
)
async def test_a_malformed_message_is_refused_and_stores_nothing(rig: Rig, order: str, path: str, body: str) -> None:
    status, text = await rig.post(f"/install/{path}", body, rig.headers(order))
    assert status == 400
    assert text.count("\n") == 1
    assert await rig.timeline() == []


async def test_a_body_beyond_the_limit_is_refused(rig: Rig, order: str) -> None:
    status, text = await rig.post("/install/events", b"x" * (MAX_BODY + 1), rig.headers(order))
    assert status == 413
    assert text.count("\n") == 1


async def done(rig: Rig, order: str, status: str, text: str = "", token: str = TOKEN) -> int:
    return (await rig.post("/install/done", Done(token, status, text).to_json(), rig.headers(order)))[0]


async def state_of(rig: Rig) -> tuple[str, Order]:
    order = rig.orders()[0]
    return order.state(rig.services.clock()), order


async def test_done_closes_the_order_and_may_be_repeated(rig: Rig, order: str) -> None:
    await installation(rig, order)
    assert [await done(rig, order, "ok") for _ in range(2)] == [204, 204]
    assert (await state_of(rig))[0] == "done"
    assert [event.stage for event in await rig.timeline()].count("done") == 1
    assert await done(rig, order, "failed", "no") == 409
    status, _ = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert status == 403
    assert (await rig.get(rig.http + "/install/stub"))[0] == 403


async def test_a_failed_attempt_leaves_the_order_alive_until_attempts_are_used_up(rig: Rig, order: str) -> None:
    states = []
    for token in (TOKEN, OTHER, "1" * 16):
        await installation(rig, order, token)
        assert await done(rig, order, "failed", "disk on fire", token) == 204
        states.append((await state_of(rig))[0])
    assert states == ["live", "live", "exhausted"]
    assert "attempt 3 of 3: disk on fire" in (await rig.timeline())[-1].text


async def test_done_before_the_profile_counts_as_a_failed_attempt(rig: Rig, order: str) -> None:
    assert await done(rig, order, "failed", "no profile") == 204
    assert await done(rig, order, "ok", token=OTHER) == 409
    assert [attempt.outcome for attempt in rig.orders()[0].attempts] == ["failed"]


async def test_a_full_database_is_a_503_while_packages_go_on(rig: Rig, order: str) -> None:
    found = await installation(rig, order)

    def fill(transaction: object, _: object) -> None:
        connection = transaction.connection  # type: ignore[attr-defined]
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await rig.services.storage.read(fill)
    big = EventBatch(TOKEN, tuple(Event(seq, 1.0, "install", "ok", "x" * 400) for seq in range(1, 400))).to_json()
    async with rig.session.post(rig.https + "/install/events", data=big, headers=rig.headers(order)) as answer:
        assert answer.status == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 4
        assert "database or disk is full; free space" in await answer.text()
    status, _ = await rig.get(f"{rig.http}/install/packages/{found.generation}/repodata/repomd.xml")
    assert status == 200


async def test_the_rolls_are_looked_at_once_for_a_profile(
    rig: Rig, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(planner: Planner, rolls: Iterable[RollEntry]) -> Hashable:
        looks.append(rolls)
        return real(planner, rolls)

    real = Planner.look
    monkeypatch.setattr(Planner, "look", look)
    for _ in range(2):
        assert (await rig.get(rig.https + "/install/profile", headers=rig.headers(order)))[0] == 200
    assert len(looks) == 2


async def test_a_fault_of_ours_is_a_500_in_one_line_and_a_traceback_in_the_log(
    rig: Rig, order: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rig.services.profiles, "plan", None)
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert (status, text) == (500, "the frontend failed; its log says why\n")
    assert "TypeError" in caplog.text


async def test_a_client_that_does_not_trust_the_ca_gets_nothing(rig: Rig, order: str) -> None:
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(rig.https + "/install/profile", headers=rig.headers(order))


async def test_a_roll_that_is_mended_heals_a_refused_order(rig: Rig) -> None:
    rig.add_host()
    node = rig.state.root.parent / "roll" / "nodes" / "compute.xml"
    node.write_text("<kickstart>\n<package>nix</package>\n</kickstart>\n")
    with pytest.raises(AssertionError, match=r"nodes/compute\.xml:2: .*nix"):
        rig.order()
    assert rig.orders() == []


async def test_a_roll_that_is_enabled_or_disabled_counts_in_the_next_request(rig: Rig, order: str) -> None:
    site = rig.state.root.parent / "site"
    (site / "graphs" / "default").mkdir(parents=True)
    (site / "nodes").mkdir()
    (site / "graphs" / "default" / "site.xml").write_text('<graph><edge from="compute" to="site"/></graph>')
    (site / "nodes" / "site.xml").write_text("<kickstart><package>gcc-c++</package></kickstart>")

    async def nodes() -> tuple[set[str], int]:
        found = await installation(rig, order)
        url = f"{rig.https}/install/manifest/{found.manifest}"
        async with rig.session.get(url, headers=rig.headers(order)) as answer:
            packages = len(parse_manifest(await answer.read()).entries)
        return {node.name for node in found.profile.nodes}, packages

    names, packages = await nodes()
    assert "site" not in names
    await asyncio.to_thread(rig.cli, "roll", "add", site)
    assert await nodes() == (names | {"site"}, packages + 1)
    rig.cli("roll", "disable", "site")
    assert await nodes() == (names, packages)
    rig.cli("roll", "enable", "site")
    (site / "nodes" / "site.xml").unlink()
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert (status, text.count("\n")) == (500, 1)
    assert "site.xml:1" in text
