"""The torrent of a generation: BitTorrent version 2 (BEP 52), made of the manifest's hashes without reading a byte.

One torrent covers the union of the closures that hosts of a generation install; a host takes the files it wants. The
same objects give the same bytes, and so the same info-hash, on every frontend and after every restart.
Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Union

from avalanche.bencode import Encodable, Value, decode, encode
from avalanche.errors import ProtocolError
from avalanche.manifest import MAXIMUM_DOCUMENT, MAXIMUM_SIZE, PIECE, Entry

HASH_BYTES = 32


class Piece(NamedTuple):
    """One piece: of which file, from which byte, how many bytes. The last one of a file is shorter."""

    file: int
    start: int
    size: int


class TorrentFile(NamedTuple):
    """One file of a torrent; ``first`` is the index of its first piece, ``root`` hexadecimal."""

    path: str
    size: int
    root: str
    first: int

    @property
    def pieces(self) -> int:
        """How many pieces it has; every file begins with a piece of its own."""
        return -(-self.size // PIECE)


class Torrent:
    """The torrent over some objects of a generation.

    Args:
        generation: its id, which is the torrent's name.
        entries: the objects; of those with the same bytes only the first path is in the torrent.
    """

    def __init__(self, generation: str, entries: Iterable[Entry]) -> None:
        unique: dict[str, Entry] = {}
        for entry in entries:
            unique.setdefault(entry.sha256, entry)
        self.generation = generation
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
            b"piece length": PIECE,
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
            Piece(number, start, min(PIECE, entry.size - start))
            for number, entry in enumerate(self.entries)
            for start in range(0, entry.size, PIECE)
        )

    def to_bytes(self, announce: Sequence[str] = ()) -> bytes:
        """Write the ``.torrent`` file for who announces to these addresses, the first one first."""
        layers = {
            bytes.fromhex(entry.root): b"".join(map(bytes.fromhex, entry.pieces))
            for entry in self.entries
            if entry.pieces
        }
        document: dict[bytes, Encodable] = {b"piece layers": layers}
        if announce:
            document[b"announce"] = announce[0].encode("ascii")
            document[b"announce-list"] = [[url.encode("ascii")] for url in announce]
        # The info dictionary goes in as it was hashed.
        head, tail = encode({**document, b"info": 0}).split(b"4:infoi0e")
        return head + b"4:info" + self.info + tail


def read_files(data: bytes) -> tuple[TorrentFile, ...]:
    """The files of a ``.torrent`` of ours, in the torrent's order.

    Raises:
        ProtocolError: it is no version 2 torrent with this program's piece length.
    """
    if len(data) > MAXIMUM_DOCUMENT:
        raise ProtocolError(f"torrent: {len(data)} bytes, more than the {MAXIMUM_DOCUMENT} that are read")
    document = decode(data)
    info = document.get(b"info") if isinstance(document, dict) else None
    if not isinstance(info, dict) or info.get(b"meta version") != 2:
        raise ProtocolError("torrent: not a torrent of BitTorrent version 2")
    if info.get(b"piece length") != PIECE:
        raise ProtocolError(f"torrent: piece length is {info.get(b'piece length')!r}, and must be {PIECE}")
    tree = info.get(b"file tree")
    if not isinstance(tree, dict):
        raise ProtocolError("torrent: no file tree")
    files: list[TorrentFile] = []
    _collect(tree, (), files)
    return tuple(files)


def _collect(tree: Mapping[bytes, Value], folders: tuple[bytes, ...], files: list[TorrentFile]) -> None:
    for name, value in tree.items():
        if not name or not isinstance(value, dict):
            raise ProtocolError("torrent: the file tree is malformed")
        if b"" not in value:
            _collect(value, (*folders, name), files)
            continue
        facts: Union[Value, None] = value[b""]
        size = facts.get(b"length") if isinstance(facts, dict) else None
        root = facts.get(b"pieces root") if isinstance(facts, dict) else None
        if not isinstance(size, int) or not 0 < size <= MAXIMUM_SIZE or not isinstance(root, bytes):
            raise ProtocolError("torrent: a file has no size or no root")
        if len(root) != HASH_BYTES or len(value) != 1:
            raise ProtocolError("torrent: a file's root is not a SHA-256")
        path = b"/".join((*folders, name)).decode("utf-8", "replace")
        last = files[-1] if files else TorrentFile("", 0, "", 0)
        files.append(TorrentFile(path, size, root.hex(), last.first + last.pieces))
