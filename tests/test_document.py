"""The reader of XML: lines, references, and everything hostile it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche import document
from avalanche.document import Element, Reference, Text, parse_document
from avalanche.errors import DefinitionError


def read(text: str) -> Element:
    return parse_document(text.encode(), file="nodes/a.xml", references=True)


def test_references_keep_their_name_and_line() -> None:
    root = read('<?xml version="1.0"?>\n<a x="1&one;2"\n   y="&two;">\n  first &three;, &three;\n&four;</a>')
    assert root.attributes["x"] == Text(("1", Reference("one", 2), "2"))
    assert root.text().references == (Reference("three", 4), Reference("three", 4), Reference("four", 5))


def test_comments_and_cdata_hold_no_references_and_move_no_lines() -> None:
    root = read("<a><!-- &no; -- >\n -->x<![CDATA[&no;\n<b>&amp;]]>\n&yes;</a>".replace("-- >", "- >"))
    assert root.text() == Text(("x&no;\n<b>&amp;\n", Reference("yes", 4)))


def test_xml_s_own_references_are_characters() -> None:
    assert read("<a b='&lt;&#65;'>&lt;&gt;&amp;&quot;&apos;&#x41;</a>").text().plain == "<>&\"'A"
    assert read("<a b='&lt;&#65;'/>").get("b") == "<A"


def test_lines_of_elements_are_those_of_their_start_tags() -> None:
    root = read("<a>\n\n<b\n c='1'/>\n<!--\n\n--><d/></a>")
    assert [(child.tag, child.line) for child in root.children()] == [("b", 3), ("d", 7)]


def test_a_long_line_with_many_references_is_read_whole() -> None:
    text = "".join(f"{'x' * 997}&name{index};" for index in range(500))
    assert [reference.name for reference in read(f"<a>{text}</a>").text().references] == [
        f"name{i}" for i in range(500)
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("<a>\n<b></a>", 2, "not well-formed XML: mismatched tag"),
        ("", 1, "no element found"),
        ("<a>\n&nope </a>", 2, "not well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 1, "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 1, "document type"),
        ("<a>\n<?php x ?></a>", 2, "processing instruction <[?]php"),
        ("<a>\n\ue000</a>", 2, r"U\+E000 is not allowed"),
        ("<a>\n&#xE001;</a>", 2, "&#xE001; is not allowed"),
        ("<a>\n&#57344;</a>", 2, "&#57344; is not allowed"),
        ("<a>\n&#0;</a>", 2, "not well-formed"),
        (f"<a>&#{'9' * 5000};</a>", 1, "not well-formed"),
        (f"<a>\n&{'n' * 200};</a>", 2, "too long a name"),
        ("<&a;/>", 1, "not well-formed|part of a name"),
        ("<a>" * 40 + "</a>" * 40, 1, "nested deeper than 16"),
        ("<a>" + "<b/>" * 30_000 + "</a>", 1, "too many elements"),
        ("<a>" + " " * (1 << 20) + "</a>", None, "more than the 1048576 allowed"),
    ],
)
def test_hostile_documents_are_refused_with_their_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        read(text)
    assert (caught.value.file, caught.value.line) == ("nodes/a.xml", line)


def test_only_utf_8_is_read() -> None:
    assert parse_document("\ufeff<a>ü</a>".encode(), file="f").text().plain == "ü"
    with pytest.raises(DefinitionError, match=r"^f:2: not UTF-8"):
        parse_document(b"<a>\n\xff</a>", file="f")
    with pytest.raises(DefinitionError, match="declared as ISO-8859-1"):
        parse_document('<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>'.encode(), file="f")


def test_without_references_an_unknown_entity_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="undefined entity"):
        parse_document(b"<a>&name;</a>", file="f")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_escaped_characters_come_back(value: str) -> None:
    if document.forbidden(value):
        return
    written = f"{document.start_tag('a', b=value)}{document.escape_text(value)}</a>"
    root = parse_document(written.encode(), file="f")
    assert root.get("b") == value
    assert root.text().plain == value


def test_equal_texts_are_equal_values() -> None:
    assert Text(("a", "", "b")) == Text(("ab",))
    assert Text((" a ", Reference("x", 1), "\n")).strip() == Text(("a ", Reference("x", 1)))
