"""The wire form of lookups, as a host speaks it (docs/protocol.md, section 10.1)."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from avalanche.errors import ProtocolError

TARGET = "/lookup"
FRONTEND = "frontend"
MAXIMUM_ASKS = 512
MAXIMUM_FETCHES = 1024
MAXIMUM_NAMES = 4096
MAXIMUM_BLAMES = 32
MAXIMUM_KNOWN = 256
MAXIMUM_ANSWER = 4 << 20
PACE = ("slow", "starved")
"""Blames that say how a parent does at the moment, and nothing of a later one."""
NAMED_AHEAD = 5
"""Of so many hosts ahead of it a host is told; of fewer when there are no more."""


@dataclass(frozen=True)
class Ask:
    """Who is my parent for this object, of which ``left`` bytes are missing? ``avoid`` is the one that is left."""

    sha256: str
    left: int
    avoid: Optional[str] = None

    def to_row(self) -> list[Any]:
        """Return the JSON row."""
        return [self.sha256, self.left] if self.avoid is None else [self.sha256, self.left, self.avoid]


@dataclass(frozen=True)
class Row:
    """How a parent is reached, and the ticket for it; ``expires`` by the tracker's clock."""

    peer: str
    host: str
    address: str
    port: int
    rack: str
    ticket: str = field(repr=False)
    expires: int = 0


@dataclass(frozen=True)
class Answer:
    """What the tracker said. ``give`` has a parent for each ask, None for *not yet*; ``ahead`` who may serve this host
    while no tracker answers, nearest first, None when that stays what it was.
    """

    time: float
    next: float
    place: Optional[int]
    register: bool
    give: tuple[Optional[str], ...]
    moves: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    ahead: Optional[tuple[str, ...]] = None


def stand_in(ahead: Sequence[str], lost: Container[str], left: Optional[str]) -> Optional[str]:
    """Who takes the place of a parent while no tracker answers: docs/protocol.md, section 10.1.

    Args:
        ahead: who stands ahead of this host, nearest first, as the tracker said last.
        lost: those from whom nothing can be fetched any more.
        left: who did not deliver the object, when somebody should have.

    Returns:
        A peer id; `FRONTEND` for the first in line; None: others may stand ahead who are not known.
    """
    farther = ahead[ahead.index(left) + 1 :] if left in ahead else ahead
    found = next((peer for peer in farther if peer not in lost), None)
    return FRONTEND if found is None and len(ahead) < NAMED_AHEAD else found


def format_lookup(row: Mapping[str, Any]) -> bytes:
    """Write a lookup; empty lists are left out."""
    kept = {name: value for name, value in row.items() if value not in ([], None)}
    return json.dumps({"version": 1, **kept}, separators=(",", ":")).encode("ascii")


def parse_answer(data: bytes, asks: Sequence[Ask]) -> Answer:
    """Read the answer to a lookup that asked ``asks``.

    Raises:
        ProtocolError: it is not one.
    """
    try:
        row = json.loads(data.decode("utf-8"))
        if row["version"] != 1:
            raise ProtocolError(f"lookup: the tracker answers in version {row['version']!r}")
        parents = [str(parent) for parent in row["parents"]]
        give = tuple(None if index == -1 else parents[_index(index)] for index in row["give"])
        if len(give) != len(asks):
            raise ProtocolError(f"lookup: {len(asks)} objects were asked for, and {len(give)} answers came")
        return Answer(
            time=float(row["time"]),
            next=min(max(float(row["next"]), 0.05), 60.0),
            place=int(row["place"]) if "place" in row else None,
            register=row["register"] is True,
            give=give,
            moves=tuple((str(sha256), parents[_index(index)]) for sha256, index in row["move"]),
            rows=tuple(_row(item) for item in row["rows"]),
            ahead=tuple(parents[_index(index)] for index in row["ahead"]) if "ahead" in row else None,
        )
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ProtocolError(f"lookup: the tracker's answer cannot be read: {type(error).__name__}: {error}") from None


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no index")
    return value


def _row(item: Mapping[str, Any]) -> Row:
    port, expires = item["port"], item["expires"]
    if type(port) is not int or not 1 <= port <= 65535 or type(expires) is not int:
        raise ValueError("a row's port or expires is no number")
    texts = {name: item[name] for name in ("peer", "host", "address", "rack", "ticket")}
    if not all(isinstance(text, str) and text.isprintable() for text in texts.values()):
        raise ValueError("a row's text is none")
    return Row(port=port, expires=expires, **texts)
