"""XML documents as values: elements with lines, text with attribute references, a strict reader and a writer's escapes.

Part of the agent's import closure (Python 3.9, standard library). The reader is for hostile input: no DTD, no
processing instruction, bounded size, depth and count. Rocks writes an attribute reference as ``&name;``; it is read
without a DTD, as a ``Reference`` that keeps its name and line, in text and in attribute values; in CDATA and comments
it is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Optional, Union
from xml.parsers import expat

from avalanche.errors import DefinitionError

MAX_NAME = 128
REFERENCE_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{MAX_NAME - 1}}}")
PREDEFINED = frozenset({"lt", "gt", "amp", "quot", "apos"})

# Characters that XML 1.0 cannot carry, in any escape.
_SPECIAL = re.compile('[&<>"\r\n\t]')
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A reference travels through expat between two private-use characters, which a document may not hold itself.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_TOKEN = re.compile(
    # What has no end goes to the end: to look for it again from every next beginning would take quadratic time.
    # Both branches begin with one character, which is what the search looks for.
    r"<(?:!--.*?(?:-->|\Z)|!\[CDATA\[.*?(?:\]\]>|\Z)|(?P<declaration>\?xml\s.*?(?:\?>|\Z)))"
    r"|&(?:#(?P<code>x[0-9a-fA-F]+|[0-9]+)|(?P<name>(?!(?:lt|gt|amp|quot|apos);)[A-Za-z_][A-Za-z0-9_.-]*));",
    re.DOTALL,
)
_LINE_END = re.compile(r"&#(?:0*1[03]|x0*[adAD]);")
_ENCODING = re.compile(r"\A\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]*)[\"']")


# Documents have thousands of references and elements, and a named tuple is made in a third of a dataclass' time.
class Reference(NamedTuple):
    """The place of an attribute's value: ``&name;`` on a line of a node file.

    ``name`` is a REFERENCE_NAME: whoever reads one makes sure. ``optional``: where the attribute has no value, nothing
    stands there (Rocks' ``<var name="..."/>``).
    """

    name: str
    line: int
    optional: bool = False


@dataclass(frozen=True, init=False)
class Text:
    """Characters and references in turn. Neighbouring strings are joined, so that equal texts are equal values."""

    parts: tuple[Union[str, Reference], ...]

    def __init__(self, parts: tuple[Union[str, Reference], ...] = ()) -> None:
        whole = len(parts) == 1 and parts[0] != ""  # as most are
        object.__setattr__(self, "parts", parts if whole else _joined(parts))

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple([part for part in self.parts if isinstance(part, Reference)])

    @property
    def plain(self) -> Optional[str]:
        """The characters, or None when a reference stands among them."""
        # A reference stands before, after, or between two strings.
        if len(self.parts) > 1:
            return None
        first = self.parts[0] if self.parts else ""
        return first if isinstance(first, str) else None

    def fill(self, value: Callable[[Reference], str]) -> str:
        """Return the characters with ``value(reference)`` in each reference's place."""
        return "".join(part if isinstance(part, str) else value(part) for part in self.parts)

    def strip(self) -> Text:
        """Return the text without white space at its ends."""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            stripped = self.parts[0].strip()
            return self if stripped == self.parts[0] else Text((stripped,))
        parts = list(self.parts)
        if parts and isinstance(parts[0], str):
            parts[0] = parts[0].lstrip()
        if parts and isinstance(parts[-1], str):
            parts[-1] = parts[-1].rstrip()
        return Text(tuple(parts))


def _joined(parts: Iterable[Union[str, Reference]]) -> tuple[Union[str, Reference], ...]:
    joined: list[Union[str, Reference]] = []
    run = ""
    for part in parts:
        if isinstance(part, str):
            run += part
            continue
        if run:
            joined.append(run)
            run = ""
        joined.append(part)
    if run:
        joined.append(run)
    return tuple(joined)


class Element(NamedTuple):
    """An element: its tag, attribute values (a ``Text`` where references stand in one), the line of its start tag, its
    content, and the line of each item."""

    tag: str
    attributes: Mapping[str, Union[str, Text]]
    line: int
    content: tuple[Union[str, Reference, Element], ...] = ()
    lines: tuple[int, ...] = ()
    file: str = ""

    def fail(self, message: str, *, line: Optional[int] = None) -> NoReturn:
        raise DefinitionError(message, file=self.file, line=line or self.line)

    def children(self) -> Iterator[Element]:
        """Yield the child elements.

        Raises:
            DefinitionError: text stands between them.
        """
        for item in self.content:
            if isinstance(item, Element):
                yield item
            elif isinstance(item, Reference) or item.strip():
                shown, _ = stray_text(item, self.line)
                self.fail(f"<{self.tag}> holds elements only; move or remove the text {shown!r}")

    def text(self) -> Text:
        """Return the content as text.

        Raises:
            DefinitionError: an element stands in it.
        """
        parts: list[Union[str, Reference]] = []
        for item in self.content:
            if isinstance(item, Element):
                item.fail(f"<{item.tag}> cannot stand in <{self.tag}>, which holds text only")
            parts.append(item)
        return Text(tuple(parts))

    def allow(self, *names: str) -> None:
        """Refuse every XML attribute that is not one of the names."""
        for name in self.attributes:
            if name not in names:
                known = f"it takes {', '.join(names)}" if names else "it takes none"
                self.fail(f"<{self.tag}> has no attribute {name!r}; {known}")

    def get(self, name: str) -> Optional[str]:
        """Return an XML attribute that may hold no reference, or None when it is not there."""
        value = self.attributes.get(name)
        if isinstance(value, Text):
            self.fail(f"&{value.references[0].name}; cannot stand in {name}= of <{self.tag}>; write the value itself")
        return value

    def value(self, name: str) -> Optional[Text]:
        """Return an XML attribute that may hold references, or None when it is not there."""
        value = self.attributes.get(name)
        return Text((value,)) if isinstance(value, str) else value


def _nothing(*_: object) -> None:
    pass


def stray_text(item: Union[str, Reference], line: int) -> tuple[str, int]:
    """Return how to show text where none belongs, shortened, and the line on which it stands.

    Args:
        line: where the item begins, perhaps with blank lines.
    """
    if isinstance(item, Reference):
        return f"&{item.name};", item.line
    text = item.lstrip()
    return text.rstrip().split("\n")[0][:40], line + item[: len(item) - len(text)].count("\n")


_Content = list[Union[str, Reference, Element]]
_Start = tuple[str, Mapping[str, Union[str, Text]], int]


class _Reader:
    """Collects expat's events into one tree; every bound is checked before memory is spent on it.

    ``content`` and ``lines`` are those of the innermost element whose end has not come yet; ``open`` holds the start of
    each such element, with the content and lines of the one around it.
    """

    def __init__(self, *, file: str, depth: int, count: int, buffered: bool) -> None:
        self.file = file
        self.depth = depth
        self.count = count
        self.open: list[tuple[_Start, _Content, list[int]]] = []
        self.content: _Content = []
        self.lines: list[int] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartDoctypeDeclHandler = self.refuse_dtd
        self.parser.ProcessingInstructionHandler = self.refuse_instruction
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.buffered = buffered
        if buffered:
            # Text comes in few long pieces. Each ends where the next event begins, so every event needs a handler.
            self.parser.buffer_text = True
            self.parser.buffer_size = 1 << 16
            self.parser.CommentHandler = self.parser.StartCdataSectionHandler = _nothing
            self.parser.EndCdataSectionHandler = _nothing

    def fail(self, message: str, line: Optional[int] = None) -> NoReturn:
        raise DefinitionError(message, file=self.file, line=line or self.parser.CurrentLineNumber)

    def refuse_dtd(self, *_: object) -> None:
        self.fail(
            "a document type (<!DOCTYPE) is not allowed; write attribute references as &name; without declaring them"
        )

    def refuse_instruction(self, target: str, _: str) -> None:
        self.fail(f"the processing instruction <?{target} is not allowed; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count -= 1
        if self.count < 0:
            self.fail("too many elements; split the file")
        if len(self.open) >= self.depth:
            self.fail(f"elements are nested deeper than {self.depth}")
        line = self.parser.CurrentLineNumber
        if _OPEN in tag or _OPEN in "".join(attributes):
            self.fail("an attribute reference cannot be part of a name")
        values: Mapping[str, Union[str, Text]] = attributes
        if _OPEN in "".join(attributes.values()):
            values = {
                name: self.attribute(value, line) if _OPEN in value else value for name, value in attributes.items()
            }
        self.open.append(((tag, values, line), self.content, self.lines))
        self.content, self.lines = [], []

    def end(self, _: str) -> None:
        (tag, values, line), content, lines = self.open.pop()
        content.append(Element(tag, values, line, tuple(self.content), tuple(self.lines), self.file))
        lines.append(line)
        self.content, self.lines = content, lines

    def characters(self, data: str) -> None:
        line = self.parser.CurrentLineNumber
        if self.buffered:
            line -= data.count("\n")
        if _OPEN not in data:
            self.content.append(data)
            self.lines.append(line)
            return
        # expat never splits a chunk within a line, so a reference's two marks arrive together.
        is_name = False
        for part in _MARKED.split(data):
            if is_name:
                self.content.append(Reference(part, line))
                self.lines.append(line)
            elif part:
                self.content.append(part)
                self.lines.append(line)
                line += part.count("\n") if self.buffered else 0
            is_name = not is_name

    @staticmethod
    def attribute(value: str, line: int) -> Text:
        parts = enumerate(_MARKED.split(value))
        return Text(tuple(Reference(part, line) if index % 2 else part for index, part in parts))


def parse_document(
    data: bytes, *, file: str, size: int = 1 << 20, depth: int = 16, count: int = 20_000, references: bool = False
) -> Element:
    """Read an XML document into its root element.

    Args:
        data: the document, in UTF-8.
        file: its name, for messages.
        size: the most bytes it may have.
        depth: the deepest nesting of elements.
        count: the most elements.
        references: whether ``&name;`` is an attribute reference (node files) or an error.

    Raises:
        DefinitionError: it is not well-formed, breaks a bound, or holds a DTD, a processing instruction or an unknown
            entity; names the line.
    """
    if len(data) > size:
        raise DefinitionError(f"the document has {len(data)} bytes, more than the {size} allowed; split it", file=file)
    text = _decode(data, file)
    if references:
        text = _mark(text, file)
    # A line end written as a character would count as one of the file's lines.
    buffered = _LINE_END.search(text) is None
    reader = _Reader(file=file, depth=depth, count=count, buffered=buffered)
    try:
        reader.parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        message = f"not well-formed XML: {expat.errors.messages[error.code]} at column {error.offset + 1}"
        raise DefinitionError(message, file=file, line=error.lineno) from None
    (root,) = reader.content
    assert isinstance(root, Element)
    return root


def parse_fragment(text: str, *, file: str, size: int = 1 << 20) -> Element:
    """Read what stands between two tags of a node file: text, elements and references, in a ``<fragment>``.

    Raises:
        DefinitionError: as ``parse_document``.
    """
    return parse_document(f"<fragment>{text}</fragment>".encode(), file=file, size=size, references=True)


def _decode(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DefinitionError("not UTF-8 text; save the file as UTF-8", file=file, line=line) from None
    declared = _ENCODING.match(text)
    if declared and declared[1].lower() not in ("utf-8", "us-ascii", "ascii") and not text.isascii():
        raise DefinitionError(f"declared as {declared[1]}; save the file as UTF-8", file=file, line=1)
    return text


def _mark(text: str, file: str) -> str:
    """Put marks in the place of attribute references, outside comments and CDATA; lines keep their numbers."""

    def line_of(position: int) -> int:
        return text.count("\n", 0, position) + 1

    for mark in (_OPEN, _CLOSE):
        if mark in text:
            raise DefinitionError(
                f"the character U+{ord(mark):04X} is not allowed", file=file, line=line_of(text.index(mark))
            )

    def replace(token: re.Match[str]) -> str:
        name = token["name"]
        if name is not None:
            if len(name) > MAX_NAME:
                raise DefinitionError(f"&{name[:40]}...; is too long a name", file=file, line=line_of(token.start()))
            return f"{_OPEN}{name}{_CLOSE}"
        if token["declaration"] is not None:
            # Rocks drops such a line wherever it stands. A processing instruction of another name is refused later.
            return token[0] if token.start() == 0 else re.sub("[^\n]", " ", token[0])
        if token["code"] is not None:
            # int() of a very long run of digits is slow; no character needs more than seven.
            digits = token["code"].lstrip("x").lstrip("0")[:9] or "0"
            if int(digits, 16 if token["code"].startswith("x") else 10) in (ord(_OPEN), ord(_CLOSE)):
                raise DefinitionError(f"{token[0]} is not allowed", file=file, line=line_of(token.start()))
        return token[0]

    return _TOKEN.sub(replace, text)


def forbidden(value: str) -> Optional[str]:
    """Return how to name the first character of a value that XML cannot carry, or None."""
    found = FORBIDDEN.search(value)
    return f"U+{ord(found[0]):04X}" if found else None


def escape_text(value: str) -> str:
    """Escape characters for element content, so that a parser gives back exactly the value."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def escape_attribute(value: str) -> str:
    """Escape characters for a double-quoted XML attribute, so that a parser gives back exactly the value."""
    if _SPECIAL.search(value) is None:
        return value
    text = escape_text(value).replace('"', "&quot;")
    return text.replace("\n", "&#10;").replace("\t", "&#9;")


def start_tag(tag: str, *, end: str = ">", **attributes: Optional[str]) -> str:
    """Write a start tag, or with ``end="/>"`` an empty element's; attributes that are None are left out."""
    written = [f' {name}="{escape_attribute(value)}"' for name, value in attributes.items() if value is not None]
    return f"<{tag}{''.join(written)}{end}"
