"""Attributes: precedence, secrets, and their document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.attributes import SCOPES, Attribute, Attributes
from avalanche.errors import ConfigError, ProfileError

names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,20}\Z").filter(
    lambda name: name not in {"lt", "gt", "amp", "quot", "apos"}
)
# Everything XML can carry: what it cannot is refused (below).
values = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(32)] + ["\ufffe", "\uffff"]
    )
    | st.sampled_from("\t\n\r<>&\"'"),
    max_size=60,
)
attributes = st.lists(
    st.builds(Attribute, names, values, st.sampled_from(SCOPES), st.booleans()),
    unique_by=lambda attribute: (attribute.name, attribute.scope),
    max_size=12,
).map(Attributes)


@given(attributes)
def test_what_is_written_is_read_back_equal(found: Attributes) -> None:
    assert Attributes.parse(found.to_xml()) == found
    assert Attributes.parse(found.to_xml()).to_xml() == found.to_xml()


@given(st.permutations(SCOPES))
def test_the_strongest_scope_wins_in_any_order(scopes: list[str]) -> None:
    found = Attributes(Attribute("a", f"at {scope}", scope) for scope in scopes)
    assert found["a"] == "at host"
    assert [hidden.scope for hidden in found.overridden("a")] == list(reversed(SCOPES))[1:]


def test_a_name_twice_at_one_scope_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice at scope rack"):
        Attributes([Attribute("a", "1", "rack"), Attribute("a", "2", "rack"), Attribute("a", "3", "host")])


def test_the_repr_never_shows_a_secret() -> None:
    found = Attributes([Attribute("root_password", "$6$salt", "host", secret=True)])
    assert "$6$" not in repr(found) + repr(found.attribute("root_password"))
    assert found.secrets == ("$6$salt",)


def test_close_names_are_suggested_whatever_their_case() -> None:
    found = Attributes.of({"Kickstart_Timezone": "UTC", "Kickstart_Lang": "C", "rank": "0"})
    assert found.closest("kickstart_timezon")[0] == "Kickstart_Timezone"
    assert found.closest("nothing_like_it") == []


@pytest.mark.parametrize(
    ("name", "value", "scope", "message"),
    [
        ("1st", "", "host", "no attribute name"),
        ("a b", "", "host", "no attribute name"),
        ("amp", "", "host", "no attribute name"),
        ("x" * 129, "", "host", "no attribute name"),
        ("a", "\0", "host", r"U\+0000, which XML cannot carry"),
        ("a", "\x1b[0m", "host", r"U\+001B"),
        ("a", "\ud800", "host", r"U\+D800"),
        ("a", "x" * 70_000, "host", "at most 65536"),
        ("a", "", "cluster", "no scope"),
    ],
)
def test_what_cannot_be_an_attribute_is_refused_with_the_reason(
    name: str, value: str, scope: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Attribute(name, value, scope)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<attributes/>", "version None"),
        (b'<attributes version="2"/>', "version '2'"),
        (b'<profile version="1"/>', "expected <attributes>"),
        (
            b'<attributes version="1"><attribute name="a" scope="host" cond="x">1</attribute></attributes>',
            "no attribute 'cond'",
        ),
        (
            b'<attributes version="1"><attribute name="a" scope="host"><b/></attribute></attributes>',
            "<b> cannot stand in",
        ),
        (b'<attributes version="1"><attribute name="a" scope="everywhere">1</attribute></attributes>', "no scope"),
        (
            b'<attributes version="1"><attribute name="a" scope="host" secret="1">1</attribute></attributes>',
            "secret is",
        ),
        (b'<attributes version="1"><note/></attributes>', "<note> cannot stand"),
    ],
)
def test_a_malformed_document_is_refused_with_its_line(document: bytes, message: str) -> None:
    with pytest.raises(ProfileError, match=f"^attributes:1: .*{message}"):
        Attributes.parse(document)
