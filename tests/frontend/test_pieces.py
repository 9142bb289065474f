"""Pieces for a swarm: each once, right, within what the frontend may send, and counted."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import urlsplit

import libtorrent as lt
import pytest

from avalanche.manifest import Manifest
from avalanche.pieces import TARGET, PieceAnswer, PieceRequest
from avalanche.torrent import read_layout
from tests.frontend.rig import Rig, running
from tests.frontend.test_metrics import values
from tests.frontend.test_packages import fetch
from tests.frontend.test_torrents import admitted, closure_of, torrent_of

SENT = ("avalanche_frontend_sent_bytes_total", ())
REFUSED = ("avalanche_frontend_streams_refused_total", ())


class Host:
    """A host that asks by hand."""

    def __init__(self, rig: Rig, torrent: bytes, token: str, manifest: Manifest) -> None:
        self.rig = rig
        self.token = token
        self.manifest = manifest
        self.info_hash = lt.load_torrent_buffer(torrent).ti.info_hashes().v2.to_bytes().hex()
        layout = read_layout(torrent)
        self.files, self.sizes = layout.files, layout.sizes
        self.got: dict[int, bytes] = {}
        self._epoch: str | None = None
        self._have: tuple[int, ...] = ()
        self._must_tell = False

    def request(self, **more: object) -> PieceRequest:
        return PieceRequest(self.info_hash, self.manifest.digest, **{"room": 1 << 20, **more})  # type: ignore[arg-type]

    async def post(self, body: bytes) -> tuple[int, bytes, str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.rig.session.post(self.rig.http + TARGET, data=body, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers.get("Retry-After", "")

    async def ask(self, room: int = 1 << 20) -> tuple[int, str]:
        """Ask once; returns the status and when to come back."""
        held = () if self._must_tell else None
        status, body, later = await self.post(
            self.request(epoch=self._epoch, held=held, have=self._have, room=room).to_bytes()
        )
        if status == 200:
            line, _, data = body.partition(b"\n")
            answer = PieceAnswer.parse(line)
            self._epoch, self._have, self._must_tell = answer.epoch, tuple(answer.pieces), answer.register
            for number in answer.pieces:
                assert number not in self.got
                self.got[number], data = data[: self.sizes[number]], data[self.sizes[number] :]
            assert data == b""
        return status, later

    async def take_all(self) -> None:
        """Ask until every piece is here, and see that they are right."""
        while len(self.got) < len(self.sizes):
            status, _ = await self.ask()
            assert status == 200
        for file in self.files:
            whole = b"".join(self.got[file.first + piece] for piece in range(file.pieces))
            entry = self.manifest.find(file.path)
            assert entry is not None and hashlib.sha256(whole).hexdigest() == entry.sha256


async def host_of(rig: Rig, headers: dict[str, str] | None = None) -> Host:
    headers = headers or await admitted(rig)
    torrent = await torrent_of(rig, headers)
    installation, manifest = await closure_of(rig, headers)
    assert installation.membership is not None
    return Host(rig, torrent, installation.membership.token, manifest)


async def test_a_lone_host_gets_every_piece_once_and_right_and_all_are_counted(rig: Rig) -> None:
    host = await host_of(rig)
    await host.take_all()
    assert (await values(rig))[SENT] == sum(host.sizes)


async def test_pieces_and_packages_keep_to_the_cap_together_and_hosts_share_it(rig: Rig) -> None:
    mbit, headers = 8, await admitted(rig)
    async with running(rig.state, egress_mbit=mbit) as narrow:
        host, loop = await host_of(narrow, headers), asyncio.get_running_loop()
        beta = next(entry for entry in host.manifest.entries if "beta" in entry.path)
        path, ends = f"/install/packages/{host.manifest.generation}/{beta.path}", []

        async def take(address: str) -> None:
            await fetch(narrow, path, address=address)
            ends.append(address)

        began = loop.time()
        others = [asyncio.create_task(take("127.0.0.2")) for _ in range(4)]
        await host.take_all()
        # One that asks for pieces is not behind four connections of another host.
        assert not ends
        await asyncio.gather(*others)
        seconds, sent = loop.time() - began, sum(host.sizes) + 4 * beta.size
        assert sent <= mbit * 1e6 / 8 * seconds * 1.05 + 131072
        assert (await values(narrow))[SENT] == sent


async def test_who_is_not_admitted_comes_back_and_its_pieces_are_not_lost(rig: Rig) -> None:
    headers = await admitted(rig)
    async with running(rig.state, max_streams=1, max_waiting=0, egress_mbit=1) as narrow:
        host = await host_of(narrow, headers)
        beta = next(entry for entry in host.manifest.entries if "beta" in entry.path)
        target = urlsplit(narrow.http)
        # A package that takes seconds has the only place.
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        writer.write(
            f"GET /install/packages/{host.manifest.generation}/{beta.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert (await host.ask())[0] == 200
        status, later = await host.ask()
        assert status == 503 and 1 <= int(later) <= 30 and not host.got
        assert (await values(narrow))[REFUSED] == 1
        # What it would have got is nobody's now.
        assert " 0 leased" in repr(narrow.services.swarm.torrents.current(host.manifest.generation))
        writer.transport.abort()
        async with asyncio.timeout(20):
            while not host.got:
                await host.ask(room=1)


@pytest.mark.parametrize("token", ["", "e30.e30"])
async def test_without_a_token_nobody_gets_a_piece(rig: Rig, token: str) -> None:
    host = await host_of(rig)
    host.token = token
    status, body, _ = await host.post(host.request().to_bytes())
    assert status == 403 and body.count(b"\n") == 1


async def test_a_torrent_or_closure_that_is_unknown_is_not_served(rig: Rig) -> None:
    host = await host_of(rig)
    for stranger in (PieceRequest(host.info_hash, "0" * 64), PieceRequest("0" * 64, host.manifest.digest)):
        assert (await host.post(stranger.to_bytes()))[0] == 404
    assert (await host.post(b"{}"))[0] == 400
