"""Lookups are let in whole and right, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ProtocolError
from tests.tracker.worlds import CLOSURE, OBJECTS, REGISTERED, THINGS, lookup
from tracker.lookup import Answer, Registration
from tracker.messages import format_answer, parents_of, parse_request

PEER = "d6b394fc09dba5e9"
FOREIGN = "f" * 64


def test_the_least_lookup_says_who_where_and_how_far() -> None:
    request = parse_request(lookup(register=None), REGISTERED)
    assert (request.attempt, request.port, request.lookup.registration) == (f"{1:016x}", 40_001, None)


def test_the_closure_is_found_by_its_digest_and_an_unknown_one_is_empty() -> None:
    known = parse_request(lookup(), REGISTERED).lookup.registration
    assert known == Registration(frozenset(THINGS))
    assert parse_request(lookup(register={"manifest": FOREIGN}), REGISTERED).lookup.registration == Registration()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 2}, "version 2"),
        ({"version": True}, "version True"),
        ({"attempt": "x"}, "'attempt' is not of the form"),
        ({"attempt": None}, "'attempt' is missing"),
        ({"port": 80}, "'port' is not a whole number from 1024"),
        ({"port": 40000.5}, "'port'"),
        ({"state": "dreaming"}, "'state' is not one of"),
        ({"received": -1}, "'received'"),
        ({"ask": [[FOREIGN, 1]]}, "is no object of g-"),
        ({"ask": [[THINGS[0], OBJECTS[THINGS[0]] + 1]]}, "'left'"),
        ({"ask": [[THINGS[0], 0]]}, "'left'"),
        ({"ask": [[THINGS[0]]]}, "a row of 'ask' has 2 to 3"),
        ({"ask": [[THINGS[0], 1], [THINGS[0], 1]]}, "twice in 'ask'"),
        ({"ask": [[THINGS[0], 1, "nobody"]]}, "'peer'"),
        ({"ask": [[THINGS[0], 1]] * 513}, "at most 512"),
        ({"ask": {}}, "not a list"),
        ({"done": [FOREIGN]}, "is no object"),
        ({"done": [5]}, "is no object"),
        ({"drop": [[THINGS[0]]]}, "is no object"),
        ({"blame": [[PEER, "ugly"]]}, "is not a blame"),
        ({"blame": [[PEER, "corrupt"]]}, "names its object"),
        ({"blame": [[PEER, "dead", THINGS[0]]]}, "names its object"),
        ({"blame": [[PEER, "dead"]] * 33}, "at most 32"),
        ({"known": ["x"]}, "'peer'"),
        ({"register": []}, "'register' is not an object"),
        ({"register": {}}, "'manifest' is missing"),
        ({"register": {"manifest": CLOSURE, "place": -1}}, "'place'"),
        ({"register": {"manifest": CLOSURE, "have": [FOREIGN]}}, "is no object"),
        ({"register": {"manifest": CLOSURE, "fetch": [[THINGS[0], PEER]]}}, "a row of 'fetch'"),
        ({"register": {"manifest": CLOSURE, "more": 1}}, "'more' is not a key"),
        ({"more": 1}, "'more' is not a key"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_request(lookup(**fields), REGISTERED)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000])
def test_what_is_no_document_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request(body, REGISTERED)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(THINGS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["version", "attempt", "port", "state", "received", "register", "ask", "done", "drop", "blame", "known"]
)


@given(st.dictionaries(keys, json_values))
def test_no_document_crashes_the_reader(fields: dict[str, Any]) -> None:
    try:
        parse_request(lookup(**fields), REGISTERED)
    except ProtocolError:
        return


def test_an_answer_names_parents_once_and_points_to_them() -> None:
    answer = Answer(give=("a", None, "frontend", "a"), moves=(("x", "b"),), next=0.25, place=3)
    row = json.loads(format_answer(answer, time=1.23456, rows=()))
    named = [row["parents"][place] if place >= 0 else None for place in row["give"]]
    assert named == ["a", None, "frontend", "a"]
    assert [(thing, row["parents"][place]) for thing, place in row["move"]] == [("x", "b")]
    assert sorted(row["parents"]) == ["a", "b", "frontend"]
    assert parents_of(answer) == ["a", "b"]
    assert (row["time"], row["next"], row["place"], row["register"]) == (1.235, 0.25, 3, False)
    assert "ahead" not in row


def test_who_stands_ahead_is_named_with_a_row() -> None:
    answer = Answer(give=("a",), ahead=("a", "c"))
    row = json.loads(format_answer(answer, time=1.0, rows=()))
    assert [row["parents"][place] for place in row["ahead"]] == ["a", "c"]
    assert parents_of(answer) == ["a", "c"]
    assert json.loads(format_answer(Answer(ahead=()), time=1.0, rows=()))["ahead"] == []
