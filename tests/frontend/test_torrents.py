"""The swarm plane's addresses: torrent, libtorrent, pieces."""

from __future__ import annotations

import hashlib
import platform
import shutil
import zipfile
from pathlib import Path

import libtorrent as lt

from avalanche.manifest import parse_manifest
from avalanche.pieces import Library
from avalanche.profile import parse_installation
from avalanche.torrent import read_layout
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
    assert {(file.path, file.root) for file in read_layout(data).files} == {
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
