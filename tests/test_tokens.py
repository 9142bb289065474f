"""Swarm tokens and tickets: good for one host, one parent, one address, one time; and for nobody who changes a byte."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ProtocolError
from avalanche.tokens import (
    SwarmToken,
    Ticket,
    TokenRefused,
    canonical_address,
    peer_id,
    peer_key,
    sign_ticket,
    sign_token,
    verify_ticket,
    verify_token,
)

KEY = bytes(range(32))
GENERATION = "g-5d41402abc4b2a76"
PARENT = "aa1e2d3c4b5a6978"
NOW = 1_795_000_000.0
TOKEN = SwarmToken("0f1e2d3c4b5a6978", "compute-0-0", "0", "10.1.255.254", GENERATION, 1_795_003_600)
TICKET = Ticket("0f1e2d3c4b5a6978", "compute-0-0", "10.1.255.254", GENERATION, 1_795_000_600)


def read(text: str, *, key: bytes = KEY, address: str = "10.1.255.254", now: float = NOW) -> SwarmToken:
    return verify_token(key, text, address=address, now=now)


def read_ticket(text: str, *, address: str = "10.1.255.254", generation: str = GENERATION, now: float = NOW) -> Ticket:
    return verify_ticket(peer_key(KEY, PARENT), text, address=address, generation=generation, now=now)


def test_a_token_is_read_back() -> None:
    assert read(sign_token(KEY, TOKEN)) == TOKEN


def test_a_ticket_is_read_back_by_the_parent_it_is_for() -> None:
    assert read_ticket(sign_ticket(peer_key(KEY, PARENT), TICKET)) == TICKET


def test_a_ticket_for_another_parent_is_refused() -> None:
    with pytest.raises(TokenRefused, match="signature"):
        read_ticket(sign_ticket(peer_key(KEY, "bb1e2d3c4b5a6978"), TICKET))


def test_a_token_is_no_ticket_and_a_ticket_no_token() -> None:
    with pytest.raises(TokenRefused):
        read_ticket(sign_token(peer_key(KEY, PARENT), TOKEN))
    with pytest.raises(TokenRefused):
        read(sign_ticket(KEY, TICKET))


def test_an_expired_token_is_refused_from_the_very_second() -> None:
    text = sign_token(KEY, TOKEN)
    assert read(text, now=TOKEN.expires - 0.01) == TOKEN
    with pytest.raises(TokenRefused, match="expired"):
        read(text, now=TOKEN.expires)


def test_a_token_from_another_address_is_refused() -> None:
    with pytest.raises(TokenRefused, match=r"10\.1\.255\.253"):
        read(sign_token(KEY, TOKEN), address="10.1.255.253")


def test_an_ipv4_address_in_ipv6_is_the_ipv4_address() -> None:
    assert read(sign_token(KEY, TOKEN), address="::ffff:10.1.255.254") == TOKEN
    assert str(canonical_address("FE80:0::1")) == "fe80::1"


def test_a_ticket_for_another_generation_is_refused() -> None:
    with pytest.raises(TokenRefused, match="generation"):
        read_ticket(sign_ticket(peer_key(KEY, PARENT), TICKET), generation="g-0000000000000000")


def test_another_key_refuses() -> None:
    with pytest.raises(TokenRefused, match="signature"):
        read(sign_token(bytes(32), TOKEN))
    with pytest.raises(ValueError, match="32 bytes"):
        sign_token(b"short", TOKEN)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    text = sign_token(KEY, TOKEN)
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(codec="ascii").filter(lambda each: each != text[place]))
    with pytest.raises(TokenRefused):
        read(text[:place] + character + text[place + 1 :])


@given(st.text(max_size=300))
def test_no_text_but_a_token_is_read_and_no_refusal_repeats_it(text: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        read("needle" + text)
    assert "needle" not in str(caught.value)


def test_a_signed_document_of_another_form_is_refused() -> None:
    import hashlib
    import hmac

    def signed(document: object) -> str:
        payload = json.dumps(document).encode()
        mac = hmac.new(KEY, b"token:" + payload, hashlib.sha256).digest()
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (payload, mac))

    good = {
        "version": 1,
        "order": TOKEN.order,
        "host": "a",
        "rack": "",
        "address": TOKEN.address,
        "generation": GENERATION,
    }
    assert read(signed({**good, "expires": TOKEN.expires})).host == "a"
    for bad in (
        good,
        {**good, "expires": 1.5},
        {**good, "expires": TOKEN.expires, "more": 1},
        [],
        7,
        {**good, "version": 2},
    ):
        with pytest.raises(ProtocolError):
            read(signed(bad))


def test_a_padded_or_otherwise_spelt_token_is_refused() -> None:
    text = sign_token(KEY, TOKEN)
    for other in (text + "=", text.replace(".", "..", 1), text + "\n", " " + text, text + "." + text, "x" * 5000):
        with pytest.raises(TokenRefused):
            read(other)


@pytest.mark.parametrize(
    "change",
    [{"order": "x"}, {"host": "a b"}, {"host": ""}, {"rack": "a/b"}, {"address": "10.1"}, {"address": "::FFFF:1.2.3.4"},
     {"generation": "g-1"}, {"expires": 0}, {"expires": 1.5}],
)  # fmt: skip
def test_a_wrong_token_cannot_exist(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        replace(TOKEN, **change)  # type: ignore[arg-type]


def test_peer_ids_differ_by_order_and_by_attempt() -> None:
    attempts = ["0123456789abcdef", "0123456789abcdee"]
    names = {peer_id(order, attempt) for order in (TOKEN.order, PARENT) for attempt in attempts}
    assert len(names) == 4
    with pytest.raises(ProtocolError):
        peer_id(TOKEN.order, "x")
