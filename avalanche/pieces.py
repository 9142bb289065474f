"""The wire form of the swarm plane between host and frontend (docs/protocol.md, section 13).

Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from avalanche.errors import ProtocolError
from avalanche.tokens import canonical_address

TARGET = "/install/pieces"
MAXIMUM_ROWS = 4096
MAXIMUM_GAPS = 64
MAXIMUM_BODY = 1 << 20
MAXIMUM_LINE = 1 << 20
MAXIMUM_ROOM = 1 << 30
MAXIMUM_LIBRARY = 32 << 20
MAXIMUM_REASON = 300
"""Characters."""

_HASH = re.compile(r"[0-9a-f]{64}")
_EPOCH = re.compile(r"[0-9a-f]{16}")
_BITS = re.compile(r"(?:[0-9a-f]{2})*")


@dataclass(frozen=True)
class Library:
    """Which libtorrent there is for a host (section 13.2): its version, and the hash and size of the wheel."""

    libtorrent: str
    sha256: str
    size: int

    def to_json(self) -> str:
        """Write it."""
        return json.dumps({"version": 1, "libtorrent": self.libtorrent, "sha256": self.sha256, "size": self.size})

    @classmethod
    def parse(cls, data: bytes) -> Library:
        """Read it.

        Raises:
            ProtocolError: it names no version, hash and size, or too large a file.
        """
        row = _object(data, "libtorrent")
        version, sha256, size = row.get("libtorrent"), row.get("sha256"), row.get("size")
        if row.get("version") != 1 or not isinstance(version, str) or not isinstance(sha256, str):
            raise ProtocolError("libtorrent: the frontend's answer is not of version 1")
        if not _HASH.fullmatch(sha256) or type(size) is not int or not 0 < size <= MAXIMUM_LIBRARY:
            raise ProtocolError(f"libtorrent: the frontend names no hash, or a file above {MAXIMUM_LIBRARY} bytes")
        return cls(version, sha256, size)


@dataclass(frozen=True)
class PieceRequest:
    """What a host says when it asks for pieces.

    Attributes:
        info_hash: of the torrent, 64 hexadecimal digits.
        manifest: digest of the host's closure: which pieces it wants.
        epoch: the last answer's; None in the first request.
        room: bytes it takes now.
        have: pieces that came from the frontend and are checked, since the last request.
        held: in the first request of an epoch: every piece it has.
        missing: pieces that it lacks and that nobody it is connected to has.
        urgent: pieces that go before others: its installer waits for them.
        only: it takes nothing but these two.
        members: how many addresses of the swarm it knows.
    """

    info_hash: str
    manifest: str
    epoch: Optional[str] = None
    room: int = 0
    have: Sequence[int] = ()
    held: Optional[Collection[int]] = None
    missing: Sequence[int] = ()
    urgent: Sequence[int] = ()
    only: bool = False
    members: int = 0

    def to_bytes(self) -> bytes:
        """Write it."""
        row: dict[str, Any] = {"version": 1, "info_hash": self.info_hash, "manifest": self.manifest, "room": self.room}
        if self.epoch is not None:
            row["epoch"] = self.epoch
        if self.held is not None:
            row["held"] = _to_bits(self.held)
        if self.only:
            row["only"] = True
        rows = {"have": self.have, "missing": self.missing, "urgent": self.urgent}
        row.update({name: list(value) for name, value in rows.items() if value})
        return json.dumps({**row, "members": self.members}, separators=(",", ":")).encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> PieceRequest:
        """Read one.

        Raises:
            ProtocolError: it is not exactly what section 13.3 says.
        """
        row = _object(data, "pieces")
        required = {"version", "info_hash", "manifest", "room", "members"}
        allowed = required | {"epoch", "held", "have", "missing", "urgent", "only"}
        if not required <= set(row) <= allowed or row["version"] != 1 or type(row["version"]) is not int:
            raise ProtocolError(f"pieces: not of version 1, or not with the keys {' '.join(sorted(required))}")
        for name, pattern in (("info_hash", _HASH), ("manifest", _HASH), ("epoch", _EPOCH), ("held", _BITS)):
            if name in row and not (isinstance(row[name], str) and pattern.fullmatch(row[name])):
                raise ProtocolError(f"pieces: {name!r} is not of the form {pattern.pattern}")
        for name, most in (("room", MAXIMUM_ROOM), ("members", MAXIMUM_ROWS * 16)):
            if type(row[name]) is not int or not 0 <= row[name] <= most:
                raise ProtocolError(f"pieces: {name!r} is not a whole number from 0 to {most}")
        if type(row.get("only", False)) is not bool:
            raise ProtocolError("pieces: 'only' is not true or false")
        return cls(
            info_hash=row["info_hash"],
            manifest=row["manifest"],
            epoch=row.get("epoch"),
            room=row["room"],
            have=_numbers(row, "have", MAXIMUM_ROWS),
            held=_from_bits(row["held"]) if "held" in row else None,
            missing=_numbers(row, "missing", MAXIMUM_GAPS),
            urgent=_numbers(row, "urgent", MAXIMUM_GAPS),
            only=row.get("only", False),
            members=row["members"],
        )


@dataclass(frozen=True)
class PieceAnswer:
    """What the frontend says before the bytes of the pieces.

    Attributes:
        epoch: changes when the frontend has forgotten who has what.
        register: tell everything: the next request carries ``held``.
        pieces: whose bytes follow, in this order.
        next: seconds until the next request.
        members: addresses of the swarm that the host does not know.
        leave: why the host should go on by relay; None: it should not.
    """

    epoch: str
    register: bool = False
    pieces: Sequence[int] = ()
    next: float = 0.0
    members: Sequence[str] = field(default_factory=tuple)
    leave: Optional[str] = None

    def to_line(self) -> bytes:
        """Write the answer's first line."""
        row = {"version": 1, "epoch": self.epoch, "register": self.register, "pieces": list(self.pieces)}
        more: dict[str, Any] = {"next": round(self.next, 3), "members": list(self.members)}
        if self.leave is not None:
            more["leave"] = self.leave
        return json.dumps({**row, **more}, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> PieceAnswer:
        """Read the first line.

        Raises:
            ProtocolError: it is none.
        """
        row = _object(data, "pieces answer")
        try:
            keys = {"version", "epoch", "register", "pieces", "next", "members"}
            if row["version"] != 1 or not keys <= set(row) <= keys | {"leave"}:
                raise ValueError("version or keys are others")
            leave = row.get("leave")
            if leave is not None and (not isinstance(leave, str) or len(leave) > MAXIMUM_REASON):
                raise ValueError("leave is no reason")
            members = tuple(str(canonical_address(address)) for address in row["members"])
            if not _EPOCH.fullmatch(row["epoch"]) or type(row["register"]) is not bool:
                raise ValueError("epoch or register")
            wait = min(max(float(row["next"]), 0.0), 10.0)
            return cls(row["epoch"], row["register"], _numbers(row, "pieces", MAXIMUM_ROWS), wait, members, leave)
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"pieces: the answer cannot be read: {error}") from None


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ProtocolError(f"{what}: not a JSON object")
    return row


def _numbers(row: Mapping[str, Any], name: str, most: int) -> tuple[int, ...]:
    values = row.get(name, [])
    if not isinstance(values, list) or len(values) > most:
        raise ProtocolError(f"pieces: {name!r} is not a list of at most {most}")
    if not all(type(value) is int and 0 <= value < 1 << 31 for value in values):
        raise ProtocolError(f"pieces: {name!r} holds something that is no piece")
    return tuple(values)


def _to_bits(pieces: Collection[int]) -> str:
    bits = bytearray(max(pieces, default=-1) // 8 + 1)
    for piece in pieces:
        bits[piece // 8] |= 128 >> piece % 8
    return bits.hex()


def _from_bits(text: str) -> tuple[int, ...]:
    data = bytes.fromhex(text)
    return tuple(number for number in range(8 * len(data)) if data[number // 8] & 128 >> number % 8)
