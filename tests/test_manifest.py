"""Manifest: identity, hash tree, wire form, verification."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.errors import ProtocolError, VerificationFailed
from avalanche.manifest import (
    BLOCK,
    MAXIMUM_DOCUMENT,
    PIECE,
    Entry,
    Identity,
    Manifest,
    Verifier,
    check_path,
    hash_stream,
    parse_manifest,
)

GENERATION = "g-0123456789abcdef"
SIZES = (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 12345)


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def entry_of(data: bytes, path: str = "Packages/a.rpm") -> Entry:
    return Entry.of(hash_stream([data]), path)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in [*sizes, len(data)]:
        chunks.append(data[start : start + size])
        start += size
    return chunks


def reference_root(data: bytes, width: int | None = None) -> bytes:
    """BEP 52's tree, written as naively as it can be."""
    leaves = [hashlib.sha256(data[i : i + BLOCK]).digest() for i in range(0, len(data), BLOCK)]
    width = width or 1 << (len(leaves) - 1).bit_length()
    leaves += [bytes(32)] * (width - len(leaves))
    while len(leaves) > 1:
        leaves = [hashlib.sha256(leaves[i] + leaves[i + 1]).digest() for i in range(0, len(leaves), 2)]
    return leaves[0]


@pytest.mark.parametrize("size", SIZES)
def test_an_identity_is_what_a_naive_tree_gives(size: int) -> None:
    data = data_of(size)
    identity = hash_stream([data])
    assert identity.size == size
    assert identity.sha256 == hashlib.sha256(data).hexdigest()
    assert identity.root == reference_root(data).hex()
    pieces = [reference_root(data[i : i + PIECE], PIECE // BLOCK).hex() for i in range(0, size, PIECE)]
    assert list(identity.pieces) == (pieces if size > PIECE else [])


@settings(deadline=None)
@given(size=st.integers(1, 3 * PIECE), cuts=st.lists(st.integers(0, PIECE), max_size=8))
def test_an_identity_does_not_depend_on_how_the_bytes_were_cut(size: int, cuts: list[int]) -> None:
    data = data_of(size)
    assert hash_stream(cut(data, cuts)) == hash_stream([data])


def test_nothing_has_no_identity() -> None:
    with pytest.raises(ValueError, match="size is 0"):
        hash_stream([])


def entries() -> st.SearchStrategy[Entry]:
    hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
    names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
    paths = names.filter(lambda name: "/" not in name and name.strip(".")).map("Packages/{}".format)

    def build(size: int, sha256: str, root: str, piece: str, path: str, nevra: str | None) -> Entry:
        count = -(-size // PIECE) if size > PIECE else 0
        return Entry(path, size, sha256, root, (piece,) * count, nevra)

    nevras = st.none() | st.just("bash-0:5.2-1.x86_64")
    return st.builds(build, st.integers(1, 4 * PIECE), hashes, hashes, hashes, paths, nevras)


@settings(deadline=None)
@given(st.lists(entries(), max_size=5, unique_by=lambda entry: entry.path))
def test_a_manifest_survives_the_wire(found: list[Entry]) -> None:
    manifest = Manifest(GENERATION, tuple(found))
    data = manifest.to_bytes()
    assert parse_manifest(data) == manifest
    assert parse_manifest(data).to_bytes() == data
    assert manifest.digest == hashlib.sha256(data).hexdigest()
    assert manifest.total_bytes == sum(entry.size for entry in found)
    assert all(manifest.find(entry.path) == entry for entry in found)


def test_the_manifest_of_the_protocol_page_is_read_and_written_byte_for_byte() -> None:
    page = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
    example = page.split("```jsonl manifest\n")[1].split("```")[0].encode()
    manifest = parse_manifest(example)
    assert manifest.to_bytes() == example
    assert repr(manifest) == "<Manifest g-5d41402abc4b2a76 2 objects, 0.3 MB>"


@settings(deadline=None)
@given(st.binary(max_size=300) | st.builds(lambda text: (text + "\n").encode(), st.text(max_size=200)))
def test_any_bytes_are_a_manifest_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse_manifest(data)


HEAD = {"manifest": 1, "generation": GENERATION, "piece_length": PIECE, "objects": 1}
ROW = {"path": "Packages/a.rpm", "size": 5, "sha256": "ab" * 32, "root": "cd" * 32, "pieces": []}


def document(head: object, *rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in (head, *rows)).encode()


def test_the_documents_below_are_good_but_for_one_thing() -> None:
    assert parse_manifest(document(HEAD, ROW)).entries[0].path == "Packages/a.rpm"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "cut off"),
        (document(HEAD, ROW)[:-1], "cut off"),
        (document(HEAD), "announces 1 objects, and 0 follow"),
        (document(HEAD, ROW, ROW), "announces 1 objects, and 2 follow"),
        (document({**HEAD, "objects": 2}, ROW, ROW), "'Packages/a.rpm' appears twice"),
        (document({**HEAD, "manifest": 2}, ROW), "version 2"),
        (document({**HEAD, "manifest": True}, ROW), "version True"),
        (document({**HEAD, "piece_length": 1 << 20}, ROW), "piece_length"),
        (document({**HEAD, "generation": "../x"}, ROW), "generation"),
        (document({**HEAD, "more": 1}, ROW), "unknown key 'more'"),
        (document({k: v for k, v in HEAD.items() if k != "objects"}, ROW), "'objects' is missing"),
        (document([], ROW), "not an object"),
        (b"\xff\n", "not JSON"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b'{"manifest": 1, "manifest": 1}\n', "appears twice"),
        (document(HEAD, {**ROW, "extra": 1}), "line 2: unknown key 'extra'"),
        (document(HEAD, {**ROW, "size": 0}), "size is 0"),
        (document(HEAD, {**ROW, "size": 5.0}), "whole number"),
        (document(HEAD, {**ROW, "size": True}), "whole number"),
        (document(HEAD, {**ROW, "size": 1 << 50}), "size is"),
        (document(HEAD, {**ROW, "sha256": "AB" * 32}), "sha256"),
        (document(HEAD, {**ROW, "root": "cd" * 31}), "root"),
        (document(HEAD, {**ROW, "root": None}), "root is not text"),
        (document(HEAD, {**ROW, "pieces": "x"}), "pieces"),
        (document(HEAD, {**ROW, "pieces": ["ab" * 32]}), "1 piece hashes for 5 bytes"),
        (document(HEAD, {**ROW, "size": PIECE + 1}), "0 piece hashes"),
        (document(HEAD, {**ROW, "size": PIECE + 1, "pieces": ["x", "y"]}), "pieces holds"),
        (document(HEAD, {**ROW, "nevra": "bash"}), "nevra"),
        (document(HEAD, {**ROW, "nevra": None}), "nevra is not text"),
    ],
)
def test_a_manifest_that_is_not_exactly_right_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint.replace("(", r"\(")):
        parse_manifest(data)


def test_a_manifest_beyond_the_bound_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        parse_manifest(b"x" * (MAXIMUM_DOCUMENT + 1))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "a//b",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a\nb",
        "a\x00b",
        "a\x7f",
        "a\u2028b",
        "\udc80",
        "x" * 256,
        "a/" * 600 + "a",
    ],
)
def test_a_path_that_leaves_the_generation_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a", "Packages/gcc-c++-1.0~rc1^git.rpm", "Packages/délta 100%+ x.rpm", "a/...", "a/..b"]
)
def test_a_path_with_unusual_but_harmless_characters_is_accepted(path: str) -> None:
    check_path(path)


@settings(deadline=None)
@given(size=st.integers(1, 4 * PIECE), cuts=st.lists(st.integers(0, PIECE), max_size=12))
def test_what_a_verifier_releases_is_a_prefix_of_whole_pieces(size: int, cuts: list[int]) -> None:
    data = data_of(size)
    verifier = Verifier(entry_of(data))
    fed = 0
    for chunk in cut(data, cuts):
        verified = verifier.feed(chunk)
        fed += len(chunk)
        assert verifier.received == fed
        assert verified == (size if fed == size else fed // PIECE * PIECE if fed // PIECE * PIECE < size else fed)
    verifier.finish()
    assert verifier.is_complete


@settings(deadline=None)
@given(
    size=st.integers(1, 3 * PIECE),
    position=st.integers(0, 3 * PIECE - 1),
    chunk=st.sampled_from([1 << 10, 65536, 1 << 20]),
)
def test_no_flipped_bit_is_ever_released_and_another_source_mends_it(size: int, position: int, chunk: int) -> None:
    data = data_of(size)
    position %= size
    bad = bytearray(data)
    bad[position] ^= 1
    verifier = Verifier(entry_of(data))
    with pytest.raises(VerificationFailed) as failure:
        for start in range(0, size, chunk):
            verifier.feed(bad[start : start + chunk])
    assert failure.value.path == "Packages/a.rpm"
    assert failure.value.piece == position // PIECE
    assert verifier.verified == verifier.received == position // PIECE * PIECE
    assert verifier.feed(data[verifier.received :]) == size
    verifier.finish()


def leaves_of(data: bytes, piece: int) -> bytes:
    """The hashes of a piece's blocks."""
    bytes_ = data[piece * PIECE : (piece + 1) * PIECE]
    return b"".join(hashlib.sha256(bytes_[at : at + BLOCK]).digest() for at in range(0, len(bytes_), BLOCK))


@settings(deadline=None)
@given(
    size=st.integers(1, 3 * PIECE),
    trusted=st.sets(st.integers(0, 2)),
    flips=st.lists(st.integers(0, 3 * PIECE - 1), max_size=3),
    chunk=st.sampled_from([1000, BLOCK, 65536]),
    rewinds=st.sets(st.integers(0, 200), max_size=4),
)
def test_with_block_hashes_every_block_is_checked_as_it_comes_whatever_fails_between(
    size: int, trusted: set[int], flips: list[int], chunk: int, rewinds: set[int]
) -> None:
    data = data_of(size)
    bad = {position % size for position in flips}
    verifier, step = Verifier(entry_of(data)), 0
    while not verifier.is_complete:
        at, step = verifier.received, step + 1
        piece = at // PIECE
        if step in rewinds:
            verifier.rewind()
            assert verifier.received == verifier.checked
            continue
        if piece in trusted and at == verifier.checked:
            verifier.trust(leaves_of(data, piece))
        end = min(at + chunk, size, (piece + 1) * PIECE)
        sent = bytearray(data[at:end])
        wrong = {position for position in bad if at <= position < end}
        for position in wrong:
            sent[position - at] ^= 1
        bad -= wrong
        try:
            verifier.feed(sent)
        except VerificationFailed as failure:
            assert failure.piece == piece
            assert verifier.received == verifier.checked
        assert verifier.verified <= verifier.checked <= verifier.received
        assert verifier.checked % BLOCK == 0 or verifier.is_complete
        if piece in trusted and not bad and not wrong and not flips and not rewinds:
            assert verifier.received - verifier.checked < BLOCK
    assert verifier.leaves == b"".join(leaves_of(data, piece) for piece in range(-(-size // PIECE)))


def test_a_bad_block_costs_itself_and_not_the_piece_when_block_hashes_came_first() -> None:
    data = data_of(PIECE + 3 * BLOCK)
    verifier = Verifier(entry_of(data))
    verifier.feed(data[:PIECE])
    verifier.trust(leaves_of(data, 1))
    with pytest.raises(VerificationFailed, match="block 17 is not"):
        verifier.feed(data[PIECE : PIECE + BLOCK] + bytes(BLOCK))
    assert (verifier.verified, verifier.checked, verifier.received) == (PIECE, PIECE + BLOCK, PIECE + BLOCK)
    assert verifier.feed(data[PIECE + BLOCK :]) == len(data)


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[:-32], lambda rows: rows + rows[:32], lambda rows: rows[32:] + rows[:32], lambda rows: b""],
)
def test_block_hashes_that_are_not_the_piece_s_are_refused_and_change_nothing(
    change: Callable[[bytes], bytes],
) -> None:
    data = data_of(PIECE + 3 * BLOCK)
    verifier = Verifier(entry_of(data))
    with pytest.raises(VerificationFailed, match="block hashes that are not those of piece 0"):
        verifier.trust(change(leaves_of(data, 0)))
    assert verifier.feed(data) == len(data)


def test_block_hashes_that_come_late_are_refused() -> None:
    data = data_of(PIECE)
    verifier = Verifier(entry_of(data))
    verifier.feed(data[:5])
    with pytest.raises(ValueError, match="in the middle"):
        verifier.trust(leaves_of(data, 0))


def test_right_pieces_under_a_wrong_sha256_keep_the_last_piece_back() -> None:
    data = data_of(2 * PIECE + 5)
    identity = hash_stream([data])
    wrong = Identity(identity.size, "00" * 32, identity.root, identity.pieces)
    verifier = Verifier(Entry.of(wrong, "a"))
    with pytest.raises(VerificationFailed, match="SHA-256") as failure:
        verifier.feed(data)
    assert failure.value.piece is None
    assert verifier.verified == 2 * PIECE


def test_bytes_beyond_the_end_are_refused() -> None:
    verifier = Verifier(entry_of(b"bash"))
    assert verifier.feed(b"bash") == 4
    with pytest.raises(VerificationFailed, match="more than its 4 bytes"):
        verifier.feed(b"!")


def test_a_short_stream_is_refused_at_its_end() -> None:
    data = data_of(PIECE + 10)
    verifier = Verifier(entry_of(data))
    verifier.feed(data[:-1])
    with pytest.raises(VerificationFailed, match=rf"only {PIECE + 9} of {PIECE + 10} bytes") as failure:
        verifier.finish()
    assert failure.value.piece == 1
