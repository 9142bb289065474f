"""What a tracker that runs by itself tells its frontend, and what it hears (docs/protocol.md, section 10.5).

Both ways are signed with the swarm key: it goes over plain HTTP, holds no secret, and is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from avalanche.errors import ProtocolError
from avalanche.tokens import canonical_address

VERSION = 1
TARGET = "/install/tracker"
SIGNATURE = "X-Avalanche-Signature"
MAXIMUM_REPORTS = 100
MAXIMUM_HOLDERS = 64
MAXIMUM_SLOW = 10_000
MAXIMUM_TEXT = 1000
"""Characters of a report's text."""
MAXIMUM_BODY = 256 * 1024
CLOCK_SECONDS = 300.0
"""So far apart the clocks of tracker and frontend may be; older news could be somebody's who repeats them."""
STATUSES = ("corrupt", "slow", "restored", "refused")

_ID = re.compile(r"[0-9a-f]{16}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_GENERATION = re.compile(r"g-[0-9a-f]{16}")
_STATUS = re.compile("|".join(STATUSES))


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What the timeline of ``order`` on ``host`` should say."""

    order: str
    host: str
    status: str
    text: str

    def __post_init__(self) -> None:
        _match("order", _ID, self.order)
        _match("host", _HOST, self.host)
        _match("status", _STATUS, self.status)
        if not isinstance(self.text, str) or len(self.text) > MAXIMUM_TEXT or not self.text.isprintable():
            raise ProtocolError(f"news: 'text' is not one line of at most {MAXIMUM_TEXT} characters")


@dataclass(frozen=True, slots=True)
class Holder:
    """A host that installs now, and so has the agent bundle: its order, its generation, and where it serves."""

    order: str
    generation: str
    address: str
    port: int

    def __post_init__(self) -> None:
        _match("order", _ID, self.order)
        _match("generation", _GENERATION, self.generation)
        try:
            is_canonical = str(canonical_address(self.address)) == self.address
        except ValueError:
            is_canonical = False
        if not is_canonical:
            raise ProtocolError("news: 'address' is not an address in canonical form")
        if type(self.port) is not int or not 1024 <= self.port <= 65535:
            raise ProtocolError("news: 'port' is not a number from 1024 to 65535")


@dataclass(frozen=True, slots=True)
class News:
    """One message of a tracker.

    Attributes:
        tracker: chosen once per start of the tracker.
        seq: counts from 1; the same number again is the same message again, with the same reports.
        at: the tracker's clock, seconds since 1970.
        reports: what was found out about hosts since the message before.
        holders: some of those who have the bundle now.
    """

    tracker: str
    seq: int
    at: float
    reports: tuple[PeerReport, ...] = ()
    holders: tuple[Holder, ...] = ()

    def __post_init__(self) -> None:
        _match("tracker", _ID, self.tracker)
        if type(self.seq) is not int or not 0 < self.seq < 1 << 53:
            raise ProtocolError("news: 'seq' is not a number from 1")
        if type(self.at) not in (int, float) or not 0 < self.at < 1 << 40:
            raise ProtocolError("news: 'at' is not a time in seconds since 1970")
        if len(self.reports) > MAXIMUM_REPORTS or len(self.holders) > MAXIMUM_HOLDERS:
            raise ProtocolError(f"news: more than {MAXIMUM_REPORTS} reports or {MAXIMUM_HOLDERS} holders")

    def to_bytes(self) -> bytes:
        """Write the message."""
        return _dump(asdict(self))

    @classmethod
    def parse(cls, data: bytes) -> News:
        """Read a message.

        Raises:
            ProtocolError: it is not exactly what section 10.5 says.
        """
        row = _document(data, {"tracker", "seq", "at", "reports", "holders"})
        row["reports"] = tuple(_made(PeerReport, each) for each in _list(row, "reports"))
        row["holders"] = tuple(_made(Holder, each) for each in _list(row, "holders"))
        return cls(**row)


def format_answer(slow: list[str]) -> bytes:
    """Write the frontend's answer: the hosts that earlier installs found slow."""
    return _dump({"slow": slow[:MAXIMUM_SLOW]})


def parse_answer(data: bytes) -> frozenset[str]:
    """Read it. Raises ProtocolError."""
    names = _list(_document(data, {"slow"}), "slow")
    if len(names) > MAXIMUM_SLOW:
        raise ProtocolError(f"news: more than {MAXIMUM_SLOW} slow hosts")
    for name in names:
        _match("slow", _HOST, name)
    return frozenset(names)


def sign(swarm_key: bytes, body: bytes, *, purpose: str) -> str:
    """The signature of a ``purpose``, ``news`` or ``answer``: 64 hexadecimal digits."""
    return hmac.new(swarm_key, f"{purpose}:".encode("ascii") + body, hashlib.sha256).hexdigest()


def is_signed(swarm_key: bytes, body: bytes, signature: str, *, purpose: str) -> bool:
    """Was it made with this key?"""
    return hmac.compare_digest(sign(swarm_key, body, purpose=purpose).encode(), signature.encode("utf-8", "replace"))


def _dump(row: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **row}, allow_nan=False, separators=(",", ":")).encode("ascii")


def _document(data: bytes, keys: set[str]) -> dict[str, Any]:
    try:
        row = json.loads(data[: MAXIMUM_BODY + 1].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"news: not a JSON document: {error}") from None
    if not isinstance(row, dict) or row.pop("version", None) != VERSION:
        raise ProtocolError(f"news: not of version {VERSION}")
    if set(row) != keys:
        raise ProtocolError(f"news: the keys are not exactly {' '.join(sorted(keys))}")
    return row


def _list(row: dict[str, Any], name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list):
        raise ProtocolError(f"news: {name!r} is not a list")
    return value


def _made(form: type, row: Any) -> Any:
    if not isinstance(row, dict) or set(row) != set(form.__dataclass_fields__):  # type: ignore[attr-defined]
        raise ProtocolError(f"news: an entry has not exactly the keys {' '.join(form.__dataclass_fields__)}")  # type: ignore[attr-defined]
    return form(**row)


def _match(name: str, pattern: re.Pattern[str], value: object) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ProtocolError(f"news: {name!r} is not of the form {pattern.pattern}")
