"""The small messages: what is written is read back, and nothing else is accepted. Runs on the agent's floor too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.errors import ProtocolError
from avalanche.messages import (
    MAX_BODY,
    MAX_EVENTS,
    MAX_TEXT,
    STAGES,
    STATUSES,
    Done,
    Event,
    EventBatch,
    StubDocument,
    format_authorization,
    parse_authorization,
    retry_delay,
)

TOKEN = "0123456789abcdef"
STUB = StubDocument(
    host="compute-0-0",
    order="0f1e2d3c4b5a6978",
    secret="q3v0cZb8m7w5Yk2hJf6sTnR1xLd4pGa9uEoViCyBQzM",
    http=("http://10.1.1.1",),
    https=("https://10.1.1.1", "https://[fd00::1]:8443"),
    bundle="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ca="-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
)
EVENT = Event(1, 1.5, "pre", "ok", "fine", {"packages": 3})

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
numbers = st.integers(-(2**62), 2**62) | st.floats(-1e15, 1e15) | st.booleans()
facts = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64), texts | numbers, max_size=5
)
events = st.builds(
    Event,
    seq=st.integers(1, 2**31 - 1),
    at=st.floats(0, 1e10) | st.integers(0, 10**10),
    stage=st.sampled_from(STAGES),
    status=st.sampled_from(STATUSES),
    text=texts,
    data=facts,
)


def changed(message: Any, **changes: Any) -> str:
    row = json.loads(message.to_json())
    row.update(changes)
    return json.dumps(row)


def test_a_stub_is_read_back() -> None:
    assert StubDocument.parse(STUB.to_json()) == STUB
    assert StubDocument.parse(STUB.to_json().encode()) == STUB


@settings(deadline=None)
@given(st.builds(EventBatch, attempt=st.just(TOKEN), events=st.lists(events, max_size=4).map(tuple)))
def test_events_are_read_back(batch: EventBatch) -> None:
    assert EventBatch.parse(batch.to_json()) == batch
    assert batch.to_json().isascii()


@settings(deadline=None)
@given(st.sampled_from(["ok", "failed"]), texts.filter(bool), facts)
def test_done_is_read_back(status: str, text: str, summary: Any) -> None:
    done = Done(TOKEN, status, text, summary)
    assert Done.parse(done.to_json()) == done
    assert Done.parse(done.to_json()).to_json() == done.to_json()


plain = st.none() | st.booleans() | st.integers() | st.text()
documents = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200) | documents)
def test_anything_else_is_a_protocol_error(data: Any) -> None:
    for kind in (StubDocument, EventBatch, Done):
        with pytest.raises(ProtocolError):
            kind.parse(data)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 2}, "version 2 is not known"),
        ({"version": True}, "version True"),
        ({"host": ""}, "'host'"),
        ({"host": "../x"}, "'host'"),
        ({"host": 5}, "'host' is not a text"),
        ({"order": "x"}, "'order'"),
        ({"secret": "x"}, "'secret'"),
        ({"http": []}, "'http' is empty"),
        ({"http": "http://10.1.1.1"}, "'http' is not a list"),
        ({"http": ["https://10.1.1.1"]}, "not an http address"),
        ({"http": ["http://10.1.1.1/"]}, "without a path"),
        ({"https": ["http://10.1.1.1"]}, "not an https address"),
        ({"bundle": "F" * 64}, "'bundle'"),
        ({"ca": "x"}, "'ca'"),
        ({"extra": 1}, "'extra' is not a key"),
    ],
)
def test_a_wrong_stub_is_refused(changes: Any, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        StubDocument.parse(changed(STUB, **changes))


def test_a_secret_is_never_shown() -> None:
    assert STUB.secret not in repr(STUB)
    with pytest.raises(ProtocolError) as caught:
        StubDocument.parse(changed(STUB, secret="geheim"))
    assert "geheim" not in str(caught.value)
    with pytest.raises(ProtocolError) as caught:
        parse_authorization("Bearer geheim")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seq": 0}, "'seq'"),
        ({"seq": True}, "'seq'"),
        ({"seq": 1.0}, "'seq'"),
        ({"at": -1}, "'at'"),
        ({"at": "now"}, "'at'"),
        ({"at": 10**400}, "'at'"),
        ({"stage": "lunch"}, "'stage' is 'lunch'; it is one of stub profile"),
        ({"status": None}, "'status'"),
        ({"text": "x" * (MAX_TEXT + 1)}, "more than 4000"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"text": 5}, "'text' is not a text"),
        ({"data": []}, "'data'"),
        ({"data": {"": 1}}, "key"),
        ({"data": {"a": None}}, "neither a text nor a number"),
        ({"data": {"a": {}}}, "neither a text nor a number"),
        ({"data": {"a": 10**30}}, "neither a text nor a number"),
        ({"data": {str(number): 1 for number in range(51)}}, "at most 50"),
        ({"more": 1}, "'more' is not a key"),
    ],
)
def test_a_wrong_event_is_refused(changes: Any, why: str) -> None:
    row = {**EVENT.to_row(), **changes}
    body = json.dumps({"version": 1, "attempt": TOKEN, "events": [row]})
    with pytest.raises(ProtocolError, match=why):
        EventBatch.parse(body)


@pytest.mark.parametrize("key", ["seq", "at", "stage", "status", "text"])
def test_an_event_lacks_nothing(key: str) -> None:
    row = EVENT.to_row()
    del row[key]
    with pytest.raises(ProtocolError, match=f"'{key}' is missing"):
        EventBatch.parse(json.dumps({"version": 1, "attempt": TOKEN, "events": [row]}))


def test_numbers_that_json_does_not_have_are_refused() -> None:
    for name in ("NaN", "Infinity", "-Infinity"):
        body = EventBatch(TOKEN, (EVENT,)).to_json().replace("1.5", name)
        with pytest.raises(ProtocolError, match="not a JSON document"):
            EventBatch.parse(body)


def test_a_batch_is_bounded() -> None:
    with pytest.raises(ProtocolError, match="at most 500"):
        EventBatch(TOKEN, tuple(Event(seq, 1.0, "pre", "ok") for seq in range(1, MAX_EVENTS + 2)))
    with pytest.raises(ProtocolError, match="larger than"):
        EventBatch.parse(b" " * (MAX_BODY + 1))


def test_depth_and_repeated_keys_are_refused() -> None:
    for body in ("[" * 100_000, '{"version":1,"version":1}'):
        with pytest.raises(ProtocolError, match="not a JSON document"):
            Done.parse(body)


def test_a_failure_says_why() -> None:
    with pytest.raises(ProtocolError, match="must say why"):
        Done(TOKEN, "failed")
    with pytest.raises(ProtocolError, match="'status'"):
        Done(TOKEN, "progress")


def test_credentials_are_read_back() -> None:
    header = format_authorization(STUB.order, STUB.secret)
    assert parse_authorization(header) == (STUB.order, STUB.secret)
    assert parse_authorization(header.replace("Bearer", "bearer")) == (STUB.order, STUB.secret)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x.y", "Basic " + "0" * 16 + "." + "A" * 43, "Bearer é"])
def test_other_credentials_are_refused(header: str) -> None:
    with pytest.raises(ProtocolError, match=r"Bearer ORDER\.SECRET"):
        parse_authorization(header)


@settings(deadline=None)
@given(st.integers(1, 10_000), st.floats(0, 0.999))
def test_a_retry_waits_between_half_and_one_and_a_half_of_the_backoff(tries: int, chance: float) -> None:
    backoff = min(5.0, 0.2 * 2 ** min(tries - 1, 10))
    assert 0.5 * backoff <= retry_delay(tries, chance=chance) <= 1.5 * backoff
    assert retry_delay(tries, chance=chance, retry_after=60.0) == 60.0 + retry_delay(tries, chance=chance)
