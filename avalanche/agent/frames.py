"""The frames of the relay (docs/protocol.md, section 11.2): their forms, and nothing that happens to them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from avalanche.manifest import BLOCK, PIECE, Buffer

GET, CANCEL, HURRY = 1, 2, 3
DATA, HEARTBEAT, END, REFUSE, LEAVES = 16, 17, 18, 19, 20

NOT_HERE, BUSY, BAD_OFFSET, LEAVING = 1, 2, 3, 4
REASONS = {NOT_HERE: "not here", BUSY: "busy", BAD_OFFSET: "bad offset", LEAVING: "leaving"}

PROTOCOL = "avalanche-relay/2"
MAXIMUM_OPEN = 256
"""Requests that are open at once on a connection."""

_HEAD = struct.Struct(">B3xII")
_GET = struct.Struct(">B3xII32sQ")
_DATA = struct.Struct(">B3xIIQ")
_BEAT = struct.Struct(">QQQ")
_HELD = struct.Struct(">IQ")

HEAD_BYTES = _HEAD.size
DATA_HEAD_BYTES = _DATA.size
OFFSET_BYTES = DATA_HEAD_BYTES - HEAD_BYTES
GET_BYTES = _GET.size - HEAD_BYTES
MAXIMUM_DATA = PIECE + OFFSET_BYTES
LEAVES_BYTES = OFFSET_BYTES + 32, OFFSET_BYTES + 32 * (PIECE // BLOCK)
"""The shortest and the longest payload of LEAVES."""
MAXIMUM_HEARTBEAT = _BEAT.size + MAXIMUM_OPEN * _HELD.size


class Head(NamedTuple):
    """What every frame begins with: its type, the request it is about, and how many bytes follow."""

    kind: int
    id: int
    length: int


class Heartbeat(NamedTuple):
    """How a parent does: bytes that wait for this child, bytes per second out, and in at best; and how much it holds
    of each open request's object, from its start.
    """

    backlog: int
    egress: int
    ingress: int
    held: dict[int, int]


def read_head(data: memoryview) -> Head:
    """Read the first `HEAD_BYTES` of a frame.

    Raises:
        ValueError: the bytes that must be zero are not.
    """
    if data[1] or data[2] or data[3]:
        raise ValueError("a frame's reserved bytes are not zero")
    return Head(*_HEAD.unpack_from(data))


def read_offset(data: memoryview) -> int:
    """The offset in the first `DATA_HEAD_BYTES` of a DATA or LEAVES frame."""
    return int(_DATA.unpack_from(data)[3])


def read_get(data: memoryview) -> tuple[str, int]:
    """The object and the offset of a whole GET frame."""
    _, _, _, sha256, offset = _GET.unpack_from(data)
    return sha256.hex(), offset


def read_heartbeat(payload: memoryview) -> Heartbeat:
    """Read the payload of a HEARTBEAT.

    Raises:
        ValueError: its length is none that a heartbeat can have.
    """
    rest = len(payload) - _BEAT.size
    if rest < 0 or rest % _HELD.size:
        raise ValueError(f"a heartbeat of {len(payload)} bytes")
    backlog, egress, ingress = _BEAT.unpack_from(payload)
    return Heartbeat(backlog, egress, ingress, dict(_HELD.iter_unpack(payload[_BEAT.size :])))


def get(id: int, sha256: str, offset: int) -> bytes:
    """A GET frame."""
    return _GET.pack(GET, id, GET_BYTES, bytes.fromhex(sha256), offset)


def bare(kind: int, id: int) -> bytes:
    """A frame without payload: CANCEL, HURRY, END."""
    return _HEAD.pack(kind, id, 0)


def refuse(id: int, reason: int) -> bytes:
    """A REFUSE frame."""
    return _HEAD.pack(REFUSE, id, 1) + bytes((reason,))


def data_head(id: int, offset: int, size: int) -> bytes:
    """What comes before the ``size`` bytes of a DATA frame."""
    return _DATA.pack(DATA, id, OFFSET_BYTES + size, offset)


def leaves(id: int, offset: int, hashes: Buffer) -> bytes:
    """A LEAVES frame: the hashes of the blocks of the piece that begins at ``offset``."""
    return _DATA.pack(LEAVES, id, OFFSET_BYTES + len(hashes), offset) + bytes(hashes)


def heartbeat(backlog: int, egress: int, ingress: int, held: Iterable[tuple[int, int]]) -> bytes:
    """A HEARTBEAT frame; ``held`` are pairs of request and bytes that can be had."""
    rows = b"".join(_HELD.pack(id, checked) for id, checked in held)
    return _HEAD.pack(HEARTBEAT, 0, _BEAT.size + len(rows)) + _BEAT.pack(backlog, egress, ingress) + rows
