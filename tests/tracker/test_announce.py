"""Announce and scrape on the wire, as other trackers' own test suites expect them, and as docs/protocol.md says where
they differ.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.bencode import decode
from avalanche.errors import ProtocolError
from tracker.announce import (
    Announce,
    Counts,
    Endpoint,
    Reply,
    format_failure,
    format_reply,
    format_scrape,
    parse_announce,
    parse_query,
    parse_scrape,
)

HASH = bytes.fromhex("a2a15537542b22925ad10486bf7a8b2a9c42f0d1")
PEER = b"-LT2110-abcdefghijkl"
BASE = b"info_hash=" + quote_from_bytes(HASH, safe="").encode() + b"&peer_id=" + PEER + b"&port=6881"


def announce(more: bytes = b"") -> Announce:
    return parse_announce(parse_query(BASE + more))


def test_an_info_hash_is_escaped_as_clients_do() -> None:
    # bittorrent-tracker, querystring.js: exactly this text, both ways.
    text = b"info_hash=%A2%A1U7T%2B%22%92Z%D1%04%86%BFz%8B%2A%9CB%F0%D1"
    assert parse_query(text) == [("info_hash", HASH)]


def test_a_plus_in_an_info_hash_is_a_plus() -> None:
    text = b"info_hash=%A2%A1U7T+%22%92Z%D1%04%86%BFz%8B*%9CB%F0%D1"
    assert parse_query(text) == [("info_hash", HASH)]


@given(st.binary(min_size=20, max_size=20))
def test_every_info_hash_survives(info_hash: bytes) -> None:
    assert parse_query(b"info_hash=" + quote_from_bytes(info_hash).encode()) == [("info_hash", info_hash)]


@pytest.mark.parametrize("query", [b"", b"&a", b"&=b?", b"&&", b"=", b"a", b"a=b=c", b"?a=1"])
def test_odd_queries_do_not_crash(query: bytes) -> None:
    parse_query(query)


@pytest.mark.parametrize("query", [b"a=%0%a", b"a=%", b"a=%f", b"%zz=1"])
def test_malformed_escapes_are_errors(query: bytes) -> None:
    with pytest.raises(ProtocolError, match="hexadecimal"):
        parse_query(query)


@given(st.binary(max_size=60))
def test_no_query_crashes_the_parser(query: bytes) -> None:
    for text in (query, BASE + b"&" + query):
        try:
            parse_announce(parse_query(text))
            parse_scrape(parse_query(text))
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"peer_id=" + PEER + b"&port=1", "info_hash is missing"),
        (b"info_hash=short&peer_id=" + PEER, "20 bytes"),
        (BASE.replace(PEER, b"short"), "peer_id is not 20 bytes"),
        (BASE + b"&info_hash=" + b"x" * 20, "one info_hash"),
        (BASE + b"&port=0", "port"),
        (BASE + b"&port=80", "port"),
        (BASE + b"&port=65536", "port"),
        (BASE + b"&port=x", "port"),
        (BASE + b"&left=-1", "negative"),
    ],
)
def test_what_is_malformed_is_named(query: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_announce(parse_query(query))


@pytest.mark.parametrize(
    ("text", "event"),
    [(b"", ""), (b"none", ""), (b"NONE", ""), (b"started", "started"), (b"Stopped", "stopped"), (b"COMPLETED",
    "completed"),
     (b"paused", "paused"), (b"snooped", ""), (b"\xff", "")],
)  # fmt: skip
def test_events_are_read_in_any_case_and_unknown_ones_are_ordinary(text: bytes, event: str) -> None:
    assert announce(b"&event=" + text).event == event


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", 50),
        (b"&numwant=1", 1),
        (b"&numwant=0", 0),
        (b"&numwant=-1", 50),
        (b"&numwant=500", 100),
        (b"&numwant=many", 50),
    ],
)
def test_the_number_of_peers_is_bounded(text: bytes, wanted: int) -> None:
    assert announce(text).wanted == wanted


@pytest.mark.parametrize(
    ("text", "complete"),
    [(b"", False), (b"&left=0", True), (b"&left=NaN", False), (b"&left=", False), (b"&left=4294967297", False),
     (b"&left=18446744073709551615", False)],
)  # fmt: skip
def test_what_is_left_may_be_unknown_or_very_large(text: bytes, complete: bool) -> None:
    assert announce(text).is_complete is complete


def test_a_client_that_does_not_listen_is_no_peer() -> None:
    assert announce(b"&port=1").port is None
    assert parse_announce(parse_query(BASE.replace(b"&port=6881", b""))).port is None


def test_parameters_nobody_knows_and_addresses_are_ignored() -> None:
    more = b"&testParam=this%20is%20a%20test&ip=1.2.3.4&ipv4=1.2.3.4:5&ipv6=%3A%3A1"
    more += b"&supportcrypto=1&redundant=0&trackerid=x&corrupt=0"
    assert announce(more) == announce()


def test_a_failure_is_exactly_one_key() -> None:
    assert format_failure("hello world") == b"d14:failure reason11:hello worlde"
    assert format_failure("what's up") == b"d14:failure reason9:what's upe"
    assert format_failure("test") == b"d14:failure reason4:teste"


REPLY = Reply(
    interval=5,
    minimum_interval=2,
    counts=Counts(1, 2, 1, 3),
    peers=(
        Endpoint(ip_address("10.1.0.7"), 6881, b"a" * 20),
        Endpoint(ip_address("fd00::7"), 6882, b"b" * 20),
        Endpoint(ip_address("10.1.0.8"), 65535, b"c" * 20),
    ),
)


def test_a_compact_reply_packs_both_families() -> None:
    answer = decode(format_reply(REPLY, announce(), seen_from=ip_address("10.1.0.9")))
    assert isinstance(answer, dict)
    assert answer == {
        b"complete": 1, b"downloaded": 3, b"downloaders": 1, b"external ip": bytes([10, 1, 0, 9]), b"incomplete": 2,
        b"interval": 5, b"min interval": 2, b"peers": bytes([10, 1, 0, 7, 0x1A, 0xE1, 10, 1, 0, 8, 255, 255]),
        b"peers6": ip_address("fd00::7").packed + b"\x1a\xe2",
    }  # fmt: skip


def test_without_ipv6_peers_there_is_no_peers6() -> None:
    reply = Reply(5, 2, Counts(), REPLY.peers[:1])
    answer = decode(format_reply(reply, announce(), seen_from=ip_address("fd00::1")))
    assert isinstance(answer, dict)
    assert b"peers6" not in answer
    assert answer[b"external ip"] == ip_address("fd00::1").packed


def test_a_list_of_dictionaries_is_given_to_who_asks_for_one() -> None:
    answer = decode(format_reply(REPLY, announce(b"&compact=0"), seen_from=ip_address("10.1.0.9")))
    assert isinstance(answer, dict)
    assert answer[b"peers"][1] == {b"ip": b"fd00::7", b"peer id": b"b" * 20, b"port": 6882}  # type: ignore[call-overload,index]
    answer = decode(format_reply(REPLY, announce(b"&compact=0&no_peer_id=1"), seen_from=ip_address("10.1.0.9")))
    assert isinstance(answer, dict)
    assert answer[b"peers"][0] == {b"ip": b"10.1.0.7", b"port": 6881}  # type: ignore[call-overload,index]


def test_a_scrape_has_the_form_of_bep_48() -> None:
    body = format_scrape({HASH: Counts(1, 2, 1, 3)})
    assert body == b"d5:filesd20:" + HASH + b"d8:completei1e10:downloadedi3e11:downloadersi1e10:incompletei2eeee"


def test_a_scrape_asks_for_several_for_none_and_not_for_too_many() -> None:
    one = b"info_hash=" + b"x" * 20
    assert parse_scrape(parse_query(one + b"&" + one)) == [b"x" * 20] * 2
    assert parse_scrape([]) == []
    for bad in (b"info_hash=short", b"&".join([one] * 65)):
        with pytest.raises(ProtocolError):
            parse_scrape(parse_query(bad))
