"""Lookups as a host speaks them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.agent.lookup import FRONTEND, NAMED_AHEAD, Ask, format_lookup, parse_answer, stand_in
from avalanche.errors import ProtocolError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
ASKS = [Ask("1f" * 32, 300000), Ask("48" * 32, 45056, "d6b394fc09dba5e9")]


def example(name: str) -> bytes:
    found = re.search(rf"```json {name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1).encode()


def test_the_page_s_answer_is_read() -> None:
    answer = parse_answer(example("lookup-answer"), ASKS)
    assert answer.give == ("d6b394fc09dba5e9", "frontend")
    assert [parent for _, parent in answer.moves] == ["frontend"]
    (row,) = answer.rows
    assert (row.peer, row.address, row.port, row.expires) == ("d6b394fc09dba5e9", "10.1.255.253", 40001, 1795000600)
    assert (answer.place, answer.register, answer.next) == (7, False, 0.5)
    assert answer.ahead == ("d6b394fc09dba5e9",)


def test_who_stands_ahead_may_be_left_out() -> None:
    row = json.loads(example("lookup-answer"))
    del row["ahead"]
    assert parse_answer(json.dumps(row).encode(), ASKS).ahead is None


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=NAMED_AHEAD),
    st.sets(st.sampled_from("abcdefgh")),
    st.data(),
)
def test_a_stand_in_is_farther_ahead_than_who_was_left_and_not_lost(
    ahead: list[str], lost: set[str], data: st.DataObject
) -> None:
    left = data.draw(st.none() | st.sampled_from("abcdefgh"))
    found = stand_in(ahead, lost, left)
    after = ahead.index(left) + 1 if left in ahead else 0
    fit = [peer for peer in ahead[after:] if peer not in lost]
    if fit:
        assert found == fit[0]
    else:
        assert found == (FRONTEND if len(ahead) < NAMED_AHEAD else None)


def test_nothing_that_is_empty_is_written() -> None:
    row = {"port": 4000, "ask": [ask.to_row() for ask in ASKS], "done": [], "place": None}
    assert json.loads(format_lookup(row)) == {
        "version": 1, "port": 4000, "ask": [["1f" * 32, 300000], ["48" * 32, 45056, "d6b394fc09dba5e9"]],
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"give": [0]},
        {"give": [0, 9]},
        {"give": [0, -2]},
        {"give": [0, "1"]},
        {"move": [["aa"]]},
        {"rows": [{"peer": "x"}]},
        {"parents": None},
        {"time": "now"},
        {"ahead": [9]},
        {"ahead": None},
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    row = {**json.loads(example("lookup-answer")), **change}
    with pytest.raises(ProtocolError):
        parse_answer(json.dumps(row).encode(), ASKS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(["time", "next", "place", "register", "parents", "give", "move", "ahead", "rows"]), values)
def test_whatever_a_tracker_answers_is_an_answer_or_an_error(key: str, value: object) -> None:
    row = {**json.loads(example("lookup-answer")), key: value}
    try:
        answer = parse_answer(json.dumps(row).encode(), ASKS)
    except ProtocolError:
        return
    assert len(answer.give) == len(ASKS)


@given(st.binary(max_size=50))
def test_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_answer(data, ASKS)
