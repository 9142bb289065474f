"""The hashes of blocks are kept, prove themselves, and are made anew where they do not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.adapters.leaves import Leaves
from avalanche.adapters.store import Store
from avalanche.errors import RepositoryError
from avalanche.manifest import BLOCK, PIECE, Entry, PieceHasher, climbs_to, hash_stream

SIZES = (1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5)


def stored(tmp_path: Path, size: int) -> tuple[Store, Entry]:
    source = tmp_path / "object"
    source.write_bytes(random.Random(size).randbytes(size))
    store = Store(tmp_path / "store")
    return store, Entry.of(store.put(source), "object")


@pytest.mark.parametrize("size", SIZES)
def test_what_comes_into_the_store_is_not_hashed_again(tmp_path: Path, size: int) -> None:
    store, entry = stored(tmp_path, size)
    assert climbs_to(store.leaves.of(entry, tmp_path / "nowhere"), entry)


@pytest.mark.parametrize("size", SIZES)
def test_leaves_that_are_gone_or_damaged_are_made_anew_and_kept(tmp_path: Path, size: int) -> None:
    store, entry = stored(tmp_path, size)
    right = store.leaves.of(entry, tmp_path / "nowhere")
    files = list(store.leaves.root.glob("??/*"))
    assert len(files) == (size > BLOCK)
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(right[:-1] + b"x"),
        lambda path: path.write_bytes(b""),
    ):
        for path in files:
            path.chmod(0o644)
            damage(path)
        assert store.leaves.of(entry, store.path(entry.sha256)) == right
        assert store.leaves.of(entry, tmp_path / "nowhere") == right


def test_a_file_that_is_not_the_objects_is_refused(tmp_path: Path) -> None:
    entry = Entry.of(hash_stream([bytes(PIECE + 1)]), "object")
    (tmp_path / "other").write_bytes(bytes(PIECE) + b"x")
    leaves = Leaves(tmp_path / "leaves")
    with pytest.raises(RepositoryError, match="is damaged; import it again"):
        leaves.of(entry, tmp_path / "other")
    with pytest.raises(RepositoryError, match="cannot be read"):
        leaves.of(entry, tmp_path / "nowhere")


def test_leaves_go_with_their_object(tmp_path: Path) -> None:
    store, entry = stored(tmp_path, PIECE)
    (tmp_path / "link").hardlink_to(store.path(entry.sha256))
    store.collect()
    assert list(store.leaves.root.glob("??/*"))
    (tmp_path / "link").unlink()
    store.collect()
    assert not list(store.leaves.root.glob("??/*"))


@given(st.sampled_from(SIZES), st.data())
def test_no_other_leaves_climb_to_an_object(size: int, data: st.DataObject) -> None:
    hasher = PieceHasher()
    hasher.update(bytes(size))
    entry, leaves = Entry.of(hasher.identity(), "object"), bytes(hasher.leaves)
    assert climbs_to(leaves, entry)
    place = data.draw(st.integers(0, len(leaves) - 1))
    assert not climbs_to(leaves[:place] + bytes([leaves[place] ^ 1]) + leaves[place + 1 :], entry)
    assert not climbs_to(leaves + bytes(32), entry) and not climbs_to(leaves[:-32], entry)
