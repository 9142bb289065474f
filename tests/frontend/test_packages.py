"""Objects over plain HTTP: ranges, conditions, names, admission, and clients that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from avalanche.adapters.distributions import Distributions, Generation
from avalanche.frontend import packages
from avalanche.frontend.packages import Span, parse_range
from avalanche.manifest import Entry
from tests.frontend.rig import Rig, running


@pytest.fixture
def generation(rig: Rig) -> Generation:
    return Distributions(rig.state.root).current("default")


@pytest.fixture
def beta(generation: Generation) -> Entry:
    return next(entry for entry in generation.manifest.entries if "beta" in entry.path)


def url(rig: Rig, generation: Generation, path: str) -> URL:
    return URL(f"{rig.http}/install/packages/{generation.id}/{path}", encoded=True)


async def test_every_object_of_a_generation_arrives_whole(rig: Rig, generation: Generation) -> None:
    for entry in generation.manifest.entries:
        async with rig.session.get(f"{rig.http}/install/packages/{generation.id}/{entry.path}") as answer:
            body = await answer.read()
            assert (answer.status, len(body)) == (200, entry.size)
            assert hashlib.sha256(body).hexdigest() == entry.sha256
            assert answer.headers["ETag"] == f'"{entry.sha256}"'
            assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("gcc-c++-1.0-1.noarch.rpm", 200),
        ("gcc-c%2b%2b-1.0-1.noarch.rpm", 200),
        ("%67cc-c%2B+-1.0-1.noarch.rpm", 200),
        ("gcc-c%252b%252b-1.0-1.noarch.rpm", 404),
    ],
)
async def test_percent_encoding_is_undone_once(rig: Rig, generation: Generation, name: str, status: int) -> None:
    folder = next(entry.path for entry in generation.manifest.entries if "gcc" in entry.path).rpartition("/")[0]
    async with rig.session.get(url(rig, generation, f"{folder}/{name}")) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, None),
        ("bytes=-5", -5, None),
        ("bytes=262144-524287", 262144, 524288),
        ("bytes=600000-99999999", 600000, None),
        ("bytes=-99999999", 0, None),
    ],
)
async def test_a_range_is_exactly_those_bytes(
    rig: Rig, generation: Generation, beta: Entry, text: str, first: int, end: int | None
) -> None:
    whole = generation.object_path(beta.path).read_bytes()
    async with rig.session.get(url(rig, generation, beta.path), headers={"Range": text}) as answer:
        assert answer.status == 206
        assert await answer.read() == whole[first:end]
        begin = first % beta.size
        assert answer.headers["Content-Range"] == f"bytes {begin}-{(end or beta.size) - 1}/{beta.size}"


async def test_a_range_beyond_the_end_is_416_and_says_the_size(rig: Rig, generation: Generation, beta: Entry) -> None:
    headers = {"Range": f"bytes={beta.size}-"}
    async with rig.session.get(url(rig, generation, beta.path), headers=headers) as answer:
        assert answer.status == 416, await answer.text()
        assert answer.headers["Content-Range"] == f"bytes */{beta.size}"


async def test_head_says_everything_and_sends_nothing(rig: Rig, generation: Generation, beta: Entry) -> None:
    async with rig.session.head(url(rig, generation, beta.path)) as answer:
        assert (answer.status, answer.content_length, await answer.read()) == (200, beta.size, b"")


async def test_what_the_client_has_is_not_sent_again(rig: Rig, generation: Generation, beta: Entry) -> None:
    for tag in (f'"{beta.sha256}"', f'"other", "{beta.sha256}"', "*"):
        async with rig.session.get(url(rig, generation, beta.path), headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
    async with rig.session.get(url(rig, generation, beta.path), headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


async def test_a_range_of_another_object_is_the_whole_object(rig: Rig, generation: Generation, beta: Entry) -> None:
    for tag, status in ((f'"{beta.sha256}"', 206), ('"other"', 200)):
        headers = {"Range": "bytes=5-9", "If-Range": tag}
        async with rig.session.get(url(rig, generation, beta.path), headers=headers) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    "path",
    [
        "g-0000000000000000/repodata/repomd.xml",
        "nonsense/repodata/repomd.xml",
        "../../authority/ca.key",
        "%2e%2e/%2e%2e/authority/ca.key",
        "",
    ],
)
async def test_what_no_manifest_lists_is_not_there(rig: Rig, path: str) -> None:
    async with rig.session.get(URL(f"{rig.http}/install/packages/{path}", encoded=True)) as answer:
        assert answer.status == 404
        assert (await answer.text()).count("\n") == 1


@pytest.mark.parametrize(
    "path", ["../../../../avalanche.toml", "%2e%2e/manifest.jsonl", "manifest.jsonl", "/etc/passwd", "%ff"]
)
async def test_no_path_leads_out_of_a_generation(rig: Rig, generation: Generation, path: str) -> None:
    target = urlsplit(rig.http)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(
        f"GET /install/packages/{generation.id}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    writer.close()
    await writer.wait_closed()


async def test_an_absolute_form_request_is_the_same(rig: Rig, generation: Generation, beta: Entry) -> None:
    target = urlsplit(rig.http)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(f"GET {url(rig, generation, beta.path)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


async def fetch(rig: Rig, path: str, *, address: str) -> bytes:
    """Get an object over a connection from ``address``."""
    target = urlsplit(rig.http)
    reader, writer = await asyncio.open_connection(target.hostname, target.port, local_addr=(address, 0))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


async def test_all_that_is_sent_together_keeps_to_the_cap_and_hosts_share_it(
    rig: Rig, generation: Generation, beta: Entry
) -> None:
    mbit, each = 8, beta.size
    async with running(rig.state, egress_mbit=mbit) as narrow:
        path, loop, ends = f"/install/packages/{generation.id}/{beta.path}", asyncio.get_running_loop(), []

        async def take(address: str) -> None:
            assert hashlib.sha256(await fetch(narrow, path, address=address)).hexdigest() == beta.sha256
            ends.append((address, loop.time()))

        began = loop.time()
        await asyncio.gather(*(take("127.0.0.2") for _ in range(4)), take("127.0.0.3"))
        assert 5 * each <= mbit * 1e6 / 8 * (loop.time() - began) * 1.05 + 131072
        # The one with a single connection has its object when the other's four are not half done.
        assert ends[0][0] == "127.0.0.3"


async def test_who_has_no_place_waits_for_its_turn(rig: Rig, generation: Generation, beta: Entry) -> None:
    async with running(rig.state, max_streams=2, max_streams_per_host=1, egress_mbit=80) as narrow:
        path = f"/install/packages/{generation.id}/{beta.path}"
        bodies = await asyncio.gather(
            *(fetch(narrow, path, address=f"127.0.0.{last}") for last in (2, 2, 2, 3, 3, 4))
        )  # fmt: skip
        assert {hashlib.sha256(body).hexdigest() for body in bodies} == {beta.sha256}


async def test_more_answers_than_admitted_are_told_to_come_back(rig: Rig) -> None:
    async with running(rig.state, max_streams=1, max_waiting=0) as narrow:
        generation = Distributions(narrow.state.root).current("default")
        path = next(entry.path for entry in generation.manifest.entries if "beta" in entry.path)
        target = urlsplit(narrow.http)
        # A client that asks again and again and never reads fills every buffer, so its answer stays running.
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((target.hostname, target.port))
        ask = f"GET /install/packages/{generation.id}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        slow.sendall(ask * 200)
        async with asyncio.timeout(20):
            while True:
                async with narrow.session.get(url(narrow, generation, path)) as answer:
                    await answer.read()
                    if answer.status == 503:
                        break
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        slow.close()
        async with asyncio.timeout(20):
            while True:
                async with narrow.session.get(url(narrow, generation, path)) as answer:
                    if answer.status == 200:
                        assert len(await answer.read()) > 600_000
                        break


async def test_a_client_that_takes_nothing_is_given_up(
    rig: Rig, generation: Generation, beta: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "STALL_SECONDS", 0.2)
    target = urlsplit(rig.http)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((target.hostname, target.port))
    slow.setblocking(False)
    ask = f"GET {url(rig, generation, beta.path).raw_path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(slow, ask * 200)
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.05)
            # Only an aborted connection refuses what we send.
            try:
                await loop.sock_sendall(slow, b"x")
            except OSError:
                break
    slow.close()


async def test_a_damaged_store_is_a_clear_line_and_not_half_an_answer(
    rig: Rig, generation: Generation, beta: Entry
) -> None:
    file = generation.object_path(beta.path)
    file.chmod(0o644)
    os.truncate(file, 1000)
    status, text = await rig.get(url(rig, generation, beta.path))
    assert status == 500
    assert f"has 1000 bytes instead of {beta.size}; import the distribution again" in text
    file.unlink()
    status, text = await rig.get(url(rig, generation, beta.path))
    assert status == 500
    assert "cannot be read" in text


async def test_a_removed_generation_is_gone_in_the_next_request(rig: Rig, generation: Generation) -> None:
    assert (await rig.get(url(rig, generation, "repodata/repomd.xml")))[0] == 200
    rig.cli("dist", "import", "default", rig.state.root.parent / "rpms", "--allow-unsigned", "--comps", _comps(rig))
    rig.cli("dist", "remove", "default", generation.id)
    assert (await rig.get(url(rig, generation, "repodata/repomd.xml")))[0] == 404


def _comps(rig: Rig) -> object:
    comps = rig.state.root / "other-comps.xml"
    comps.write_text("<comps><group><id>other</id><name>Other</name></group></comps>")
    return comps


SIZES = st.integers(1, 10_000_000)


@settings(deadline=None)
@given(SIZES, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_span_never_leaves_the_object(size: int, first: int, last: int) -> None:
    for text in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            span = parse_range(text, size)
        except ValueError:
            continue
        assert span is None or 0 <= span.first < span.end <= size


@pytest.mark.parametrize(
    "text", [None, "", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b"]
)
def test_what_is_not_one_range_is_ignored(text: str | None) -> None:
    assert parse_range(text, 100) is None


def test_a_range_of_nothing_is_beyond_the_end() -> None:
    with pytest.raises(ValueError, match="beyond"):
        parse_range("bytes=-0", 100)
    assert parse_range("bytes=99-", 100) == Span(99, 100)
