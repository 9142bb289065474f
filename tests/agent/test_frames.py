"""The frames of the relay: docs/protocol.md, section 11.2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent import frames

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SHA256 = "1f825aa2f0020ef7cf91dfa30da4668d791c5d4824fc8e41354b89ec05795ab3"

numbers = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 2**64 - 1)


def test_the_page_s_frames_are_these() -> None:
    found = re.search(r"```text frames\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    assert [bytes.fromhex(line) for line in found.group(1).splitlines()] == [
        frames.get(1, SHA256, 262144),
        frames.data_head(1, 262144, 3) + b"abc",
        frames.bare(frames.HURRY, 1),
        frames.heartbeat(0, 3_000_000, 3_000_000, [(1, 262147)]),
        frames.bare(frames.END, 1),
        frames.refuse(2, frames.NOT_HERE),
        frames.bare(frames.CANCEL, 3),
        frames.leaves(4, 0, bytes.fromhex(SHA256 + "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0")),
    ]


@given(numbers, st.binary(min_size=32, max_size=32), sizes)
def test_a_get_comes_back_as_it_was_written(id: int, sha256: bytes, offset: int) -> None:
    frame = memoryview(frames.get(id, sha256.hex(), offset))
    assert frames.read_head(frame) == (frames.GET, id, frames.GET_BYTES)
    assert frames.read_get(frame) == (sha256.hex(), offset)


@given(sizes, sizes, sizes, st.dictionaries(numbers, sizes, max_size=frames.MAXIMUM_OPEN))
def test_a_heartbeat_comes_back_as_it_was_written(
    backlog: int, egress: int, ingress: int, held: dict[int, int]
) -> None:
    frame = memoryview(frames.heartbeat(backlog, egress, ingress, held.items()))
    head = frames.read_head(frame)
    assert head.length == len(frame) - frames.HEAD_BYTES <= frames.MAXIMUM_HEARTBEAT
    assert frames.read_heartbeat(frame[frames.HEAD_BYTES :]) == (backlog, egress, ingress, held)


@given(st.binary(max_size=200))
def test_other_bytes_are_no_heartbeat(data: bytes) -> None:
    if len(data) >= 24 and (len(data) - 24) % 12 == 0:
        assert len(frames.read_heartbeat(memoryview(data)).held) <= (len(data) - 24) // 12
    else:
        with pytest.raises(ValueError, match="heartbeat"):
            frames.read_heartbeat(memoryview(data))


def test_reserved_bytes_are_zero() -> None:
    with pytest.raises(ValueError, match="reserved"):
        frames.read_head(memoryview(b"\x01\x00\x01\x00" + bytes(8)))
