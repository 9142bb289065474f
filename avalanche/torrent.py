"""The torrent of a generation: BitTorrent version 2 (BEP 52), made of hashes that are known, without reading a byte.

One torrent covers the union of the closures that hosts of a generation install; a host takes the files it wants. The
same objects give the same bytes, and so the same info-hash, on every frontend and after every restart.
Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Optional, Union

from avalanche.bencode import Encodable, Value, decode, encode
from avalanche.errors import ProtocolError
from avalanche.manifest import BLOCK, MAXIMUM_DOCUMENT, MAXIMUM_SIZE, PIECE, Entry, layer

HASH_BYTES = 32
FEWEST_PIECES = 1024
"""A swarm lags behind its source by the time in which a piece comes to all; so it is cut into at least so many."""
SHORTEST = 32768
"""Smaller pieces cost more than they bring: each is announced to every peer."""


def piece_length_for(total: int) -> int:
    """Into pieces of how many bytes so many are cut: a power of two, at most the manifest's.

    >>> piece_length_for(32_000_000), piece_length_for(100_000_000), piece_length_for(3_000_000_000)
    (32768, 65536, 262144)
    """
    return min(max(1 << (max(total // FEWEST_PIECES, 1).bit_length() - 1), SHORTEST), PIECE)


class Piece(NamedTuple):
    """One piece: of which file, from which byte, how many bytes. The last one of a file is shorter."""

    file: int
    start: int
    size: int


class TorrentFile(NamedTuple):
    """One file of a torrent: ``root`` is hexadecimal; it has ``pieces``, of which ``first`` is the first one's index.
    Every file begins with a piece of its own.
    """

    path: str
    size: int
    root: str
    first: int
    pieces: int


class Layout(NamedTuple):
    """What a torrent is cut into."""

    piece_length: int
    files: tuple[TorrentFile, ...]

    @property
    def sizes(self) -> list[int]:
        """The bytes of every piece."""
        length = self.piece_length
        return [min(length, file.size - start) for file in self.files for start in range(0, file.size, length)]


class Torrent:
    """The torrent over some objects of a generation.

    Args:
        generation: its id, which is the torrent's name.
        entries: the objects; of those with the same bytes only the first path is in the torrent.
        piece_length: a power of two from a block to the manifest's pieces.
        leaves: the hashes of the blocks of objects larger than ``piece_length``, 32 bytes each, by SHA-256; for pieces
            as large as the manifest's none are needed.
    """

    def __init__(
        self,
        generation: str,
        entries: Iterable[Entry],
        *,
        piece_length: int = PIECE,
        leaves: Optional[Mapping[str, bytes]] = None,
    ) -> None:
        unique: dict[str, Entry] = {}
        for entry in entries:
            unique.setdefault(entry.sha256, entry)
        self.generation = generation
        self.piece_length = piece_length
        self._leaves = leaves or {}
        self.entries = tuple(sorted(unique.values(), key=lambda entry: entry.path.encode("utf-8").split(b"/")))
        """In the torrent's order, which is that of the names at every level (BEP 52)."""

    def __repr__(self) -> str:
        return f"<Torrent {self.generation} {len(self.entries)} files, {len(self.pieces)} pieces>"

    @cached_property
    def info(self) -> bytes:
        """The bencoded info dictionary: what the info-hash is the hash of."""
        tree: dict[bytes, Encodable] = {}
        for entry in self.entries:
            *folders, name = entry.path.encode("utf-8").split(b"/")
            level = tree
            for folder in folders:
                deeper = level.setdefault(folder, {})
                assert isinstance(deeper, dict)
                level = deeper
            level[name] = {b"": {b"length": entry.size, b"pieces root": bytes.fromhex(entry.root)}}
        document: dict[bytes, Encodable] = {
            b"file tree": tree,
            b"meta version": 2,
            b"name": self.generation.encode("ascii"),
            b"piece length": self.piece_length,
            b"private": 1,
        }
        return encode(document)

    @cached_property
    def info_hash(self) -> bytes:
        """32 bytes; trackers and peers use the first 20 of them."""
        return hashlib.sha256(self.info).digest()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Every piece by its index."""
        return tuple(
            Piece(number, start, min(self.piece_length, entry.size - start))
            for number, entry in enumerate(self.entries)
            for start in range(0, entry.size, self.piece_length)
        )

    @cached_property
    def _layers(self) -> dict[bytes, Encodable]:
        large = (entry for entry in self.entries if entry.size > self.piece_length)
        return {bytes.fromhex(entry.root): self._layer(entry) for entry in large}

    def _layer(self, entry: Entry) -> bytes:
        """The hashes of an object's pieces; those of the manifest's pieces stand in the manifest."""
        if self.piece_length == PIECE:
            return bytes.fromhex("".join(entry.pieces))
        return layer(self._leaves[entry.sha256], self.piece_length)

    def to_bytes(self, announce: Sequence[str] = ()) -> bytes:
        """Write the ``.torrent`` file for who announces to these addresses, the first one first."""
        document: dict[bytes, Encodable] = {b"piece layers": self._layers}
        if announce:
            document[b"announce"] = announce[0].encode("ascii")
            document[b"announce-list"] = [[url.encode("ascii")] for url in announce]
        # The info dictionary goes in as it was hashed.
        head, tail = encode({**document, b"info": 0}).split(b"4:infoi0e")
        return head + b"4:info" + self.info + tail


def read_layout(data: bytes) -> Layout:
    """The files of a ``.torrent`` of ours, in the torrent's order.

    Raises:
        ProtocolError: it is no version 2 torrent, or its pieces are not those of a manifest nor parts of them.
    """
    if len(data) > MAXIMUM_DOCUMENT:
        raise ProtocolError(f"torrent: {len(data)} bytes, more than the {MAXIMUM_DOCUMENT} that are read")
    document = decode(data)
    info = document.get(b"info") if isinstance(document, dict) else None
    if not isinstance(info, dict) or info.get(b"meta version") != 2:
        raise ProtocolError("torrent: not a torrent of BitTorrent version 2")
    length = info.get(b"piece length")
    if not isinstance(length, int) or not BLOCK <= length <= PIECE or length & (length - 1):
        raise ProtocolError(f"torrent: piece length is {length!r}, and must be a power of two up to {PIECE}")
    tree = info.get(b"file tree")
    if not isinstance(tree, dict):
        raise ProtocolError("torrent: no file tree")
    files: list[TorrentFile] = []
    _collect(tree, (), length, files)
    return Layout(length, tuple(files))


def _collect(tree: Mapping[bytes, Value], folders: tuple[bytes, ...], length: int, files: list[TorrentFile]) -> None:
    for name, value in tree.items():
        if not name or not isinstance(value, dict):
            raise ProtocolError("torrent: the file tree is malformed")
        if b"" not in value:
            _collect(value, (*folders, name), length, files)
            continue
        facts: Union[Value, None] = value[b""]
        size = facts.get(b"length") if isinstance(facts, dict) else None
        root = facts.get(b"pieces root") if isinstance(facts, dict) else None
        if not isinstance(size, int) or not 0 < size <= MAXIMUM_SIZE or not isinstance(root, bytes):
            raise ProtocolError("torrent: a file has no size or no root")
        if len(root) != HASH_BYTES or len(value) != 1:
            raise ProtocolError("torrent: a file's root is not a SHA-256")
        path = b"/".join((*folders, name)).decode("utf-8", "replace")
        first = files[-1].first + files[-1].pieces if files else 0
        files.append(TorrentFile(path, size, root.hex(), first, -(-size // length)))
