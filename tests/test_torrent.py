"""A torrent made of a manifest's hashes is the one libtorrent makes of the files."""

from __future__ import annotations

import random
from pathlib import Path

import libtorrent as lt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.bencode import decode, encode
from avalanche.errors import ProtocolError
from avalanche.manifest import PIECE, Entry, PieceHasher, hash_stream
from avalanche.torrent import Torrent, read_layout

GENERATION = "g-5d41402abc4b2a76"
SIZES = (1, 16384, 16385, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 700_000, 3 * PIECE + 5)
LENGTHS = 16384, 65536, PIECE
ANNOUNCE = ["http://10.1.1.1:7969/announce?token=e30.e30", "http://10.1.1.2:7969/announce?token=e30.e30"]


def make(sizes: dict[str, int], seed: int = 0, length: int = PIECE) -> tuple[dict[str, bytes], Torrent]:
    content = {path: random.Random(f"{seed} {path}").randbytes(size) for path, size in sizes.items()}
    entries, leaves = [], {}
    for path, data in content.items():
        hasher = PieceHasher()
        hasher.update(data)
        entries.append(Entry.of(hasher.identity(), path))
        leaves[entries[-1].sha256] = bytes(hasher.leaves)
    return content, Torrent(GENERATION, entries, piece_length=length, leaves=leaves)


def of_libtorrent(content: dict[str, bytes], folder: Path, length: int) -> dict[bytes, object]:
    """What libtorrent makes of the same files."""
    for path, data in content.items():
        (folder / GENERATION / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / GENERATION / path).write_bytes(data)
    order = sorted(content, key=lambda path: path.encode().split(b"/"))
    files = [lt.create_file_entry(f"{GENERATION}/{path}", len(content[path])) for path in order]
    made = lt.create_torrent(files, length, lt.create_torrent.v2_only)
    made.set_priv(True)
    lt.set_piece_hashes(made, str(folder))
    document = decode(lt.bencode(made.generate()))
    assert isinstance(document, dict)
    return dict(document)


@pytest.mark.parametrize("length", [16384, 32768, 65536, 131072, PIECE])
def test_it_equals_libtorrents_own_byte_for_byte(tmp_path: Path, length: int) -> None:
    names = ["Packages/a/a-{}.rpm", "Packages/b/libstdc++^{}~1.rpm", "repodata/{}-primary.xml.gz", "KEY-{}"]
    sizes = {names[number % 4].format(size): size for number, size in enumerate(SIZES)}
    content, torrent = make(sizes, length=length)
    theirs = of_libtorrent(content, tmp_path, length)
    assert torrent.info == encode(theirs[b"info"])  # type: ignore[arg-type]
    ours = decode(torrent.to_bytes(ANNOUNCE))
    assert isinstance(ours, dict) and ours[b"piece layers"] == theirs[b"piece layers"]


@settings(max_examples=12, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-zA-Z0-9.+~^-]{1,8}(/[a-zA-Z0-9+-]{1,5}x){0,2}", fullmatch=True).filter(
    lambda path: path not in (".", "..")), st.sampled_from(SIZES),
    min_size=1, max_size=6), st.sampled_from(LENGTHS))  # fmt: skip
def test_libtorrent_loads_every_one_and_sees_the_same_files(sizes: dict[str, int], length: int) -> None:
    folders = {path[:place] for path in sizes for place in range(len(path)) if path[place] == "/"}
    sizes = {path: size for path, size in sizes.items() if path not in folders}
    _, torrent = make(sizes, length=length)
    loaded = lt.load_torrent_buffer(torrent.to_bytes(ANNOUNCE))
    info, layout = loaded.ti, loaded.ti.layout()
    assert info.info_hashes().v2.to_bytes() == torrent.info_hash
    assert not info.info_hashes().has_v1() and info.priv()
    assert info.num_pieces() == len(torrent.pieces)
    assert loaded.trackers == ANNOUNCE
    pad = lt.file_storage.flag_pad_file
    real = [index for index in range(layout.num_files()) if not layout.file_flags(index) & pad]
    files = read_layout(torrent.to_bytes(ANNOUNCE)).files
    assert [(layout.file_size(index), layout.root(index).to_bytes().hex()) for index in real] == [
        (file.size, file.root) for file in files
    ]
    assert [info.map_file(index, 0, 1).piece for index in real] == [file.first for file in files]
    layout_of_ours = read_layout(torrent.to_bytes())
    assert layout_of_ours.piece_length == length
    assert layout_of_ours.sizes == [piece.size for piece in torrent.pieces]
    assert [(entry.path, entry.size) for entry in torrent.entries] == [(file.path, file.size) for file in files]


def test_the_same_objects_give_the_same_bytes_in_whatever_order_they_come() -> None:
    _, torrent = make({f"p{size}": size for size in SIZES})
    for seed in range(5):
        shuffled = list(torrent.entries)
        random.Random(seed).shuffle(shuffled)
        assert Torrent(GENERATION, shuffled).to_bytes(ANNOUNCE) == torrent.to_bytes(ANNOUNCE)


def test_who_announces_where_does_not_change_the_torrent() -> None:
    _, torrent = make({"a": 5, "b": PIECE + 1})
    assert (
        lt.load_torrent_buffer(torrent.to_bytes()).ti.info_hashes()
        == lt.load_torrent_buffer(torrent.to_bytes(ANNOUNCE)).ti.info_hashes()
    )


def test_the_same_bytes_are_in_it_once() -> None:
    content, torrent = make({"b/b": 300_000})
    again = Entry.of(hash_stream([content["b/b"]]), "a/a")
    assert [entry.path for entry in Torrent(GENERATION, [*torrent.entries, again]).entries] == ["b/b"]


def test_pieces_cover_every_file_and_the_last_one_is_short() -> None:
    _, torrent = make({f"p{size}": size for size in SIZES})
    covered: dict[int, int] = {}
    for piece in torrent.pieces:
        assert piece.start == covered.get(piece.file, 0)
        covered[piece.file] = piece.start + piece.size
    assert [covered[number] for number in range(len(SIZES))] == [entry.size for entry in torrent.entries]


@pytest.mark.parametrize(
    "document",
    [
        b"i1e",
        encode({b"info": {b"pieces": b"x" * 20}}),
        encode({b"info": {b"meta version": 2, b"piece length": 2 * PIECE, b"file tree": {}}}),
        encode({b"info": {b"meta version": 2, b"piece length": 8192, b"file tree": {}}}),
        encode({b"info": {b"meta version": 2, b"piece length": 49152, b"file tree": {}}}),
        encode({b"info": {b"meta version": 2, b"piece length": PIECE}}),
        encode({b"info": {b"meta version": 2, b"piece length": PIECE, b"file tree": {b"a": {b"": {b"length": 0}}}}}),
        encode({b"info": {b"meta version": 2, b"piece length": PIECE, b"file tree": {b"a": 1}}}),
        encode({b"info": {b"meta version": 2, b"piece length": PIECE,
                          b"file tree": {b"a": {b"": {b"length": 1, b"pieces root": b"short"}}}}}),
    ],
)  # fmt: skip
def test_what_is_no_torrent_of_ours_is_refused(document: bytes) -> None:
    with pytest.raises(ProtocolError, match="torrent: "):
        read_layout(document)
