"""The package proxy and the loading behind it, over real sockets, with a frontend that misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from avalanche.agent.proxy import object_path, requested_span
from avalanche.agent.server import Query
from avalanche.manifest import Entry
from tests.agent.faulty import Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import Rig, read_answer, until
from tests.agent.swarm import StubTracker

BIG = "Packages/p/p6+x-1048576.rpm"
SMALL = "Packages/p/p9+x-4242.rpm"


async def test_every_object_of_the_closure_is_served_whole(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        await rig.loaded()
        for path, data in frontend.generation.objects.items():
            answer = await rig.get("/" + path)
            assert (answer.status, answer.body) == (200, data)
            assert answer.headers["etag"] == f'"{frontend.generation.entries[path].sha256}"'
        assert {len(frontend.asked(path)) for path in frontend.generation.objects} == {1}


async def test_an_object_that_was_never_prefetched_is_fetched_for_the_installer(
    frontend: FaultyFrontend, folder: Path
) -> None:
    async with Rig(frontend, folder) as rig:
        assert (await rig.get("/" + BIG)).body == frontend.generation.objects[BIG]


async def test_dnfs_ways_of_asking_are_understood(frontend: FaultyFrontend, folder: Path) -> None:
    encoded = BIG.replace("+", "%2b")
    async with Rig(frontend, folder) as rig:
        for target in (f"/{encoded}", f"//{encoded}", f"http://127.0.0.1:7070/{encoded}", f"/{encoded}?x=1"):
            assert (await rig.get(target)).body == frontend.generation.objects[BIG]


async def test_one_connection_serves_many_requests_even_sent_at_once(frontend: FaultyFrontend, folder: Path) -> None:
    paths = list(frontend.generation.objects)
    async with Rig(frontend, folder) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"".join(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        for path in paths:
            assert (await read_answer(reader)).body == frontend.generation.objects[path]
        writer.close()


async def test_a_client_that_closes_its_half_still_gets_the_answer(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(f"GET /{SMALL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.write_eof()
        assert (await read_answer(reader)).body == frontend.generation.objects[SMALL]
        assert await reader.read() == b""
        writer.close()


async def test_head_sends_no_body_and_fetches_nothing(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        answer = await rig.get("/" + BIG, method="HEAD")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1048576", b"")
        assert frontend.asked(BIG) == []


async def test_a_range_is_answered_with_that_part(frontend: FaultyFrontend, folder: Path) -> None:
    data = frontend.generation.objects[BIG]
    async with Rig(frontend, folder) as rig:
        answer = await rig.get("/" + BIG, Range="bytes=300000-600000")
        assert (answer.status, answer.body) == (206, data[300000:600001])
        assert answer.headers["content-range"] == f"bytes 300000-600000/{len(data)}"
        assert (await rig.get("/" + BIG, Range="bytes=-5")).body == data[-5:]
        beyond = await rig.get("/" + BIG, Range=f"bytes={len(data)}-")
        assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")


async def test_an_object_outside_the_closure_is_looked_up(
    certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    frontend = FaultyFrontend(certificates, Generation(objects, closure=[SMALL]))
    await frontend.start()
    async with Rig(frontend, folder) as rig:
        assert (await rig.get("/" + BIG)).body == objects[BIG]
    await frontend.stop()


async def test_what_is_outside_the_closure_is_kept_from_other_hosts(
    certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    """Invariant: only what a manifest lists is ever another host's; neither peers nor the tracker hear of the rest."""
    frontend = FaultyFrontend(certificates, Generation(objects, closure=[SMALL]))
    await frontend.start()
    tracker = StubTracker()
    await tracker.start()
    membership = tracker.membership(frontend.document().order)
    async with Rig(frontend, folder, membership=membership) as rig:
        await rig.loaded()
        assert (await rig.get("/" + BIG)).body == objects[BIG]
        sha256 = frontend.generation.entries[BIG].sha256
        assert rig.catalogue.find_object(sha256) is None
        seen = len(tracker.lookups)
        await until(lambda: len(tracker.lookups) >= seen + 2)
    assert sha256 not in json.dumps(tracker.lookups)
    await tracker.stop()
    await frontend.stop()


METADATA = {
    ".treeinfo": b"[general]\nname = x\n",
    "repodata/ab-comps.xml": b"<comps/>\n",
    "repodata/ab-modules.yaml.gz": b"\x1f\x8b modules",
    "repodata/ab-primary.xml.zck": b"\0ZCK1" + bytes(range(256)) * 40,
    "Packages/g/g++~rc1^git%20x+y-1:2.rpm": b"rpm",
}


@pytest.mark.parametrize("closure", [[SMALL], [SMALL, *METADATA]])
async def test_metadata_is_served_by_its_path_inside_the_closure_and_outside(
    closure: list[str], certificates: Certificates, objects: dict[str, bytes], folder: Path
) -> None:
    frontend = FaultyFrontend(certificates, Generation({**objects, **METADATA}, closure=closure))
    await frontend.start()
    async with Rig(frontend, folder) as rig:
        for path, data in METADATA.items():
            for target in (quote(path), quote(path, safe="/+~^:")):
                answer = await rig.get("/" + target)
                assert (answer.status, answer.body) == (200, data), target
        # A client that knows zchunk asks for its parts.
        part = await rig.get("/repodata/ab-primary.xml.zck", Range="bytes=5-260")
        assert (part.status, part.body) == (206, METADATA["repodata/ab-primary.xml.zck"][5:261])
    await frontend.stop()


async def test_a_path_is_missing_only_when_the_frontend_says_so(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults["/install/object"].extend([Fault(status=503, retry_after="0"), Fault(status=500)])
    async with Rig(frontend, folder) as rig:
        assert (await rig.get("/.treeinfo")).status == 404
        frontend.always["/install/object"] = Fault(status=400)
        assert (await rig.get("/treeinfo")).status == 502
    assert [target for _, target, _ in frontend.requests].count("/install/object?path=.treeinfo") == 3


async def test_a_client_that_has_the_object_is_told_so(frontend: FaultyFrontend, folder: Path) -> None:
    tag = f'"{frontend.generation.entries[BIG].sha256}"'
    async with Rig(frontend, folder) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        for known in (tag, f'"x", W/{tag}', "*"):
            writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {known}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 304 ") and f"etag: {tag}" in head.lower()
        writer.close()
        assert frontend.asked(BIG) == []
        assert (await rig.get("/" + BIG, **{"If-None-Match": '"x"'})).body == frontend.generation.objects[BIG]


async def test_a_resume_is_honoured_for_the_same_object_only(frontend: FaultyFrontend, folder: Path) -> None:
    data, tag = frontend.generation.objects[BIG], f'"{frontend.generation.entries[BIG].sha256}"'
    async with Rig(frontend, folder) as rig:
        same = await rig.get("/" + BIG, **{"Range": "bytes=1000000-", "If-Range": tag})
        assert (same.status, same.body) == (206, data[1000000:])
        for other in ('"x"', f"W/{tag}", "Sat, 21 Nov 2026 10:00:00 GMT"):
            answer = await rig.get("/" + BIG, **{"Range": "bytes=1000000-", "If-Range": other})
            assert (answer.status, answer.body) == (200, data), other


async def test_a_client_of_http_1_0_gets_its_answer_and_an_end(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        for more in ("", "Connection: keep-alive\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(f"GET /{BIG} HTTP/1.0\r\n{more}\r\n".encode())
            assert (await read_answer(reader)).body == frontend.generation.objects[BIG]
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()


async def test_what_is_not_in_the_generation_is_asked_for_once(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        answers = await asyncio.gather(*(rig.get("/no/such.rpm") for _ in range(5)))
        assert {answer.status for answer in answers} == {404}
        assert (await rig.get("/no/such.rpm")).status == 404
    assert [target for _, target, _ in frontend.requests].count("/install/object?path=no/such.rpm") == 1


@pytest.mark.parametrize("target", ["/../etc/passwd", "/%2e%2e/x", "/%00", "/%ff", "/"])
async def test_a_hopeless_path_is_404_without_asking_anyone(
    target: str, frontend: FaultyFrontend, folder: Path
) -> None:
    async with Rig(frontend, folder) as rig:
        assert (await rig.get(target)).status == 404
    assert frontend.requests == []


async def test_other_methods_and_other_protocols_are_refused(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        assert (await rig.get("/" + SMALL, method="DELETE")).status == 405
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await read_answer(reader)).status == 400
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(("stall", "pieces"), [(262144, 1), (600000, 2)])
async def test_a_verified_piece_is_served_while_the_rest_is_still_under_way(
    frontend: FaultyFrontend, folder: Path, stall: int, pieces: int
) -> None:
    """What makes the first byte come within a piece's time on the wire: nothing but its own hash is waited for."""
    data = frontend.generation.objects[BIG]
    frontend.always[BIG] = Fault(stall=stall)
    async with Rig(frontend, folder, stall=30) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        # 600,000 bytes hold two whole pieces; not a byte of the next one is released.
        assert await asyncio.wait_for(reader.readexactly(pieces * 262144), 10) == data[: pieces * 262144]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        writer.close()


async def test_the_last_piece_waits_for_the_whole_file(frontend: FaultyFrontend, folder: Path) -> None:
    entry = frontend.generation.entries[BIG]
    lying = Entry(entry.path, entry.size, "0" * 64, entry.root, entry.pieces, entry.nevra)
    async with Rig(frontend, folder) as rig:
        rig.item(BIG).entry = lying
        answer = await rig.get("/" + BIG)
    assert not answer.is_whole
    assert answer.body == frontend.generation.objects[BIG][: 3 * 262144]


async def test_a_client_that_goes_away_does_not_stop_the_download(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.gate = asyncio.Event()
    async with Rig(frontend, folder) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: frontend.open_objects)
        writer.transport.abort()
        frontend.gate.set()
        await asyncio.wait_for(rig.item(BIG).beyond(len(frontend.generation.objects[BIG]) - 1), 10)
        assert (await rig.get("/" + BIG)).body == frontend.generation.objects[BIG]
    assert len(frontend.asked(BIG)) == 1


def test_paths_are_decoded_once() -> None:
    assert object_path("/a%252b") == "a%2b"
    assert object_path("http://host") is None
    assert object_path("*") is None


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("", (0, 10, False)),
        ("bytes=0-", (0, 10, True)),
        ("bytes=2-3", (2, 4, True)),
        ("bytes=2-99", (2, 10, True)),
        ("bytes=-3", (7, 10, True)),
        ("bytes=-99", (0, 10, True)),
        ("bytes=-0", None),
        ("bytes=10-", None),
        ("bytes=3-2", (0, 10, False)),
        ("bytes=0-1,3-4", (0, 10, False)),
        ("bytes=-", (0, 10, False)),
        ("lines=1-2", (0, 10, False)),
    ],
)
def test_a_range_means_what_rfc_9110_says(text: str, span: object) -> None:
    assert requested_span(Query("GET", "/x", {"range": text}), "ab" * 32, 10) == span


def test_a_range_for_another_version_of_the_object_is_not_honoured() -> None:
    query = Query("GET", "/x", {"range": "bytes=2-3", "if-range": '"another"'})
    assert requested_span(query, "ab" * 32, 10) == (0, 10, False)
