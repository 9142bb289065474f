"""Any bytes are a value or an error of ours, in bounded time: graphs, node files, profiles, attributes, conditions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.attributes import Attributes
from avalanche.condition import parse_condition
from avalanche.errors import DefinitionError
from avalanche.graph import parse_graph
from avalanche.nodefile import parse_nodefile
from avalanche.profile import parse_installation, parse_profile

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = [
    *(path.read_text() for path in sorted(ROOT.glob("graphs/default/*.xml"))),
    *(path.read_text() for path in sorted(ROOT.glob("nodes/*.xml"))),
    *re.findall(r"```xml \w+\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL),
]
PIECES = [
    "<", ">", "&", ";", "&a;", "&lt;", "&#", "&#57344;", "&#x41;", "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>",
    "<!DOCTYPE a [", "]>", '<!ENTITY a "b">', "\0", "\ue000", "\ue001", "\u2028", '"', "'", "=", "/", "<post>",
    "</post>", "<file name='/a'>", "</file>", " cond='", "<edge from='a' to='b'/>", "<order head='a' tail='b'/>",
    "<order head='b' tail='a'/>", "HEAD", "xmlns:x='y'", "x:y", "\r\n", "\ufeff",
]  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A real document with a few cuts and insertions, or anything."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    text = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.integers(0, 30)) :]
    return text.encode()


def read_nodefile(data: bytes) -> object:
    return parse_nodefile(data, name="a", file="nodes/a.xml", roll="r")


def read_graph(data: bytes) -> object:
    graph = parse_graph(data, file="g.xml")
    return graph.traverse("a", {})


@pytest.mark.parametrize("read", [read_graph, read_nodefile, parse_profile, parse_installation, Attributes.parse])
@settings(max_examples=2 * settings().max_examples)
@given(data=documents())
def test_any_bytes_are_a_value_or_our_error(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        read(data)
    except DefinitionError as error:
        assert error.file
        assert "\n" not in str(error)


@settings(max_examples=4 * settings().max_examples)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                "1",
                "2.0",
                "'7'",
                '"x"',
                "==",
                "!=",
                "<",
                ">",
                ">=",
                "in",
                "not",
                "and",
                "or",
                "is",
                "None",
                "True",
                "(",
                ")",
                "[",
                "]",
                ",",
                ".",
                "+",
                "-",
                "*",
                ":",
                "lambda",
                "if",
                "else",
                "f'{a}'",
                "\\",
            ]
        ),
        max_size=20,
    ).map(" ".join)
    | st.text(max_size=30)
)
def test_any_text_is_a_condition_or_our_error(text: str) -> None:
    try:
        condition = parse_condition(text, file="f", line=1)
    except DefinitionError as error:
        assert (error.file, error.line) == ("f", 1)
    else:
        assert condition.holds({"a": "1", "b": "x"}) in (True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE a ["
        + b"".join(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 10))
        + b"]><graph>&l9;</graph>",
        b"<graph>" + b"<description>" * 20_000 + b"</graph>",
        b"<graph>" + b"<edge from='a' to='b'/>" * 40_000 + b"</graph>",
        b"<graph><edge x='" + b"&a;" * 300_000 + b"'/></graph>",
        b"<graph><order>&#x" + b"0" * 1_000_000 + b"41;</order></graph>",
        b"<!-" * 300_000,
        b"<!--" * 250_000,
        b"<![CDATA[" * 100_000,
        b"<graph><edge " + b"".join(b"a%d='' " % i for i in range(60_000)) + b"/></graph>",
        b"<graph>" + b"&" * 1_000_000,
        b"<graph><order head='" + b"a" * 1_000_000 + b"' tail='b'/></graph>",
    ],
    ids=range(11),
)  # fmt: skip
def test_bombs_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(DefinitionError):
        parse_graph(data, file="g.xml")


def test_what_is_passed_by_in_masses_is_one_remark() -> None:
    attributes = b" ".join(b"a%d=''" % number for number in range(60_000))
    (remark,) = parse_graph(b"<graph " + attributes + b"/>", file="g.xml").remarks
    assert len(remark.message) < 200
