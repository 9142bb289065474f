"""The manifest: what a generation holds, and the proof of every byte (docs/protocol.md, section 4).

Knows the wire form, BEP 52's hash tree, and how to check bytes as they arrive. Fetches nothing and stores nothing.
Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional, Union

from avalanche.errors import ManifestContradiction, ProtocolError, VerificationFailed

BLOCK = 16384
"""Bytes under one leaf of the hash tree (BEP 52)."""
PIECE = 262144
"""Bytes under one piece hash: the unit that is checked, released and shared."""
MAXIMUM_DOCUMENT = 64 << 20
"""Bytes of the largest manifest that is read: a 50 GB tree of 20,000 packages needs about 26 MB."""
MAXIMUM_SIZE = 1 << 40
"""Bytes of the largest object."""
MAXIMUM_PATH = 1024
"""Bytes of the longest path, in UTF-8."""

Buffer = Union[bytes, bytearray, memoryview]

_BLOCKS_PER_PIECE = PIECE // BLOCK
_PIECE_HEIGHT = _BLOCKS_PER_PIECE.bit_length() - 1
_ZERO_LEAF = bytes(32)
_HASH = re.compile(r"[0-9a-f]{64}")
_GENERATION = re.compile(r"g-[0-9a-f]{16}")
_NEVRA = re.compile(r"[^\s/]+-[0-9]+:[^\s/-]+-[^\s/-]+\.[^\s/.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Identity:
    """What the bytes of an object are, whatever it is called.

    Attributes:
        size: bytes, at least 1.
        sha256: hexadecimal SHA-256 of the whole object.
        root: hexadecimal root of BEP 52's tree.
        pieces: hexadecimal hashes of the piece layer; empty when the object fits into one piece.
    """

    size: int
    sha256: str
    root: str
    pieces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAXIMUM_SIZE:
            raise ValueError(f"size is {self.size}, and must be from 1 to {MAXIMUM_SIZE}")
        for name, value in (("sha256", self.sha256), ("root", self.root)):
            if not _HASH.fullmatch(value):
                raise ValueError(f"{name} is not 64 lower-case hexadecimal digits")
        if not all(map(_HASH.fullmatch, self.pieces)):
            raise ValueError("pieces holds something that is not 64 lower-case hexadecimal digits")
        expected = -(-self.size // PIECE) if self.size > PIECE else 0
        if len(self.pieces) != expected:
            raise ValueError(f"{len(self.pieces)} piece hashes for {self.size} bytes, which have {expected}")


@dataclass(frozen=True)
class Entry:
    """One object of a generation: an `Identity` under a path.

    Attributes:
        path: where it is below the generation's address; relative, ``/`` between components.
        size, sha256, root, pieces: its `Identity`.
        nevra: ``name-epoch:version-release.arch`` for a package, else None.
    """

    path: str
    size: int
    sha256: str
    root: str
    pieces: tuple[str, ...] = ()
    nevra: Optional[str] = None

    def __post_init__(self) -> None:
        Identity(self.size, self.sha256, self.root, self.pieces)
        check_path(self.path)
        if self.nevra is not None and not _NEVRA.fullmatch(self.nevra):
            raise ValueError(f"nevra {self.nevra!r} is not name-epoch:version-release.arch")

    @classmethod
    def of(cls, identity: Identity, path: str, nevra: Optional[str] = None) -> Entry:
        """``identity``'s bytes under a path."""
        return cls(path, identity.size, identity.sha256, identity.root, identity.pieces, nevra)

    @property
    def piece_hashes(self) -> tuple[str, ...]:
        """The hash of every piece, in order: the piece layer, or the root when there is one piece."""
        return self.pieces or (self.root,)


@dataclass(frozen=True)
class Manifest:
    """The objects of one generation, or of one closure in it, in canonical order.

    Attributes:
        generation: the generation's id, ``g-`` and 16 hexadecimal digits.
        entries: the objects in the order in which every host prefetches; paths are unique.
    """

    generation: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if not _GENERATION.fullmatch(self.generation):
            raise ValueError(f"generation {self.generation!r} is not g- and 16 hexadecimal digits")
        if len(self._by_path) != len(self.entries):
            twice, _ = Counter(entry.path for entry in self.entries).most_common(1)[0]
            raise ValueError(f"path {twice!r} appears twice")

    def find(self, path: str) -> Optional[Entry]:
        """The object at ``path``, or None."""
        return self._by_path.get(path)

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all objects together."""
        return sum(entry.size for entry in self.entries)

    def to_bytes(self) -> bytes:
        """The wire form; the same manifest always has the same bytes."""
        return self._document

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the wire form: what a profile document pins."""
        # Line by line: an installing host has no use for the whole, and its memory is its cache.
        whole = hashlib.sha256()
        for line in self._lines():
            whole.update(line)
        return whole.hexdigest()

    @cached_property
    def _by_path(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.entries}

    @cached_property
    def _document(self) -> bytes:
        return b"".join(self._lines())

    def _lines(self) -> Iterator[bytes]:
        head = {"manifest": 1, "generation": self.generation, "piece_length": PIECE, "objects": len(self.entries)}
        yield json.dumps(head).encode("ascii") + b"\n"
        for entry in self.entries:
            yield json.dumps(_row(entry)).encode("ascii") + b"\n"

    def __repr__(self) -> str:
        return f"<Manifest {self.generation} {len(self.entries)} objects, {self.total_bytes / 1e6:.1f} MB>"


def check_path(path: str) -> None:
    """Accept a path that stays below the generation's address, and nothing else.

    Raises:
        ValueError: ``path`` is too long, absolute, not Unicode, or has a control character or an empty, ``.`` or ``..``
            component.
    """
    if not path or _CONTROL.search(path):
        raise ValueError(f"path {path!r} is empty or has a control character")
    if len(path.encode("utf-8")) > MAXIMUM_PATH:
        raise ValueError(f"path {path[:60]!r}... is longer than {MAXIMUM_PATH} bytes")
    components = path.split("/")
    if any(component in ("", ".", "..") or len(component.encode("utf-8")) > 255 for component in components):
        raise ValueError(f"path {path!r} must be relative, without empty, '.', '..' or overlong components")


def parse_manifest(data: bytes) -> Manifest:
    """Read the wire form.

    Raises:
        ProtocolError: anything but a complete manifest of version 1; names the line.
    """
    if len(data) > MAXIMUM_DOCUMENT:
        raise ProtocolError(f"manifest: {len(data)} bytes, more than the {MAXIMUM_DOCUMENT} that are read")
    lines = data.split(b"\n")
    if lines.pop() != b"" or not lines:
        raise ProtocolError("manifest: cut off: the last line has no line end")
    head = _parse_row(lines[0], 1, required=("manifest", "generation", "piece_length", "objects"))
    if head["manifest"] != 1 or type(head["manifest"]) is not int:
        raise ProtocolError(f"manifest line 1: version {head['manifest']!r}, and this program reads version 1")
    if head["piece_length"] != PIECE:
        raise ProtocolError(f"manifest line 1: piece_length is {head['piece_length']!r}, and must be {PIECE}")
    if head["objects"] != len(lines) - 1:
        raise ProtocolError(f"manifest line 1: announces {head['objects']!r} objects, and {len(lines) - 1} follow")
    entries = tuple(_parse_entry(line, number) for number, line in enumerate(lines[1:], start=2))
    try:
        return Manifest(_text(head, "generation"), entries)
    except ValueError as error:
        raise ProtocolError(f"manifest: {error}") from None


def _row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"path": entry.path, "size": entry.size, "sha256": entry.sha256, "root": entry.root}
    row["pieces"] = list(entry.pieces)
    if entry.nevra is not None:
        row["nevra"] = entry.nevra
    return row


def _parse_entry(line: bytes, number: int) -> Entry:
    row = _parse_row(line, number, required=("path", "size", "sha256", "root", "pieces"), optional=("nevra",))
    pieces = row["pieces"]
    try:
        if type(row["size"]) is not int:
            raise ValueError("size is not a whole number")
        if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
            raise ValueError("pieces is not a list of text")
        nevra = _text(row, "nevra") if "nevra" in row else None
        return Entry(_text(row, "path"), row["size"], _text(row, "sha256"), _text(row, "root"), tuple(pieces), nevra)
    except ValueError as error:
        raise ProtocolError(f"manifest line {number}: {error}") from None


def _parse_row(
    line: bytes, number: int, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"manifest line {number}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ProtocolError(f"manifest line {number}: not an object")
    for key in row:
        if key not in required and key not in optional:
            raise ProtocolError(f"manifest line {number}: unknown key {key!r}")
    for key in required:
        if key not in row:
            raise ProtocolError(f"manifest line {number}: {key!r} is missing")
    return row


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key appears twice")
    return row


def _text(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is not text")
    return value


def _climb(hashes: list[bytes], pad: bytes, height: int) -> bytes:
    """The top of ``height`` levels over ``hashes``, the missing ones being ``pad``."""
    for _ in range(height):
        if len(hashes) % 2:
            hashes = [*hashes, pad]
        hashes = [hashlib.sha256(left + right).digest() for left, right in zip(hashes[::2], hashes[1::2])]
        pad = hashlib.sha256(pad + pad).digest()
    return hashes[0]


def _height(count: int) -> int:
    """Levels over ``count`` hashes up to a single one."""
    return (count - 1).bit_length()


_ZERO_PIECE = _climb([_ZERO_LEAF], _ZERO_LEAF, _PIECE_HEIGHT)


class PieceHasher:
    """Compute an object's identity in one pass, from chunks of any size. Copies no bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._whole = hashlib.sha256()
        self.leaves = bytearray()
        """The hashes of the blocks so far, 32 bytes each; of all of them after `identity`."""
        self._leaf = hashlib.sha256()
        self._leaves: list[bytes] = []
        self._pieces: list[bytes] = []

    def update(self, data: Buffer) -> None:
        """Take the next bytes of the object."""
        self._whole.update(data)
        view = memoryview(data)
        start = 0
        while start < len(view):
            filled = self.size % BLOCK
            taken = min(BLOCK - filled, len(view) - start)
            self._leaf.update(view[start : start + taken])
            start += taken
            self.size += taken
            if filled + taken == BLOCK:
                self._end_leaf()

    def _end_leaf(self) -> None:
        self._leaves.append(self._leaf.digest())
        self.leaves += self._leaves[-1]
        self._leaf = hashlib.sha256()
        if len(self._leaves) == _BLOCKS_PER_PIECE:
            self._pieces.append(_climb(self._leaves, _ZERO_LEAF, _PIECE_HEIGHT))
            self._leaves = []

    def identity(self) -> Identity:
        """The identity of what was taken; the hasher is spent.

        Raises:
            ValueError: nothing was taken (BEP 52 gives an empty file no root).
        """
        if self.size % BLOCK:
            self._end_leaf()
        if self.size <= PIECE:
            leaves = self._leaves or self._pieces
            root = _climb(leaves, _ZERO_LEAF, _height(len(leaves))) if leaves else _ZERO_LEAF
            return Identity(self.size, self._whole.hexdigest(), root.hex())
        if self._leaves:
            self._pieces.append(_climb(self._leaves, _ZERO_LEAF, _PIECE_HEIGHT))
        root = _climb(self._pieces, _ZERO_PIECE, _height(len(self._pieces)))
        return Identity(self.size, self._whole.hexdigest(), root.hex(), tuple(piece.hex() for piece in self._pieces))


def layer(leaves: Buffer, piece_length: int) -> bytes:
    """The hashes of pieces of ``piece_length`` bytes, 32 bytes each, from those of an object's blocks.

    Args:
        piece_length: a power of two, at least a block and less than the object's size.
    """
    blocks = piece_length // BLOCK
    height = blocks.bit_length() - 1
    hashes = [bytes(leaves[start : start + 32]) for start in range(0, len(leaves), 32)]
    return b"".join(
        _climb(hashes[start : start + blocks], _ZERO_LEAF, height) for start in range(0, len(hashes), blocks)
    )


def climbs_to(leaves: Buffer, entry: Entry) -> bool:
    """Are these the hashes of the blocks of an object?"""
    count = -(-entry.size // BLOCK)
    if len(leaves) != 32 * count:
        return False
    if entry.pieces:
        return layer(leaves, PIECE).hex() == "".join(entry.pieces)
    hashes = [bytes(leaves[start : start + 32]) for start in range(0, len(leaves), 32)]
    return _climb(hashes, _ZERO_LEAF, _height(count)).hex() == entry.root


def hash_stream(chunks: Iterable[Buffer]) -> Identity:
    """The identity of an object given as chunks of any size.

    Raises:
        ValueError: the object is empty.
    """
    hasher = PieceHasher()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.identity()


class Verifier:
    """Check an object's bytes in the order they arrive, and say which prefix may be released.

    Keeps no bytes: the caller holds them until they are verified. A piece is released when its hash is the manifest's;
    the last one only when the SHA-256 of the whole object is too. Whoever has a piece knows the hashes of its blocks;
    with these (`trust`) each block of it is checked as it comes, and may be passed on to hosts that check it too. After
    a `VerificationFailed` the verifier stands at `checked` again: feed it the bytes from there on, from another source.

    >>> entry = Entry.of(hash_stream([b"bash"]), "Packages/bash.rpm")
    >>> verifier = Verifier(entry)
    >>> verifier.feed(b"ba"), verifier.feed(b"sh"), verifier.is_complete
    (0, 4, True)
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._expected = entry.piece_hashes
        self._height = _PIECE_HEIGHT if entry.pieces else _height(-(-entry.size // BLOCK))
        self.verified = 0
        """Bytes from the start that may be released."""
        self.checked = 0
        """Bytes from the start whose blocks are proven: at least `verified`, and a whole number of blocks."""
        self.leaves = bytearray()
        """The hashes of the blocks, 32 bytes each, of every piece for which they are proven, from the start."""
        self._received = 0
        self._whole_verified = hashlib.sha256()
        self._whole_checked = hashlib.sha256()
        self._whole = hashlib.sha256()
        self._leaf = hashlib.sha256()
        self._leaves: list[bytes] = []

    @property
    def received(self) -> int:
        """Bytes taken so far, `verified` among them: where the next byte belongs."""
        return self._received

    @property
    def is_complete(self) -> bool:
        """Is every byte verified?"""
        return self.verified == self._entry.size

    def trust(self, leaves: Buffer) -> None:
        """Take the hashes of the blocks of the piece that is coming, from anybody; `received` must equal `checked`.

        Raises:
            VerificationFailed: they are not that piece's.
            ValueError: the bytes they are about have begun to come.
        """
        if self._received != self.checked:
            raise ValueError("block hashes came in the middle of a block")
        if self._is_proven or self.is_complete:
            return
        hashes = [bytes(leaves[start : start + 32]) for start in range(0, len(leaves), 32)]
        piece = self.verified // PIECE
        blocks = -(-min(PIECE, self._entry.size - self.verified) // BLOCK)
        if len(leaves) != 32 * blocks or self._climb(hashes) != self._expected[piece]:
            raise self._failure(f"block hashes that are not those of piece {piece}", piece=piece)
        self.leaves += leaves

    def feed(self, data: Buffer) -> int:
        """Take the next bytes and return how many bytes from the start are now verified.

        Raises:
            VerificationFailed: a block, a piece or the length is not the manifest's.
            ManifestContradiction: all pieces are, and the whole object is not.
        """
        view = memoryview(data)
        start = 0
        while start < len(view):
            room = min(BLOCK - self._received % BLOCK, self._entry.size - self._received)
            if room == 0:
                raise self._failure(f"more than its {self._entry.size} bytes arrived", piece=None)
            taken = min(room, len(view) - start)
            block = view[start : start + taken]
            self._leaf.update(block)
            self._whole.update(block)
            start += taken
            self._received += taken
            if taken == room:
                self._end_leaf()
        return self.verified

    def finish(self) -> None:
        """Accept the end of the stream.

        Raises:
            VerificationFailed: bytes are missing.
        """
        if not self.is_complete:
            received = self._received
            raise self._failure(f"only {received} of {self._entry.size} bytes arrived", piece=self.verified // PIECE)

    def rewind(self) -> None:
        """Forget what was taken beyond `checked`: the next bytes begin there."""
        self._received = self.checked
        self._whole = self._whole_checked.copy()
        self._leaf = hashlib.sha256()
        del self._leaves[(self.checked - self.verified) // BLOCK :]

    @property
    def _is_proven(self) -> bool:
        """Are the hashes of the blocks known for the piece that is coming?"""
        return len(self.leaves) * BLOCK > self.verified * 32

    def _climb(self, leaves: list[bytes]) -> str:
        return _climb(leaves, _ZERO_LEAF, self._height).hex()

    def _end_leaf(self) -> None:
        leaf, self._leaf = self._leaf.digest(), hashlib.sha256()
        self._leaves.append(leaf)
        piece, is_last = self.verified // PIECE, self._received == self._entry.size
        is_piece = is_last or len(self._leaves) == _BLOCKS_PER_PIECE
        if self._is_proven:
            place = 32 * ((self._received - 1) // BLOCK)
            if leaf != self.leaves[place : place + 32]:
                raise self._failure(f"block {place // 32} is not what the manifest says", piece=piece)
        elif not is_piece:
            return
        elif self._climb(self._leaves) != self._expected[piece]:
            raise self._failure(f"piece {piece} is not what the manifest says", piece=piece)
        if is_last and self._whole.hexdigest() != self._entry.sha256:
            self.checked, self._whole_checked = self.verified, self._whole_verified
            self.rewind()
            reason = "every piece is right, but the SHA-256 of the whole is not the manifest's: publish it again"
            raise ManifestContradiction(f"{self._entry.path}: {reason}", path=self._entry.path)
        if is_piece and not self._is_proven:
            self.leaves += b"".join(self._leaves)
        self.checked, self._whole_checked = self._received, self._whole.copy()
        if is_piece:
            self._leaves = []
            self.verified, self._whole_verified = self.checked, self._whole_checked

    def _failure(self, reason: str, *, piece: Optional[int]) -> VerificationFailed:
        self.rewind()
        return VerificationFailed(f"{self._entry.path}: {reason}", path=self._entry.path, piece=piece)
