"""The package proxy and the loading behind it, over real sockets, with a frontend that misbehaves on demand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from avalanche.agent.proxy import object_path, requested_span
from avalanche.agent.server import Query
from avalanche.manifest import Entry
from tests.agent.faulty import Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import Rig, read_answer, until

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


async def test_what_is_not_in_the_generation_is_asked_for_once(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        answers = await asyncio.gather(*(rig.get("/no/such.rpm") for _ in range(5)))
        assert {answer.status for answer in answers} == {404}
        assert (await rig.get("/no/such.rpm")).status == 404
    assert [target for _, target, _ in frontend.requests].count("/install/object?path=no/such.rpm") == 1


@pytest.mark.parametrize("target", ["/.treeinfo", "/treeinfo", "/../etc/passwd", "/%2e%2e/x", "/%00", "/%ff", "/"])
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


async def test_a_verified_piece_is_served_while_the_rest_is_still_under_way(
    frontend: FaultyFrontend, folder: Path
) -> None:
    data = frontend.generation.objects[BIG]
    frontend.always[BIG] = Fault(stall=600000)
    async with Rig(frontend, folder, stall=30) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(f"GET /{BIG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        # 600,000 bytes hold two whole pieces; not a byte of the third is released.
        assert await asyncio.wait_for(reader.readexactly(2 * 262144), 10) == data[: 2 * 262144]
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
