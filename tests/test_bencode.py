"""Bencoding: one value has one encoding, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.bencode import MAXIMUM_DEPTH, decode, encode
from avalanche.errors import ProtocolError

values = st.recursive(
    st.integers(min_value=-(10**25), max_value=10**25) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_is_decoded_to_the_same(value: object) -> None:
    assert decode(encode(value)) == value  # type: ignore[arg-type]


@given(st.binary(max_size=40))
def test_what_is_decoded_had_this_very_encoding(data: bytes) -> None:
    try:
        value = decode(data)
    except ProtocolError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, b"i0e"),
        (-42, b"i-42e"),
        (1 << 40, b"i1099511627776e"),
        (b"", b"0:"),
        (b"spam", b"4:spam"),
        ([b"spam", 7], b"l4:spami7ee"),
        ({b"b": 1, b"a": [], b"aa": {}}, b"d1:ale2:aade1:bi1ee"),
    ],
)
def test_the_forms_are_those_of_bep_3(value: object, text: bytes) -> None:
    assert encode(value) == text  # type: ignore[arg-type]
    assert decode(text) == value


def test_keys_are_sorted_as_raw_bytes() -> None:
    names = [b"warning message", b"tracker id", b"peers6", b"peers", b"min interval", b"interval", b"incomplete",
             b"external ip", b"downloaded", b"complete"]  # fmt: skip
    encoded = encode({name: 0 for name in names})
    places = [encoded.index(b"%d:%s" % (len(name), name)) for name in sorted(names)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "text",
    [b"", b"i", b"ie", b"i-e", b"i-0e", b"i01e", b"i1", b"i1.5e", b"i+1e", b"5:spam", b"04:spam", b"-1:a", b"4", b"l",
    b"li1e",
     b"d", b"d1:ae", b"di1ei2ee", b"d1:bi1e1:ai1ee", b"d1:ai1e1:ai1ee", b"x", b"i1ei2e", b"1:ab", b"i" + b"9" * 50 +
     b"e", b"9" * 30 + b":x"],
)  # fmt: skip
def test_what_is_not_the_one_encoding_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="bencoding"):
        decode(text)


def test_a_bomb_of_nested_lists_is_refused() -> None:
    deep = MAXIMUM_DEPTH
    assert decode(b"l" * deep + b"e" * deep) == decode(b"l" * deep + b"e" * deep)
    with pytest.raises(ProtocolError, match="deeper"):
        decode(b"l" * 100_000)


@pytest.mark.parametrize("value", ["text", 1.5, None, True, {"key": 1}, {1: 2}])
def test_what_bencoding_has_no_form_for_is_a_mistake_of_ours(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)  # type: ignore[arg-type]
