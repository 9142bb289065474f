"""Text that remembers where it came from, the error that says so, and the reader of the original's XML."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from avalanche.errors import DefinitionError

MAX_FILE = 1 << 20  # bytes of one graph, node or included file
MAX_TEXT = 8 << 20  # characters that one node file may expand to
MAX_DOCUMENT = 32 << 20  # characters of a whole profile
MAX_DEPTH = 64  # levels of elements
MAX_COUNT = 200_000  # elements of a document


@dataclass(frozen=True)
class Place:
    """A line of a file, as its author knows it; line 0 is the whole file."""

    file: str = ""
    line: int = 0


NOWHERE = Place()


class Stopped(DefinitionError):
    """The original ends here: with a traceback, or with a message and nothing else."""

    def __init__(self, words: str, place: Place = NOWHERE) -> None:
        message = f"the original compiler stops here: {words}"
        super().__init__(message, file=place.file or None, line=place.line or None)


def refuse(message: str, place: Place) -> NoReturn:
    """Raise for what is not the original's doing but ours: a bound, or something not reproduced."""
    raise DefinitionError(message, file=place.file or None, line=place.line or None)


@dataclass
class Written:
    """Text that is written piece by piece; knows the place of every character."""

    limit: int
    length: int = 0
    _pieces: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Written {self.length} characters>"

    def add(self, text: str, place: Place = NOWHERE) -> None:
        if self.length + len(text) > self.limit:
            refuse(f"this expands to more than {self.limit} characters; use shorter or fewer values", place)
        self._pieces.append(text)
        self._starts.append(self.length)
        self._places.append(place)
        self.length += len(text)

    def extend(self, other: Written) -> None:
        for piece, place in zip(other._pieces, other._places, strict=True):
            self.add(piece, place)

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def place(self, index: int) -> Place:
        """The place that the character at this index came from."""
        found = bisect_right(self._starts, index) - 1
        return self._places[found] if found >= 0 else NOWHERE


def escape(text: str) -> str:
    """The three escapes of Python's ``saxutils.escape``."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_value(value: str) -> str:
    """An attribute's value as the original declares it: it spoils apostrophes (``Bob's`` becomes ``Bob\\'s``)."""
    return escape(value).replace('"', "&quot;").replace("%", "&#x0025;").replace("'", "\\'")


def header(entities: Mapping[str, str]) -> str:
    """The prolog that the original puts before every document: each attribute, escaped, as an entity."""
    declared = "".join(f'\t<!ENTITY {name} "{entities[name]}">\n' for name in sorted(entities))
    return f'<?xml version="1.0" standalone="no"?>\n<!DOCTYPE rocks-graph [\n{declared}]>\n'


class Reader:
    """Python's SAX reader as the original used it: fed, but never closed, so that a missing end is no error.

    The document type is always our own ``header``: a second one is not well-formed, so a file declares no entities.
    Subclasses handle ``start``, ``end`` and ``characters``, and say in ``here`` which place is being read.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.count = 0
        self.received = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        # What has been fed is read at once, as the expat of those days did.
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)

    def feed(self, pieces: Iterable[bytes], *, close: bool = False) -> None:
        """Read a document.

        Raises:
            Stopped: it is not well-formed.
            DefinitionError: it breaks a bound.
        """
        try:
            for piece in pieces:
                self.parser.Parse(piece, False)
            if close:
                self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Stopped(f"SAXParseException: {expat.errors.messages[error.code]}", self.at_error()) from None

    def here(self) -> Place:
        raise NotImplementedError

    def at_error(self) -> Place:
        return self.here()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def end(self, tag: str) -> None:
        raise NotImplementedError

    def characters(self, data: str) -> None:
        raise NotImplementedError

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            refuse(f"elements are nested deeper than {MAX_DEPTH}", self.here())
        if self.count > MAX_COUNT:
            refuse("too many elements; split the file", self.here())
        self._receive(sum(len(value) for value in attributes.values()))
        self.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self.depth -= 1
        self.end(tag)

    def _characters(self, data: str) -> None:
        self._receive(len(data))
        self.characters(data)

    def _receive(self, length: int) -> None:
        self.received += length
        if self.received > MAX_DOCUMENT:
            refuse(f"this expands to more than {MAX_DOCUMENT} characters; use shorter or fewer values", self.here())


class WrittenReader(Reader):
    """Reads what an earlier pass has written."""

    def __init__(self, written: Written) -> None:
        super().__init__()
        self.written = written

    def read(self, *, close: bool = False) -> None:
        """Read it.

        Raises:
            Stopped, DefinitionError: as ``feed``; or a character is not ASCII, where Python 2 gave up.
        """
        text = self.written.text
        if not text.isascii():
            index = next(index for index, character in enumerate(text) if not character.isascii())
            words = f"UnicodeEncodeError: 'ascii' codec can't encode character {text[index]!a}"
            raise Stopped(words, self.written.place(index))
        self.feed([text.encode()], close=close)

    def here(self) -> Place:
        return self.written.place(self.parser.CurrentByteIndex)

    def at_error(self) -> Place:
        return self.written.place(max(0, self.parser.ErrorByteIndex))
