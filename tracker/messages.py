"""The wire form of lookups and their answers (docs/protocol.md, section 10.1). Strict: nothing unknown is let in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from avalanche.errors import ProtocolError
from tracker.flow import FRONTEND, ObjectId, PeerId
from tracker.lookup import BLAMES, STATES, Answer, Ask, Blame, Lookup, Registration
from tracker.registry import Registered

MAXIMUM_BODY = 4 << 20
MAXIMUM_ROWS = {
    "have": 65_536,
    "fetch": 1_024,
    "ask": 512,
    "done": 4_096,
    "drop": 4_096,
    "blame": 32,
    "known": 256,
}
MAXIMUM_PLACE = 1 << 31
MAXIMUM_RECEIVED = 1 << 53

_Item = TypeVar("_Item")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Request:
    """A lookup as it came: who speaks, what it says, and whose rows it still has."""

    attempt: str
    port: int
    lookup: Lookup
    known: frozenset[PeerId]


@dataclass(frozen=True, slots=True)
class Row:
    """How a child reaches a parent."""

    peer: PeerId
    host: str
    address: str
    port: int
    rack: str
    ticket: str
    expires: int


def parse_request(data: bytes, registered: Registered) -> Request:
    """Read a lookup of a host that installs ``registered``.

    Raises:
        ProtocolError: it is not exactly what section 10.1 says, or names an object the generation does not have.
    """
    row = _document(data)
    reader = _Reader(registered)
    required, optional = {"version", "attempt", "port", "state", "received"}, {"register", "known"}
    _keys("lookup", row, required, optional | {"ask", "done", "drop", "blame"})
    if row["version"] != 1 or type(row["version"]) is not int:
        raise ProtocolError(f"lookup: version {row['version']!r}, and this tracker reads version 1")
    if row["state"] not in STATES:
        raise ProtocolError(f"lookup: 'state' is not one of {' '.join(STATES)}")
    lookup = Lookup(
        asks=reader.rows("ask", row.get("ask", []), reader.ask),
        done=reader.rows("done", row.get("done", []), reader.thing),
        dropped=reader.rows("drop", row.get("drop", []), reader.thing),
        blames=reader.rows("blame", row.get("blame", []), reader.blame),
        registration=reader.registration(row["register"]) if "register" in row else None,
        state=row["state"],
        received=_number("received", row["received"], 0, MAXIMUM_RECEIVED),
    )
    if len({ask.thing for ask in lookup.asks}) != len(lookup.asks):
        raise ProtocolError("lookup: an object stands twice in 'ask'")
    known = frozenset(reader.rows("known", row.get("known", []), reader.peer))
    return Request(_text("attempt", row["attempt"], _HEX16), _number("port", row["port"], 1024, 65535), lookup, known)


def format_answer(answer: Answer, *, time: float, rows: Sequence[Row]) -> bytes:
    """Write an answer; ``rows`` says how the parents in it are reached, as far as the child does not know."""
    named = [*(p for p in answer.give if p is not None), *(parent for _, parent in answer.moves), *(answer.ahead or ())]
    parents = list(dict.fromkeys(named))
    places = {parent: place for place, parent in enumerate(parents)}
    document: dict[str, Any] = {"version": 1, "time": round(time, 3), "next": round(answer.next, 3)}
    if answer.place is not None:
        document["place"] = answer.place
    document["register"] = answer.register
    document["parents"] = parents
    document["give"] = [-1 if parent is None else places[parent] for parent in answer.give]
    document["move"] = [[thing, places[parent]] for thing, parent in answer.moves]
    if answer.ahead is not None:
        document["ahead"] = [places[parent] for parent in answer.ahead]
    document["rows"] = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
    return _ENCODER.encode(document).encode("ascii")


def parents_of(answer: Answer) -> list[PeerId]:
    """The peers an answer names, the frontend aside."""
    named = {parent for parent in answer.give if parent is not None} | {parent for _, parent in answer.moves}
    return sorted(named.union(answer.ahead or ()) - {FRONTEND})


class _Reader:
    def __init__(self, registered: Registered) -> None:
        self._registered = registered

    def rows(self, name: str, value: object, read: Callable[[object], _Item]) -> tuple[_Item, ...]:
        if not isinstance(value, list) or len(value) > MAXIMUM_ROWS[name]:
            raise ProtocolError(f"lookup: {name!r} is not a list of at most {MAXIMUM_ROWS[name]}")
        return tuple([read(item) for item in value])

    def thing(self, value: object) -> ObjectId:
        if not isinstance(value, str) or value not in self._registered.objects:
            raise ProtocolError(f"lookup: {str(value)[:70]!r} is no object of {self._registered.generation}")
        return value

    def peer(self, value: object) -> PeerId:
        return FRONTEND if value == FRONTEND else _text("peer", value, _HEX16)

    def left(self, thing: ObjectId, value: object) -> int:
        return _number("left", value, 1, self._registered.objects[thing])

    def ask(self, value: object) -> Ask:
        row = _row("ask", value, 2, 3)
        thing = self.thing(row[0])
        return Ask(thing, self.left(thing, row[1]), self.peer(row[2]) if len(row) == 3 else None)

    def fetch(self, value: object) -> tuple[ObjectId, PeerId, int]:
        row = _row("fetch", value, 3, 3)
        thing = self.thing(row[0])
        return thing, self.peer(row[1]), self.left(thing, row[2])

    def blame(self, value: object) -> Blame:
        row = _row("blame", value, 2, 3)
        if row[1] not in BLAMES:
            raise ProtocolError(f"lookup: {str(row[1])[:40]!r} is not a blame; it is one of {' '.join(BLAMES)}")
        thing = self.thing(row[2]) if len(row) == 3 else None
        if (thing is not None) is not (row[1] in ("corrupt", "starved")):
            raise ProtocolError("lookup: a blame names its object when it is corrupt or starved, and else not")
        return Blame(self.peer(row[0]), row[1], thing)

    def registration(self, value: object) -> Registration:
        if not isinstance(value, dict):
            raise ProtocolError("lookup: 'register' is not an object")
        _keys("register", value, {"manifest"}, {"place", "have", "fetch"})
        wants = self._registered.closures.get(_text("manifest", value["manifest"], _SHA256), frozenset())
        place = _number("place", value["place"], 0, MAXIMUM_PLACE) if "place" in value else None
        have = self.rows("have", value.get("have", []), self.thing)
        return Registration(wants, place, have, self.rows("fetch", value.get("fetch", []), self.fetch))


def _document(data: bytes) -> dict[str, Any]:
    try:
        row = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"lookup: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ProtocolError("lookup: not a JSON object")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands twice")
    return row


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _keys(what: str, row: dict[str, Any], required: set[str], optional: set[str]) -> None:
    for name in sorted(required - set(row)):
        raise ProtocolError(f"{what}: {name!r} is missing")
    for name in sorted(set(row) - required - optional):
        raise ProtocolError(f"{what}: {name[:40]!r} is not a key of this message")


def _row(what: str, value: object, least: int, most: int) -> list[Any]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise ProtocolError(f"lookup: a row of {what!r} has {least} to {most} values")
    return value


def _text(name: str, value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ProtocolError(f"lookup: {name!r} is not of the form {pattern.pattern}")
    return value


def _number(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(f"lookup: {name!r} is not a whole number from {least} to {most}")
    return value


# Made once: a lookup is small, and making these costs as much as reading it.
_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_unique)
_ENCODER = json.JSONEncoder(separators=(",", ":"))
