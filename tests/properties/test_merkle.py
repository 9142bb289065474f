"""Our hash tree is BitTorrent v2's: whatever libtorrent computes for a file, we compute."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import libtorrent as lt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.manifest import BLOCK, PIECE, hash_stream


def of_libtorrent(data: bytes) -> tuple[str, list[str]]:
    """Root and piece layer of a file, as libtorrent 2 makes a v2 torrent of it."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "repo")
        folder.mkdir()
        (folder / "a.rpm").write_bytes(data)
        torrent = lt.create_torrent([lt.create_file_entry("repo/a.rpm", len(data))], PIECE, lt.create_torrent.v2_only)
        lt.set_piece_hashes(torrent, directory)
        made = torrent.generate()
    root: bytes = made[b"info"][b"file tree"][b"a.rpm"][b""][b"pieces root"]
    layer: bytes = made[b"piece layers"].get(root, b"")
    return root.hex(), [layer[i : i + 32].hex() for i in range(0, len(layer), 32)]


def check(size: int) -> None:
    data = random.Random(size).randbytes(size)
    identity = hash_stream([data])
    assert (identity.root, list(identity.pieces)) == of_libtorrent(data)


@pytest.mark.parametrize("edge", [1, BLOCK, 2 * BLOCK, 5 * BLOCK, PIECE, 2 * PIECE, 3 * PIECE, 4 * PIECE])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_libtorrent_agrees_at_the_edges_of_blocks_and_pieces(edge: int, offset: int) -> None:
    check(max(1, edge + offset))


@settings(max_examples=settings().max_examples // 2)
@given(st.integers(1, 20 * PIECE))
def test_libtorrent_agrees_on_files_of_any_size(size: int) -> None:
    check(size)
