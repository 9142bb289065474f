"""A tracker of its own tells the frontend: timelines, slow hosts, and who has the bundle."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest

from avalanche import news
from avalanche.frontend import boot, trackers
from avalanche.news import Holder, News, PeerReport
from tests.frontend.rig import Rig
from tracker.lookup import Peer
from tracker.reporter import Reporter
from tracker.standing import Report

TRACKER = "5f1e2d3c4b5a6978"
PARENT = "aa1e2d3c4b5a6978"
GENERATION = "g-" + "5d" * 8
PEER = Peer("0" * 16, "compute-0-7", "0", PARENT, GENERATION, "10.1.255.253", 40001)


@pytest.fixture
def order(rig: Rig) -> str:
    rig.add_host()
    return rig.order()


def message(rig: Rig, seq: int, *reports: PeerReport, age: float = 0.0, holders: tuple[Holder, ...] = ()) -> bytes:
    return News(TRACKER, seq, rig.services.clock() - age, reports, holders).to_bytes()


async def tell(rig: Rig, body: bytes, *, key: bytes | None = None) -> tuple[int, str]:
    signature = news.sign(key or rig.state.swarm_key(), body, purpose="news")
    url = rig.http + news.TARGET
    async with rig.session.post(url, data=body, headers={news.SIGNATURE: signature}) as answer:
        return answer.status, await answer.text()


async def found(rig: Rig) -> list[tuple[str, str, str | None]]:
    return [(event.status, event.text, event.order) for event in await rig.timeline() if event.stage == "peers"]


async def test_what_a_tracker_reports_stands_in_the_timeline_once(rig: Rig, order: str) -> None:
    body = message(rig, 1, PeerReport(order, "compute-0-0", "corrupt", "bytes that fail their hash"))
    assert (await tell(rig, body))[0] == 200
    assert (await tell(rig, body))[0] == 200  # it had not heard the answer
    assert await found(rig) == [("corrupt", "bytes that fail their hash", order)]
    assert rig.services.trackers.lying == {"compute-0-0"}
    rig.services.trackers.lying.clear()
    await rig.services.trackers.load()
    assert rig.services.trackers.lying == {"compute-0-0"}
    assert (await tell(rig, message(rig, 2)))[0] == 200
    status, line = await tell(rig, body)  # somebody repeats it
    assert (status, "message 1 came after message 2" in line) == (400, True)


async def test_old_news_are_refused(rig: Rig, order: str) -> None:
    status, line = await tell(rig, message(rig, 1, age=301))
    assert (status, "301 s behind the frontend's; set both right" in line) == (400, True)


async def test_news_without_the_swarm_key_change_nothing(rig: Rig, order: str) -> None:
    body = message(rig, 1, PeerReport(order, "compute-0-0", "slow", "slow"))
    status, line = await tell(rig, body, key=bytes(32))
    assert (status, "not signed with the swarm key" in line) == (403, True)
    assert await found(rig) == []
    assert rig.services.trackers.slow == set()


async def test_a_slow_host_is_known_to_every_tracker(rig: Rig, order: str) -> None:
    _, answer = await tell(rig, message(rig, 1, PeerReport(order, "compute-0-0", "slow", "slow")))
    assert news.parse_answer(answer.encode()) == {"compute-0-0"}
    await rig.timeline()
    # A frontend that starts anew reads it from the timelines.
    rig.services.trackers.slow.clear()
    await rig.services.trackers.load()
    assert rig.services.trackers.slow == {"compute-0-0"}
    _, answer = await tell(rig, message(rig, 2, PeerReport(order, "compute-0-0", "restored", "well again")))
    assert news.parse_answer(answer.encode()) == set()


async def test_a_busy_frontend_sends_hosts_to_holders_a_tracker_named(
    rig: Rig, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "BUNDLE_STREAMS", 0)
    monkeypatch.setattr(boot, "ELSEWHERE_SECONDS", 0)
    url = f"{rig.http}/install/bundle/{rig.services.bundle.sha256}"
    await tell(rig, message(rig, 1, holders=(Holder(PARENT, GENERATION, "10.1.255.253", 40001),)))
    async with rig.session.get(url, allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["Location"].startswith("http://10.1.255.253:40001/object/")
    monkeypatch.setattr(trackers, "HOLDERS_SECONDS", -1)
    async with rig.session.get(url, allow_redirects=False) as answer:
        assert answer.status == 200


async def test_a_tracker_says_it_again_until_the_frontend_hears(rig: Rig, order: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        lost = Reporter([nobody], rig.state.swarm_key())
        lost.note(Report("compute-0-0", order, "slow", "first"))
        await lost.tell(session, [])
        assert repr(lost).endswith("0 reports>")
        lost._urls = [nobody, rig.http]
        lost.note(Report("compute-0-0", order, "restored", "second\nline"))
        await lost.tell(session, [PEER])
        await lost.tell(session, [PEER])
        assert await found(rig) == [("slow", "first", order), ("restored", "second?line", order)]
        assert list(rig.services.trackers.holders()) == [Holder(PARENT, GENERATION, "10.1.255.253", 40001)]


async def test_an_answer_that_is_not_signed_is_not_believed(rig: Rig) -> None:
    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = news.format_answer(["compute-0-0"])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    reporter = Reporter([url], rig.state.swarm_key())
    async with aiohttp.ClientSession() as session:
        await reporter.tell(session, [])
    assert reporter.slow == frozenset()
    server.close()
