"""What a host and the frontend say to each other about pieces survives the wire, and nothing else is read."""

from __future__ import annotations

import json
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ProtocolError
from avalanche.pieces import MAXIMUM_GAPS, MAXIMUM_REASON, Library, PieceAnswer, PieceRequest

HASH = "ab" * 32
EPOCH = "0123456789abcdef"
numbers = st.lists(st.integers(0, (1 << 31) - 1), max_size=20).map(tuple)
requests = st.builds(
    PieceRequest,
    info_hash=st.just(HASH),
    manifest=st.just(HASH),
    epoch=st.none() | st.just(EPOCH),
    room=st.integers(0, 1 << 30),
    have=numbers,
    held=st.none() | st.sets(st.integers(0, 5000), max_size=30).map(lambda held: tuple(sorted(held))),
    missing=numbers,
    urgent=numbers,
    only=st.booleans(),
    members=st.integers(0, 60_000),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request: PieceRequest) -> None:
    assert PieceRequest.parse(request.to_bytes()) == request


@given(numbers, st.floats(0, 10), st.lists(st.ip_addresses().map(str), max_size=5).map(tuple), st.booleans(),
       st.none() | st.text(max_size=MAXIMUM_REASON))  # fmt: skip
def test_an_answer_is_read_as_it_was_written(
    pieces: tuple[int, ...], wait: float, members: tuple[str, ...], register: bool, leave: Optional[str]
) -> None:
    wait = round(wait, 3)
    written = PieceAnswer(EPOCH, register, pieces, wait, members, leave)
    read = PieceAnswer.parse(written.to_line())
    assert (read.epoch, read.register, read.pieces, read.next) == (EPOCH, register, pieces, wait)
    assert read.leave == leave
    assert len(read.members) == len(members)


def changed(**values: object) -> bytes:
    row = json.loads(PieceRequest(HASH, HASH).to_bytes())
    row.update(values)
    return json.dumps({name: value for name, value in row.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        changed(version=2),
        changed(version=True),
        changed(info_hash="ab"),
        changed(manifest=None),
        changed(room=-1),
        changed(room=1.5),
        changed(room=1 << 31),
        changed(members="3"),
        changed(epoch="x" * 16),
        changed(held="abc"),
        changed(have=[-1]),
        changed(have=[True]),
        changed(have={}),
        changed(missing=list(range(MAXIMUM_GAPS + 1))),
        changed(only=1),
        changed(strange=1),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="pieces"):
        PieceRequest.parse(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"version":1}', PieceAnswer(EPOCH, members=["elsewhere"]).to_line(),
             PieceAnswer("", False).to_line()]
)  # fmt: skip
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="pieces"):
        PieceAnswer.parse(data)


@pytest.mark.parametrize("row", [{"version": 2}, {"sha256": "x"}, {"size": 0}, {"size": 1 << 40}, {"libtorrent": 2}])
def test_a_library_that_is_not_named_rightly_is_refused(row: dict[str, object]) -> None:
    good = Library("2.1.1", HASH, 8_000_000)
    assert Library.parse(good.to_json().encode()) == good
    with pytest.raises(ProtocolError, match="libtorrent"):
        Library.parse(json.dumps({**json.loads(good.to_json()), **row}).encode())
