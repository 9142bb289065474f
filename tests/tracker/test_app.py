"""The tracker over HTTP: tokens, statuses, limits, and that a refused request changes nothing."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from avalanche.bencode import decode
from avalanche.tokens import SwarmToken, peer_id, peer_key, verify_ticket
from tests.tracker.worlds import (
    GENERATION,
    INFO_HASH,
    KEY,
    OBJECTS,
    REGISTERED,
    THINGS,
    WALL,
    Running,
    lookup,
    running,
    token_of,
)
from tracker.app import LOOKUPS_AT_ONCE, OPEN_ASKS, REFUSALS_AT_ONCE

PEER_OF_1 = peer_id(f"{1:016x}", f"{1:016x}")
ESCAPED = "".join(f"%{byte:02x}" for byte in INFO_HASH)


def asks(*things: str) -> list[list[object]]:
    return [[thing, 10] for thing in things]


async def get(world: Running, path: str) -> dict[bytes, object]:
    """The bencoded answer; a tracker's errors are status 200 too."""
    from yarl import URL

    async with world.session.get(URL(world.address + path, encoded=True)) as response:
        assert response.status == 200
        answer = decode(await response.read())
        assert isinstance(answer, dict)
        return answer  # type: ignore[return-value]


def announce(number: int, *, more: str = "", info_hash: str = ESCAPED) -> str:
    return f"info_hash={info_hash}&peer_id={number:020d}&port={7000 + number}&left=5{more}"


# --- lookup ---


async def test_the_second_host_is_sent_to_the_first_with_a_ticket_it_takes() -> None:
    async with running() as world:
        first = await world.look_up(1, ask=asks(THINGS[0]))
        assert (first["parents"], first["give"], first["rows"]) == (["frontend"], [0], [])
        second = await world.look_up(2, ask=asks(THINGS[0], THINGS[1]))
        assert [second["parents"][place] for place in second["give"]] == [PEER_OF_1, PEER_OF_1]
        (row,) = second["rows"]
        assert (row["host"], row["address"], row["port"], row["rack"]) == ("compute-0-1", "127.0.0.1", 40_001, "0")
        ticket = verify_ticket(
            peer_key(KEY, f"{1:016x}"), row["ticket"], address="127.0.0.1", generation=GENERATION, now=WALL
        )
        assert (ticket.host, ticket.expires) == ("compute-0-2", row["expires"])
        assert second["time"] == WALL


async def test_a_row_that_is_known_is_not_sent_again() -> None:
    async with running() as world:
        await world.look_up(1)
        answer = await world.look_up(2, ask=asks(THINGS[0]), known=[PEER_OF_1])
        assert (answer["parents"], answer["rows"]) == ([PEER_OF_1], [])


async def test_an_unknown_host_is_told_to_register() -> None:
    async with running() as world:
        answer = await world.look_up(1, register=None, ask=asks(THINGS[0]))
        assert (answer["register"], answer["give"]) == (True, [-1])


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "there is no token"),
        ("nonsense", "PAYLOAD.SIGNATURE"),
        (token_of(1)[:-2] + "AA", "signature"),
        (token_of(1, address="127.0.0.2"), "came from 127.0.0.1"),
        (token_of(1, expires=int(WALL)), "expired"),
        (token_of(1, generation="g-" + "0" * 16), "is not registered"),
    ],
)
async def test_a_lookup_without_a_good_token_changes_nothing(token: str | None, reason: str) -> None:
    async with running() as world:
        status, text = await world.post(token, lookup(1))
        assert (status, len(world.tracker.chains)) == (403, 0)
        assert reason in text and text.endswith("\n") and text.count("\n") == 1


async def test_a_malformed_lookup_changes_nothing() -> None:
    async with running() as world:
        status, text = await world.post(token_of(1), lookup(1, done=["f" * 64]))
        assert (status, len(world.tracker.chains)) == (400, 0)
        assert "is no object of g-" in text


async def test_a_lookup_that_is_too_large_is_refused() -> None:
    async with running() as world:
        assert (await world.post(token_of(1), b" " * (5 << 20)))[0] == 413


async def test_a_lookup_that_grows_when_it_is_unpacked_is_refused() -> None:
    packed = zlib.compress(b" " * (5 << 20))
    headers = {"Authorization": f"Bearer {token_of(1)}", "Content-Encoding": "deflate"}
    async with (
        running() as world,
        world.session.post(world.address + "/lookup", data=packed, headers=headers) as response,
    ):
        assert response.status in (400, 413)


async def test_ten_thousand_bogus_objects_cannot_hurt() -> None:
    async with running() as world:
        bogus = [f"{number:064x}" for number in range(4000)]
        for _ in range(3):
            assert (await world.post(token_of(1), lookup(1, register={"manifest": "0" * 64, "have": bogus})))[0] == 400
        assert repr(world.tracker.chains) == "<Chains 0 hosts, <Flow 0 peers, 0 of them parents>>"


async def test_open_asks_are_bounded() -> None:
    many = replace(REGISTERED, objects={f"{number:064x}": 10 for number in range(OPEN_ASKS + 1)})
    async with running(many) as world:
        things = list(many.objects)
        for start in range(0, OPEN_ASKS, 512):
            await world.look_up(1, ask=asks(*things[start : start + 512]), register={"manifest": "0" * 64})
        status, text = await world.post(token_of(1), lookup(1, ask=asks(things[-1]), register=None))
        assert (status, "neither done nor dropped" in text) == (400, True)
        await world.look_up(1, done=things[:1], register=None)
        await world.look_up(1, ask=asks(things[-1]), register=None)


async def test_who_asks_too_often_is_told_to_wait_and_others_are_not() -> None:
    async with running() as world:
        for _ in range(int(LOOKUPS_AT_ONCE)):
            await world.look_up(1)
        async with world.session.post(
            f"{world.address}/lookup", data=lookup(1), headers={"Authorization": f"Bearer {token_of(1)}"}
        ) as response:
            assert (response.status, int(response.headers["Retry-After"]) >= 1) == (503, True)
        await world.look_up(2)
        world.clock.now += 1.0
        await world.look_up(1)


async def test_a_newer_start_shuts_the_older_one_out() -> None:
    async with running() as world:
        await world.look_up(1)
        newer = token_of(9, host="compute-0-1")
        await world.look_up(1, token=newer)
        status, text = await world.post(token_of(1), lookup(1))
        assert (status, "newer start of compute-0-1" in text) == (403, True)


async def test_a_host_cannot_speak_for_another_one() -> None:
    async with running() as world:
        await world.look_up(1)
        await world.look_up(2, attempt=f"{1:016x}", state="leaving")
        assert world.tracker.chains.find(PEER_OF_1) is not None


async def test_who_uses_the_token_of_another_host_is_named_by_its_address_and_not_too_often() -> None:
    async with running() as world:
        await world.look_up(1)
        stolen = token_of(2, address="127.0.0.2")
        for _ in range(30):
            async with world.session.post(
                world.address + "/lookup", data=lookup(2), headers={"Authorization": f"Bearer {stolen}"}
            ) as response:
                assert response.status == 403
        assert (await get(world, f"/announce?token={stolen}&{announce(2)}")).keys() == {b"failure reason"}
        assert {(report.host, report.status) for report in world.reports} == {("compute-0-1", "refused")}
        assert world.reports[0].text == (
            "lookup from compute-0-1 at 127.0.0.1 refused: the token is for 127.0.0.2, and came from 127.0.0.1"
        )
        assert len(world.reports) == REFUSALS_AT_ONCE


async def test_a_stranger_is_nobody_to_name() -> None:
    async with running() as world:
        headers = {"Authorization": "Bearer nonsense"}
        async with world.session.post(world.address + "/lookup", data=lookup(1), headers=headers) as response:
            assert response.status == 403
        assert not world.reports


async def test_a_corrupting_parent_is_reported_for_its_timeline() -> None:
    async with running() as world:
        await world.look_up(1)
        await world.look_up(2, ask=asks(THINGS[0]))
        await world.look_up(2, register=None, blame=[[PEER_OF_1, "corrupt", THINGS[0]]])
        (report,) = world.reports
        assert (report.host, report.order, report.status) == ("compute-0-1", f"{1:016x}", "corrupt")


async def test_silent_hosts_are_forgotten_by_time_alone() -> None:
    async with running() as world:
        await world.look_up(1)
        for _ in range(30):
            world.clock.now += 1.0
            world.tracker.advance()
        assert len(world.tracker.chains) == 0


async def test_a_known_slow_host_is_nobodys_parent() -> None:
    async with running(known_slow=lambda host: host == "compute-0-1") as world:
        await world.look_up(1)
        assert (await world.look_up(2, ask=asks(THINGS[0])))["parents"] == ["frontend"]


# --- BitTorrent ---


@pytest.mark.parametrize("form", ["/announce?token={}&", "/announce/{}?", "/t/{}/announce?"])
async def test_announces_are_answered_in_every_form_of_the_address(form: str) -> None:
    async with running() as world:
        first = await get(world, form.format(token_of(1)) + announce(1))
        assert first[b"peers"] == b""
        second = await get(world, form.format(token_of(2)) + announce(2))
        assert second[b"peers"] == bytes([127, 0, 0, 1]) + (7001).to_bytes(2, "big")
        assert second[b"external ip"] == bytes([127, 0, 0, 1])
        scraped = await get(world, form.replace("announce", "scrape").format(token_of(1)) + f"info_hash={ESCAPED}")
        assert scraped == {
            b"files": {INFO_HASH: {b"complete": 0, b"downloaded": 0, b"downloaders": 2, b"incomplete": 2}}
        }


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/announce?" + announce(1), "no token"),
        (f"/announce?token={token_of(1, address='127.0.0.9')}&" + announce(1), "came from 127.0.0.1"),
        (f"/announce?token={token_of(1)[:-3]}abc&" + announce(1), "signature"),
        (f"/announce/{token_of(1, expires=int(WALL) - 1)}?" + announce(1), "expired"),
        (f"/announce/{token_of(1, generation='g-' + '1' * 16)}?" + announce(1), "not registered"),
        (f"/announce/{token_of(1)}?" + announce(1, info_hash="%00" * 20), "not registered"),
        (f"/announce/{token_of(1)}?" + announce(1, more="&port=80"), "port"),
        (f"/announce/{token_of(1)}?x=%zz&" + announce(1), "percent"),
        (f"/scrape/{token_of(1)}?info_hash=short", "20 bytes"),
        ("/scrape", "no token"),
    ],
)
async def test_what_is_refused_has_a_reason_and_leaves_no_trace(path: str, reason: str) -> None:
    async with running() as world:
        answer = await get(world, path)
        assert list(answer) == [b"failure reason"]
        assert reason in answer[b"failure reason"].decode()  # type: ignore[attr-defined]
        assert repr(world.tracker.swarms) == "<Swarms 0 torrents, 0 peers>"


async def test_no_parameter_changes_the_address() -> None:
    async with running() as world:
        await get(world, f"/announce/{token_of(1)}?" + announce(1, more="&ip=10.9.9.9&ipv4=10.9.9.9&ipv6=fd00%3A%3A9"))
        answer = await get(world, f"/announce/{token_of(2)}?" + announce(2))
        assert answer[b"peers"] == bytes([127, 0, 0, 1]) + (7001).to_bytes(2, "big")
        assert b"peers6" not in answer


async def test_a_scrape_of_nothing_is_of_the_tokens_generation_and_of_the_unregistered_is_empty() -> None:
    async with running() as world:
        assert list((await get(world, f"/scrape/{token_of(1)}"))[b"files"]) == [INFO_HASH]  # type: ignore[call-overload]
        assert (await get(world, f"/scrape/{token_of(1)}?info_hash=" + "%01" * 20))[b"files"] == {}
        assert repr(world.tracker.swarms) == "<Swarms 0 torrents, 0 peers>"


async def test_announces_far_above_the_interval_are_refused_and_a_stop_never_is() -> None:
    async with running() as world:
        path = f"/announce/{token_of(1)}?"
        answers = [await get(world, path + announce(1)) for _ in range(60)]
        assert b"too many announces" in answers[-1][b"failure reason"]  # type: ignore[operator]
        assert b"interval" in await get(world, path + announce(1, more="&event=stopped"))


def test_the_token_of_these_tests_is_what_it_says() -> None:
    assert OBJECTS[THINGS[0]] == 1000
    assert SwarmToken("0" * 16, "a", "", "::1", GENERATION, 1).rack == ""
