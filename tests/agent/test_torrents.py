"""The swarm plane of one host: what comes from the frontend's hand goes the way of every other byte."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Optional

import pytest

from avalanche import planes
from avalanche.agent import torrents
from avalanche.agent.item import State
from avalanche.manifest import PIECE, PieceHasher
from avalanche.pieces import TARGET, Library, PieceAnswer, PieceRequest
from avalanche.torrent import Torrent
from tests.agent.faulty import GENERATION, ORDER, FaultyFrontend
from tests.agent.rig import Rig, until
from tests.agent.swarm import StubTracker

EPOCH = "5f1e2d3c4b5a6978"
ADDRESS = "127.0.0.1"


def leaves_of(data: bytes) -> bytes:
    hasher = PieceHasher()
    hasher.update(data)
    hasher.identity()
    return bytes(hasher.leaves)


class Hand:
    """A frontend's hand: gives every piece until it is confirmed, in order, unless a test says otherwise."""

    def __init__(self, frontend: FaultyFrontend) -> None:
        self.frontend = frontend
        objects, entries = frontend.generation.objects, frontend.generation.manifest.entries
        leaves = {entry.sha256: leaves_of(objects[entry.path]) for entry in entries}
        self.torrent = Torrent(GENERATION, entries, piece_length=PIECE // 4, leaves=leaves)
        self.requests: list[PieceRequest] = []
        self.given: list[int] = []
        self.confirmed: set[int] = set()
        self.flips: set[int] = set()
        """Pieces that come with a wrong byte, once."""
        self.status = 200
        self.keeps: set[int] = set()
        """Pieces that nobody gets."""
        self.leave: Optional[str] = None
        frontend.extra["/install/torrent"] = lambda body: (200, self.torrent.to_bytes(["http://127.0.0.1:9/announce"]))
        frontend.extra[TARGET] = self.answer

    def answer(self, body: bytes) -> tuple[int, bytes]:
        request = PieceRequest.parse(body)
        self.requests.append(request)
        if self.status != 200:
            return self.status, b"no\n"
        assert request.info_hash == self.torrent.info_hash.hex()
        if request.epoch != EPOCH:
            return 200, PieceAnswer(EPOCH, register=True).to_line()
        self.confirmed |= set(request.have)
        pieces: list[int] = []
        wanted = [*request.urgent, *(() if request.only else range(len(self.torrent.pieces)))]
        for piece in dict.fromkeys(wanted):
            is_given = piece in self.confirmed or piece in self.given or piece in self.keeps
            if request.room and not is_given and len(pieces) < 4:
                pieces.append(piece)
        self.given += pieces
        members = [ADDRESS][request.members :]
        wait = 0.0 if pieces or len(self.confirmed) < len(self.torrent.pieces) else 0.2
        data = b"".join(map(self.piece, pieces))
        return 200, PieceAnswer(EPOCH, False, pieces, wait, members, self.leave).to_line() + data

    def piece(self, number: int) -> bytes:
        piece = self.torrent.pieces[number]
        path = self.torrent.entries[piece.file].path
        data = self.frontend.generation.objects[path][piece.start : piece.start + piece.size]
        if number in self.flips:
            self.flips.discard(number)
            self.given.remove(number)
            return bytes([data[0] ^ 1]) + data[1:]
        return data


@pytest.fixture
def hand(frontend: FaultyFrontend) -> Hand:
    return Hand(frontend)


@pytest.fixture
def membered() -> StubTracker:
    return StubTracker()


def swarm_rig(frontend: FaultyFrontend, folder: Path, tracker: StubTracker, **more: Optional[int]) -> Rig:
    # Here is libtorrent already; how a host gets it is tested below.
    __import__("libtorrent")
    return Rig(frontend, folder, membership=tracker.membership(ORDER), plane="swarm", limit=more.get("limit"))


async def test_the_closure_arrives_and_the_proxy_serves_it(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker, objects: dict[str, bytes]
) -> None:
    async with swarm_rig(frontend, folder, membered) as rig:
        assert rig.feed.torrents is not None and rig.feed.relay is None
        await rig.loaded()
        for path, data in objects.items():
            answer = await rig.get(f"/{path.replace('+', '%2b')}")
            assert answer.status == 200 and answer.body == data
        figures = rig.downloader.figures
        assert figures.bytes_from_frontend == sum(map(len, objects.values())) == figures.verified
        assert figures.bytes_from_peers == 0
        assert not [path for _, path, _ in frontend.requests if path.startswith("/install/packages/")]
        await until(lambda: len(hand.confirmed) == len(hand.torrent.pieces))
    assert sorted(hand.given) == list(range(len(hand.torrent.pieces)))
    assert not (folder / "cache").exists()


async def test_trackers_are_told_that_something_is_wanted(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker
) -> None:
    """Who announces as one that is paused is not named to others who do."""
    announced: list[str] = []

    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        announced.append((await reader.readline()).decode())
        writer.close()

    server = await asyncio.start_server(announce, ADDRESS, 0)
    url = f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}/announce"
    frontend.extra["/install/torrent"] = lambda body: (200, hand.torrent.to_bytes([url]))
    async with swarm_rig(frontend, folder, membered) as rig:
        swarm = rig.feed.torrents
        assert swarm is not None
        await until(swarm._feeding.is_known.is_set)
        await rig.loaded()
        await until(lambda: announced)
    server.close()
    assert "event=started" in announced[0]


async def test_nothing_is_asked_for_while_the_prefetch_is_held(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker
) -> None:
    async with swarm_rig(frontend, folder, membered) as rig:
        await until(lambda: len(hand.requests) >= 3)
        assert not hand.given and all(request.room == 0 for request in hand.requests)
        await rig.loaded()


async def test_what_the_installer_waits_for_is_urgent_even_then(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker, objects: dict[str, bytes]
) -> None:
    path = next(path for path, data in objects.items() if len(data) > 3 * PIECE)
    async with swarm_rig(frontend, folder, membered) as rig:
        answer = await rig.get(f"/{path.replace('+', '%2b')}")
        assert answer.body == objects[path]
        assert hand.torrent.entries[hand.torrent.pieces[hand.given[0]].file].path == path


async def test_a_wrong_piece_is_never_released_and_comes_again(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker, objects: dict[str, bytes]
) -> None:
    hand.flips = {0, 3, len(hand.torrent.pieces) - 1}
    async with swarm_rig(frontend, folder, membered) as rig:
        await rig.loaded()
        for item in rig.catalogue.closure:
            assert item.slot is not None
            with item.slot.open() as file:
                assert hashlib.sha256(file.readall()).hexdigest() == item.entry.sha256
    assert not hand.flips


async def test_a_full_cache_holds_the_swarm_back_and_the_installer_gets_what_it_asks_for(
    frontend: FaultyFrontend, folder: Path, hand: Hand, membered: StubTracker, objects: dict[str, bytes]
) -> None:
    async with swarm_rig(frontend, folder, membered, limit=1 << 20) as rig:
        rig.load()
        await until(lambda: rig.downloader.is_full)
        assert rig.cache.used <= 1 << 20
        path = list(objects)[-2]
        assert (await rig.get(f"/{path.replace('+', '%2b')}")).body == objects[path]


# --- leaving in mid-install ---


async def goes_on_by_relay(rig: Rig, tracker: StubTracker, objects: dict[str, bytes]) -> str:
    """See that the rest comes by relay, each byte right, and what was complete not again; return the reason told."""
    frontend, complete = rig.frontend, {item for item in rig.catalogue.closure if item.state is State.COMPLETE}
    await until(rig.downloader.has_closure.is_set)
    assert rig.feed.torrents is None and rig.feed.relay is not None
    for path, data in objects.items():
        assert (await rig.get(f"/{path.replace('+', '%2b')}")).body == data
    asked = set(tracker.asked())
    assert asked and not asked & {item.entry.sha256 for item in complete}
    (first,) = [row for row in tracker.lookups if "register" in row]
    assert {item.entry.sha256 for item in complete} <= set(first["register"]["have"])
    assert all(item.slot is not None and not item.slot.is_lent for item in rig.catalogue.closure)
    again = [path for _, path, _ in frontend.requests if path.startswith("/install/packages/")]
    assert not [item for item in complete if any(path.endswith(item.entry.path) for path in again)]
    await rig.events.flush(5)
    (told,) = [text for _, text in frontend.outcomes("packages") if text.startswith("goes on by relay: ")]
    return told.partition(": ")[2]


async def test_a_host_that_is_told_to_leave_goes_on_by_relay_with_what_it_has(
    frontend: FaultyFrontend, folder: Path, hand: Hand, tracker: StubTracker, objects: dict[str, bytes]
) -> None:
    hand.keeps = set(range(len(hand.torrent.pieces) // 2, len(hand.torrent.pieces)))
    async with swarm_rig(frontend, folder, tracker) as rig:
        rig.load()
        await until(lambda: len(hand.confirmed) == len(hand.torrent.pieces) - len(hand.keeps))
        hand.leave = "no other host installs any more"
        assert await goes_on_by_relay(rig, tracker, objects) == hand.leave
        # What had come in the order of its object is not fetched again, but for the begin of a piece of the manifest.
        total, figures = sum(map(len, objects.values())), rig.downloader.figures
        assert figures.verified == total <= figures.bytes_from_frontend < total + PIECE


async def test_a_swarm_that_cannot_be_left_in_order_ends_the_agent_rather_than_the_install(
    frontend: FaultyFrontend, folder: Path, hand: Hand, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(self: torrents.Torrents) -> None:
        raise ZeroDivisionError

    hand.keeps = set(range(1, len(hand.torrent.pieces)))
    monkeypatch.setattr(torrents.Torrents, "retire", crash)
    async with swarm_rig(frontend, folder, tracker) as rig:
        rig.load()
        hand.leave = "no other host installs any more"
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(rig.feed.broken, 60)


async def test_a_frontend_that_knows_no_such_torrent_any_more_is_left(
    frontend: FaultyFrontend, folder: Path, hand: Hand, tracker: StubTracker, objects: dict[str, bytes]
) -> None:
    async with swarm_rig(frontend, folder, tracker) as rig:
        rig.load()
        await until(lambda: hand.confirmed)
        hand.status = 404
        assert "status 404" in await goes_on_by_relay(rig, tracker, objects)


async def test_a_swarm_that_does_not_move_is_left(
    frontend: FaultyFrontend,
    folder: Path,
    hand: Hand,
    tracker: StubTracker,
    objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torrents, "WATCH_SECONDS", 0.05)
    hand.keeps = set(range(3, len(hand.torrent.pieces)))
    async with swarm_rig(frontend, folder, tracker) as rig:
        rig.load()
        await until(lambda: len(hand.confirmed) == 3)
        monkeypatch.setattr(planes, "STILL_SECONDS", 0.4)
        assert "no byte came through the swarm" in await goes_on_by_relay(rig, tracker, objects)


async def test_a_client_that_dies_is_left(
    frontend: FaultyFrontend,
    folder: Path,
    hand: Hand,
    tracker: StubTracker,
    objects: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torrents, "WATCH_SECONDS", 0.05)
    hand.keeps = set(range(3, len(hand.torrent.pieces)))
    async with swarm_rig(frontend, folder, tracker) as rig:
        rig.load()
        await until(lambda: len(hand.confirmed) == 3)
        assert rig.feed.torrents is not None
        client = rig.feed.torrents._client
        client._handle = client._lt.torrent_handle()  # what it is when libtorrent has lost the torrent
        hand.keeps = set()
        assert "invalid torrent handle" in await goes_on_by_relay(rig, tracker, objects)


async def test_who_has_everything_stays_for_the_others(
    frontend: FaultyFrontend, folder: Path, hand: Hand, tracker: StubTracker
) -> None:
    async with swarm_rig(frontend, folder, tracker) as rig:
        await rig.loaded()
        hand.leave, before = "no other host installs any more", len(hand.requests)
        await until(lambda: len(hand.requests) > before + 2)
        assert rig.feed.torrents is not None and not tracker.lookups


# --- libtorrent itself ---


async def test_without_libtorrent_the_host_relays_and_says_why_in_one_line(
    frontend: FaultyFrontend, folder: Path, tracker: StubTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "libtorrent", raising=False)
    frontend.extra["/install/libtorrent"] = lambda body: (404, b"no libtorrent for Python 3.9: put its wheel there\n")
    rig = Rig(frontend, folder, membership=tracker.membership(ORDER), plane="swarm")
    async with rig:
        assert rig.feed.torrents is None and rig.feed.relay is not None
        await rig.loaded()
        await rig.events.flush(5)
    assert tracker.asked()
    told = [text for _, text in frontend.outcomes("packages") if "by relay" in text]
    assert told == ["fetches by relay: no libtorrent for Python 3.9: put its wheel there"]


def wheel(*members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            archive.writestr(zipfile.ZipInfo(member), b"\x7fELF not really")  # of no date: a test's name is in it
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no zip file", "is no wheel"),
        (wheel("libtorrent/__init__.py"), "is no wheel of it"),
        (wheel("libtorrent/__init__.a.so", "libtorrent/__init__.b.so"), "is no wheel of it"),
        (wheel("../libtorrent/__init__.a.so"), "is no wheel of it"),
        (wheel("libtorrent/__init__.cpython-00-nowhere.so"), "cannot be imported here"),
        (None, "another SHA-256"),
    ],
    ids=["no zip file", "no library", "two libraries", "a path that leaves", "for another Python", "another hash"],
)
async def test_a_libtorrent_that_is_none_is_refused_and_removed(
    frontend: FaultyFrontend,
    folder: Path,
    tracker: StubTracker,
    monkeypatch: pytest.MonkeyPatch,
    data: Optional[bytes],
    reason: str,
) -> None:
    monkeypatch.delitem(sys.modules, "libtorrent", raising=False)
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path])
    # What is installed beside the tests must not be found in the frontend's stead.
    monkeypatch.setattr(sys, "path", [each for each in sys.path if not (Path(each) / "libtorrent").is_dir()])
    right = data or wheel("libtorrent/__init__.a.so")
    library = Library("2.1.1", hashlib.sha256(right).hexdigest(), len(right))
    sent = right if data is not None else right[:-1] + b"x"
    frontend.extra["/install/libtorrent"] = lambda body: (200, library.to_json().encode())
    frontend.extra[f"/install/libtorrent/{library.sha256}"] = lambda body: (200, sent)
    rig = Rig(frontend, folder, membership=tracker.membership(ORDER), plane="swarm")
    async with rig:
        assert rig.feed.torrents is None
        await rig.events.flush(5)
    assert re.search(reason, json.dumps(frontend.events))
    assert not (folder / "run/libtorrent").exists() and not list(folder.rglob("*.so"))
