"""Bencoding, as BEP 3 defines it: whole numbers, byte strings, lists, and dictionaries with sorted byte-string keys.

Strict both ways, because an info-hash is the hash of such bytes: one value has one encoding, and no other is read.
Part of what an installing host may run: Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union

from avalanche.errors import ProtocolError

MAXIMUM_DEPTH = 100
"""Levels of lists and dictionaries; libtorrent's limit too."""
_LONGEST_NUMBER = 32

Value = Union[int, bytes, "list[Value]", "dict[bytes, Value]"]
Encodable = Union[int, bytes, Sequence["Encodable"], Mapping[bytes, "Encodable"]]


def encode(value: Encodable) -> bytes:
    """Write ``value``.

    Raises:
        TypeError: it holds something bencoding has no form for.
    """
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def decode(data: bytes) -> Value:
    """Read exactly one value.

    Raises:
        ProtocolError: ``data`` is not the one encoding of one value, or is nested too deeply.
    """
    value, end = _read(data, 0, 0)
    if end != len(data):
        raise ProtocolError(f"bencoding: {len(data) - end} bytes follow the value")
    return value


def _write(value: Encodable, parts: list[bytes]) -> None:
    if isinstance(value, bool):
        raise TypeError("bencoding knows no truth values")
    if isinstance(value, int):
        parts.append(b"i%de" % value)
    elif isinstance(value, bytes):
        parts.append(b"%d:%s" % (len(value), value))
    elif isinstance(value, Mapping):
        parts.append(b"d")
        for key in sorted(value):
            if not isinstance(key, bytes):
                raise TypeError("a key of a bencoded dictionary is a byte string")
            _write(key, parts)
            _write(value[key], parts)
        parts.append(b"e")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts.append(b"l")
        for item in value:
            _write(item, parts)
        parts.append(b"e")
    else:
        raise TypeError(f"bencoding has no form for {type(value).__name__}")


def _read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """Return the value at ``at`` and where it ends."""
    if depth > MAXIMUM_DEPTH:
        raise ProtocolError(f"bencoding: nested deeper than {MAXIMUM_DEPTH} levels")
    head = data[at : at + 1]
    if head == b"i":
        return _read_number(data, at + 1, b"e")
    if head == b"l":
        return _read_list(data, at + 1, depth)
    if head == b"d":
        return _read_dictionary(data, at + 1, depth)
    if head.isdigit():
        return _read_bytes(data, at)
    raise ProtocolError(f"bencoding: no value begins at byte {at}")


def _read_number(data: bytes, at: int, end: bytes) -> tuple[int, int]:
    stop = data.find(end, at, at + _LONGEST_NUMBER)
    digits = data[at:stop] if stop >= 0 else b""
    plain = digits[1:] if digits.startswith(b"-") else digits
    if not plain.isdigit() or (plain.startswith(b"0") and digits != b"0"):
        raise ProtocolError(f"bencoding: no number at byte {at}")
    return int(digits), stop + 1


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, start = _read_number(data, at, b":")
    if start + length > len(data):
        raise ProtocolError(f"bencoding: the string at byte {at} is cut off")
    return data[start : start + length], start + length


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    while data[at : at + 1] != b"e":
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return items, at + 1


def _read_dictionary(data: bytes, at: int, depth: int) -> tuple[dict[bytes, Value], int]:
    items: dict[bytes, Value] = {}
    latest: bytes | None = None
    while data[at : at + 1] != b"e":
        if not data[at : at + 1].isdigit():
            raise ProtocolError(f"bencoding: no key at byte {at}")
        key, at = _read_bytes(data, at)
        if latest is not None and key <= latest:
            raise ProtocolError(f"bencoding: the key before byte {at} is not behind the one before it")
        latest = key
        items[key], at = _read(data, at, depth + 1)
    return items, at + 1
