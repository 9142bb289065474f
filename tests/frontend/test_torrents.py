"""The swarm plane's addresses: torrent, libtorrent, pieces."""

from __future__ import annotations

import hashlib
import platform
import shutil
import zipfile
from pathlib import Path

import libtorrent as lt
import pytest

from avalanche.manifest import parse_manifest
from avalanche.pieces import TARGET, Library, PieceAnswer, PieceRequest
from avalanche.profile import parse_installation
from avalanche.torrent import read_files
from tests.frontend.rig import Rig, running

HERE = {"python": ".".join(platform.python_version_tuple()[:2]), "machine": platform.machine(), "glibc": "2.36"}


async def admitted(rig: Rig, plane: str = "swarm") -> dict[str, str]:
    """Register a host, order its install, fetch its profile; returns what its agent sends."""
    rig.add_host()
    headers = rig.headers(rig.order("compute-0-0", "--plane", plane))
    status, _ = await rig.get(rig.https + "/install/profile", headers=headers)
    assert status == 200
    return headers


async def torrent_of(rig: Rig, headers: dict[str, str]) -> bytes:
    async with rig.session.get(rig.https + "/install/torrent", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def closure_of(rig: Rig, headers: dict[str, str]):  # type: ignore[no-untyped-def]
    _, document = await rig.get(rig.https + "/install/profile", headers=headers)
    installation = parse_installation(document.encode())
    _, manifest = await rig.get(rig.https + f"/install/manifest/{installation.manifest}", headers=headers)
    return installation, parse_manifest(manifest.encode())


async def test_the_torrent_holds_the_closure_and_the_hosts_own_announce_address(rig: Rig) -> None:
    headers = await admitted(rig)
    data = await torrent_of(rig, headers)
    installation, manifest = await closure_of(rig, headers)
    assert installation.plane == "swarm" and installation.membership is not None
    assert {(file.path, file.root) for file in read_files(data)} == {
        (each.path, each.root) for each in manifest.entries
    }
    loaded = lt.load_torrent_buffer(data)
    assert loaded.trackers == [f"{url}/announce?token={installation.membership.token}"
                               for url in installation.membership.trackers]  # fmt: skip
    registry = rig.services.swarm._registrar.registry  # type: ignore[attr-defined]
    found = registry.find(manifest.generation)
    assert found is not None and found.info_hashes == {loaded.ti.info_hashes().v2.to_bytes()[:20]}


async def test_an_order_of_another_plane_gets_no_torrent(rig: Rig) -> None:
    headers = await admitted(rig, plane="relay")
    status, text = await rig.get(rig.https + "/install/torrent", headers=headers)
    assert (status, text.count("\n")) == (404, 1) and "swarm plane" in text


async def test_the_torrent_is_the_same_after_a_restart(rig: Rig) -> None:
    headers = await admitted(rig)
    before = await torrent_of(rig, headers)
    async with running(rig.state) as again:
        assert await torrent_of(again, headers) == before


def ask(rig: Rig, torrent: bytes, manifest: str, **more: object) -> PieceRequest:
    found = lt.load_torrent_buffer(torrent).ti.info_hashes().v2.to_bytes().hex()
    return PieceRequest(found, manifest, **{"room": 1 << 20, **more})  # type: ignore[arg-type]


async def post(rig: Rig, token: str, request: PieceRequest) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"}
    async with rig.session.post(rig.http + TARGET, data=request.to_bytes(), headers=headers) as answer:
        return answer.status, await answer.read()


async def test_a_lone_host_gets_every_piece_once_and_right(rig: Rig) -> None:
    headers = await admitted(rig)
    torrent = await torrent_of(rig, headers)
    installation, manifest = await closure_of(rig, headers)
    assert installation.membership is not None
    token, epoch, have, got = installation.membership.token, None, (), {}
    files, number_of = read_files(torrent), {}
    for file in files:
        number_of.update({file.first + piece: (file, piece) for piece in range(file.pieces)})
    while len(got) < len(number_of):
        held = () if epoch is not None and not got and not have else None
        status, body = await post(rig, token, ask(rig, torrent, manifest.digest, epoch=epoch, held=held, have=have))
        assert status == 200, body
        line, _, data = body.partition(b"\n")
        answer = PieceAnswer.parse(line)
        epoch, have = answer.epoch, answer.pieces
        for number in answer.pieces:
            file, piece = number_of[number]
            size = min(262144, file.size - piece * 262144)
            assert number not in got
            got[number], data = data[:size], data[size:]
        assert data == b""
    for file in files:
        whole = b"".join(got[file.first + piece] for piece in range(file.pieces))
        entry = manifest.find(file.path)
        assert entry is not None and hashlib.sha256(whole).hexdigest() == entry.sha256


@pytest.mark.parametrize("token", ["", "e30.e30"])
async def test_without_a_token_nobody_gets_a_piece(rig: Rig, token: str) -> None:
    headers = await admitted(rig)
    torrent = await torrent_of(rig, headers)
    _, manifest = await closure_of(rig, headers)
    status, body = await post(rig, token, ask(rig, torrent, manifest.digest))
    assert status == 403 and body.count(b"\n") == 1


async def test_a_torrent_or_closure_that_is_unknown_is_not_served(rig: Rig) -> None:
    headers = await admitted(rig)
    torrent = await torrent_of(rig, headers)
    installation, manifest = await closure_of(rig, headers)
    assert installation.membership is not None
    token = installation.membership.token
    assert (await post(rig, token, ask(rig, torrent, "0" * 64)))[0] == 404
    assert (await post(rig, token, PieceRequest("0" * 64, manifest.digest)))[0] == 404
    async with rig.session.post(rig.http + TARGET, data=b"{}", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 400


async def test_a_host_gets_the_libtorrent_of_its_python(rig: Rig) -> None:
    headers = await admitted(rig)
    async with rig.session.get(rig.https + "/install/libtorrent", params=HERE, headers=headers) as answer:
        assert answer.status == 200
        library = Library.parse(await answer.read())
    async with rig.session.get(rig.http + f"/install/libtorrent/{library.sha256}") as answer:
        data = await answer.read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (library.size, library.sha256)
    assert library.libtorrent == lt.__version__.rpartition(".")[0] or library.libtorrent == lt.__version__


async def test_a_wheel_an_administrator_provides_is_served_to_the_python_it_is_for(rig: Rig, tmp_path: Path) -> None:
    headers = await admitted(rig)
    query = {**HERE, "python": "3.9"}
    status, text = await rig.get(rig.https + "/install/libtorrent", params=query, headers=headers)
    assert (status, text.count("\n")) == (404, 1)
    assert str(rig.state.wheels) in text and "Python 3.9" in text
    rig.state.wheels.mkdir()
    wheel = rig.state.wheels / "libtorrent-2.1.1-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    with zipfile.ZipFile(tmp_path / "wheel", "w") as archive:
        archive.writestr("libtorrent/__init__.cpython-39-x86_64-linux-gnu.so", b"not really")
    shutil.move(tmp_path / "wheel", wheel)
    async with rig.session.get(rig.https + "/install/libtorrent", params=query, headers=headers) as answer:
        library = Library.parse(await answer.read())
    assert library.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    for other in ({**query, "glibc": "2.12"}, {**query, "machine": "riscv64"}, {**query, "glibc": "musl"}):
        status, _ = await rig.get(rig.https + "/install/libtorrent", params=other, headers=headers)
        assert status == 404
    status, _ = await rig.get(rig.http + f"/install/libtorrent/{'0' * 64}")
    assert status == 404
