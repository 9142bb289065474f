"""What trackers tell their frontend: nothing malformed gets in, and nothing unsigned is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche import news
from avalanche.errors import ProtocolError
from avalanche.news import Holder, News, PeerReport

KEY = bytes(range(32))
REPORT = PeerReport("0f1e2d3c4b5a6978", "compute-0-1", "slow", "compute-0-1 delivers slowly")
HOLDER = Holder("0f1e2d3c4b5a6978", "g-5d41402abc4b2a76", "10.1.255.253", 40001)
NEWS = News("5f1e2d3c4b5a6978", 3, 1795000000.25, (REPORT,), (HOLDER,))


def test_what_is_written_is_read() -> None:
    assert News.parse(NEWS.to_bytes()) == NEWS
    assert news.parse_answer(news.format_answer(["compute-0-3"])) == {"compute-0-3"}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"seq": 0}, {"seq": True}, {"seq": 1.5}, {"at": "now"}, {"at": float("nan")}, {"tracker": "x"},
        {"reports": {}}, {"holders": [[]]}, {"more": 1}, {"reports": [{"host": "a"}]},
        {"reports": [{"order": "0" * 16, "host": "a", "status": "fine", "text": ""}]},
        {"reports": [{"order": "0" * 16, "host": "../a", "status": "slow", "text": ""}]},
        {"reports": [{"order": "0" * 16, "host": "a", "status": "slow", "text": "two\nlines"}]},
        {"reports": [{"order": "0" * 16, "host": "a", "status": "slow", "text": "x" * 1001}]},
        {"reports": [{"order": "0" * 16, "host": "a", "status": "slow", "text": ""}] * 101},
        {"holders": [{"order": "0" * 16, "generation": "g-" + "0" * 16, "address": "010.1.1.1", "port": 4000}]},
        {"holders": [{"order": "0" * 16, "generation": "g-" + "0" * 16, "address": "10.1.1.1", "port": 22}]},
        {"holders": [{"order": "0" * 16, "generation": "g", "address": "10.1.1.1", "port": 4000}]},
    ],
)  # fmt: skip
def test_news_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    row = {**json.loads(NEWS.to_bytes()), **change}
    with pytest.raises(ProtocolError, match=r"^news: "):
        News.parse(json.dumps(row).encode())


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_arrives_is_news_or_an_error(data: bytes) -> None:
    for read in (News.parse, news.parse_answer):
        with pytest.raises(ProtocolError):
            read(data)


@given(
    key=st.sampled_from(["version", "tracker", "seq", "at", "reports", "holders"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
)
def test_one_wrong_value_is_news_or_an_error(key: str, value: object) -> None:
    try:
        News.parse(json.dumps({**json.loads(NEWS.to_bytes()), key: value}).encode())
    except ProtocolError:
        return


def test_a_signature_is_for_one_body_one_key_and_one_way() -> None:
    body = NEWS.to_bytes()
    signature = news.sign(KEY, body, purpose="news")
    assert news.is_signed(KEY, body, signature, purpose="news")
    assert not news.is_signed(KEY, body + b" ", signature, purpose="news")
    assert not news.is_signed(KEY[::-1], body, signature, purpose="news")
    assert not news.is_signed(KEY, body, signature, purpose="answer")
    assert not news.is_signed(KEY, body, "", purpose="news")
    assert not news.is_signed(KEY, body, "\udcff\xe9", purpose="news")
