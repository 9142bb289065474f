"""RPM files of any size, written here: a benchmark needs many of them at once, and nobody unpacks them.

The format is RPM version 4's (rpm's docs/manual/format.md): lead, signature header, header, payload. Digests of header
and payload are right, so that ``rpmkeys`` and createrepo_c take the files; the payload is random bytes.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence

_INT32, _STRING, _BIN, _STRINGS, _I18N = 4, 6, 7, 8, 9
_ALIGNED = {_INT32: 4}
_SIGNATURES, _IMMUTABLE = 62, 63
_REGION_BYTES = 16
OVERHEAD = 952
"""Bytes of a file beside its payload, or nearly so."""

Value = int | str | bytes | Sequence[str]


def rpm_file(name: str, size: int, *, seed: int) -> bytes:
    """Return the package ``NAME-1-1.noarch`` of about ``size`` bytes; the same arguments give the same bytes."""
    payload = random.Random(f"{seed}/{name}").randbytes(max(size - OVERHEAD, 16))
    header = _header(
        _IMMUTABLE,
        [
            (100, _STRINGS, ["C"]),
            (1000, _STRING, name),
            (1001, _STRING, "1"),
            (1002, _STRING, "1"),
            (1004, _I18N, ["a package of a benchmark"]),
            (1005, _I18N, ["Random bytes."]),
            (1006, _INT32, 1_700_000_000),
            (1009, _INT32, len(payload)),
            (1014, _STRING, "none"),
            (1016, _I18N, ["Unspecified"]),
            (1021, _STRING, "linux"),
            (1022, _STRING, "noarch"),
            (1044, _STRING, f"{name}-1-1.src.rpm"),
            (1047, _STRINGS, [name]),
            (1112, _INT32, 8),  # =
            (1113, _STRINGS, ["1-1"]),
            (1124, _STRING, "cpio"),
            (1125, _STRING, "zstd"),
            (1126, _STRING, "19"),
            (5092, _STRINGS, [hashlib.sha256(payload).hexdigest()]),
            (5093, _INT32, 8),  # SHA-256
        ],
    )
    signature = _header(
        _SIGNATURES,
        [
            (269, _STRING, hashlib.sha1(header).hexdigest()),
            (273, _STRING, hashlib.sha256(header).hexdigest()),
            (1000, _INT32, len(header) + len(payload)),
            (1004, _BIN, hashlib.md5(header + payload).digest()),
        ],
    )
    lead = struct.pack(">4sBBHH66sHH16x", b"\xed\xab\xee\xdb", 3, 0, 0, 255, f"{name}-1-1".encode()[:65], 1, 5)
    return lead + signature + bytes(-len(signature) % 8) + header + payload


def _header(region: int, entries: Sequence[tuple[int, int, Value]]) -> bytes:
    """A header structure whose entries, sorted by tag, are all in one region."""
    index, store = b"", b""
    for tag, kind, value in entries:
        store += bytes(-len(store) % _ALIGNED.get(kind, 1))
        data, count = _encoded(kind, value)
        index += struct.pack(">iiii", tag, kind, len(store), count)
        store += data
    trailer = struct.pack(">iiii", region, _BIN, -_REGION_BYTES * (len(entries) + 1), _REGION_BYTES)
    first = struct.pack(">iiii", region, _BIN, len(store), _REGION_BYTES)
    store += trailer
    return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">ii", len(entries) + 1, len(store)) + first + index + store


def _encoded(kind: int, value: Value) -> tuple[bytes, int]:
    if isinstance(value, int):
        return struct.pack(">i", value), 1
    if isinstance(value, bytes):
        return value, len(value)
    texts = [value] if isinstance(value, str) else value
    return b"".join(text.encode() + b"\0" for text in texts), len(texts)
