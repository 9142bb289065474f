"""The small messages of docs/protocol.md: stub document, events, done, credentials; and how long a retry waits.

Part of the agent's import closure (Python 3.9, standard library). Every message is a frozen value that is valid from
birth; ``parse`` is strict (an unknown key, version, stage or status is a ProtocolError that names it) and ``to_json``
writes what ``parse`` reads back equal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional, Union

from avalanche.errors import ProtocolError

VERSION = 1

ATTEMPT_HEADER = "X-Avalanche-Attempt"
MAX_BODY = 256 * 1024  # bytes of one posted body
MAX_EVENTS = 500  # events in one batch
MAX_TEXT = 4000  # characters of one event's text
MAX_DATA = 50  # keys of an event's data or a done's summary

STAGES = ("stub", "profile", "pre", "kickstart", "packages", "install", "post", "done")
STATUSES = ("start", "progress", "ok", "failed")
DONE_STATUSES = ("ok", "failed")

RETRY_STATUSES = frozenset({500, 502, 503, 504})
RETRY_FIRST = 0.2  # seconds before the first retry; doubles
RETRY_LAST = 5.0  # seconds at most, before the random factor
RETRY_SPREAD = (0.5, 1.5)  # every backoff is multiplied by a random factor in this range

ORDER_ID = re.compile(r"[0-9a-f]{16}")
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
TOKEN = re.compile(r"[0-9a-f]{16}")
SHA256 = re.compile(r"[0-9a-f]{64}")
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_BASE_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")

Scalar = Union[str, int, float, bool]


def retry_delay(tries: int, *, chance: float, retry_after: Optional[float] = None) -> float:
    """Say how many seconds to wait after the ``tries``-th failure (counted from 1).

    Args:
        chance: a random number in [0, 1), chosen by the caller.
        retry_after: seconds the other side asked for, or None.
    """
    backoff = min(RETRY_LAST, RETRY_FIRST * 2.0 ** min(tries - 1, 30))
    low, high = RETRY_SPREAD
    # Never earlier than asked: the jitter of what was asked is the other side's, ours comes on top.
    return (retry_after or 0.0) + backoff * (low + (high - low) * chance)


def format_authorization(order: str, secret: str) -> str:
    """Build the Authorization header that proves an order."""
    return f"Bearer {order}.{secret}"


def parse_authorization(text: str) -> tuple[str, str]:
    """Split an Authorization header into order id and secret.

    Raises:
        ProtocolError: it is not ``Bearer ORDER.SECRET``. The message never repeats the header.
    """
    scheme, _, credentials = text.partition(" ")
    order, _, secret = credentials.partition(".")
    if scheme.lower() != "bearer" or not ORDER_ID.fullmatch(order) or not SECRET.fullmatch(secret):
        raise ProtocolError("the Authorization header is not 'Bearer ORDER.SECRET'")
    return order, secret


@dataclass(frozen=True)
class StubDocument:
    """What the stub's %pre knows: where the frontend is, how to trust it, and the order (docs/protocol.md section 2).

    ``http`` and ``https`` are base URLs without a trailing slash, in the order in which they are tried. ``bundle`` is
    the SHA-256 of the agent bundle, ``ca`` the PEM certificate of the frontend's own CA.
    """

    host: str
    order: str
    secret: str = field(repr=False)
    http: tuple[str, ...]
    https: tuple[str, ...]
    bundle: str
    ca: str = field(repr=False)

    def __post_init__(self) -> None:
        _match("stub", "host", HOST_NAME, self.host)
        _match("stub", "order", ORDER_ID, self.order)
        if not SECRET.fullmatch(self.secret):
            raise ProtocolError("stub: 'secret' is not 43 characters of base64url")
        _match("stub", "bundle", SHA256, self.bundle)
        if "-----BEGIN CERTIFICATE-----" not in self.ca:
            raise ProtocolError("stub: 'ca' is not a PEM certificate")
        for scheme, urls in (("http", self.http), ("https", self.https)):
            if not urls:
                raise ProtocolError(f"stub: '{scheme}' is empty")
            for url in urls:
                match = _BASE_URL.fullmatch(url)
                if match is None or match.group(1) != scheme:
                    raise ProtocolError(f"stub: {url!r} is not an {scheme} address without a path")

    def to_json(self) -> str:
        """Write the document; ASCII only, one line."""
        return _dump(
            {
                "version": VERSION,
                "host": self.host,
                "order": self.order,
                "secret": self.secret,
                "http": list(self.http),
                "https": list(self.https),
                "bundle": self.bundle,
                "ca": self.ca,
            }
        )

    @classmethod
    def parse(cls, data: Union[bytes, str]) -> StubDocument:
        """Read a document.

        Raises:
            ProtocolError: it is not exactly what docs/protocol.md section 2 says.
        """
        names = ("host", "order", "secret", "http", "https", "bundle", "ca")
        row = _document("stub", data, required=names)
        texts = {name: _text("stub", name, row[name]) for name in names if name not in ("http", "https")}
        return cls(http=_texts("stub", "http", row["http"]), https=_texts("stub", "https", row["https"]), **texts)


@dataclass(frozen=True)
class Event:
    """One thing that happened on an installing host. ``at`` is the host's clock, in seconds since 1970."""

    seq: int
    at: float
    stage: str
    status: str
    text: str = ""
    data: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"event {str(self.seq)[:20]}"
        if not _is_integer(self.seq) or not 1 <= self.seq < 2**31:
            raise ProtocolError(f"{where}: 'seq' is not a whole number from 1")
        if not _is_number(self.at) or not 0 <= self.at < 1e11:
            raise ProtocolError(f"{where}: 'at' is not a time in seconds since 1970")
        _choice(where, "stage", self.stage, STAGES)
        _choice(where, "status", self.status, STATUSES)
        _check_text(where, self.text)
        _check_facts(where, "data", self.data)

    def to_row(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        row: dict[str, Any] = {
            "seq": self.seq,
            "at": self.at,
            "stage": self.stage,
            "status": self.status,
            "text": self.text,
        }
        if self.data:
            row["data"] = dict(self.data)
        return row

    @classmethod
    def from_row(cls, row: object) -> Event:
        """Read the JSON object of one event.

        Raises:
            ProtocolError: a key is missing, unknown or out of range.
        """
        if not isinstance(row, dict):
            raise ProtocolError("events: an event is not an object")
        _keys("event", row, required=("seq", "at", "stage", "status", "text"), optional=("data",))
        return cls(**row)


@dataclass(frozen=True)
class EventBatch:
    """The events of one attempt, as posted (docs/protocol.md section 6)."""

    attempt: str
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        _match("events", "attempt", TOKEN, self.attempt)
        if len(self.events) > MAX_EVENTS:
            raise ProtocolError(f"events: {len(self.events)} events in one batch; at most {MAX_EVENTS} are allowed")

    def to_json(self) -> str:
        """Write the batch; ASCII only, one line."""
        return _dump({"version": VERSION, "attempt": self.attempt, "events": [event.to_row() for event in self.events]})

    @classmethod
    def parse(cls, data: Union[bytes, str]) -> EventBatch:
        """Read a batch.

        Raises:
            ProtocolError: it is not exactly what docs/protocol.md section 6 says.
        """
        row = _document("events", data, required=("attempt", "events"))
        if not isinstance(row["events"], list):
            raise ProtocolError("events: 'events' is not a list")
        return cls(
            attempt=row["attempt"], events=tuple(Event.from_row(event) for event in row["events"][: MAX_EVENTS + 1])
        )


@dataclass(frozen=True)
class Done:
    """How an attempt ended (docs/protocol.md section 7). ``text`` says why when ``status`` is ``failed``."""

    attempt: str
    status: str
    text: str = ""
    summary: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _match("done", "attempt", TOKEN, self.attempt)
        _choice("done", "status", self.status, DONE_STATUSES)
        _check_text("done", self.text)
        if self.status == "failed" and not self.text:
            raise ProtocolError("done: 'text' must say why the install failed")
        _check_facts("done", "summary", self.summary)

    def to_json(self) -> str:
        """Write the message; ASCII only, one line; equal messages are equal texts."""
        summary = {name: self.summary[name] for name in sorted(self.summary)}
        return _dump(
            {"version": VERSION, "attempt": self.attempt, "status": self.status, "text": self.text, "summary": summary}
        )

    @classmethod
    def parse(cls, data: Union[bytes, str]) -> Done:
        """Read a message.

        Raises:
            ProtocolError: it is not exactly what docs/protocol.md section 7 says.
        """
        row = _document("done", data, required=("attempt", "status", "text"), optional=("summary",))
        del row["version"]
        return cls(**row)


# --- what the messages share ---


def _dump(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False, separators=(",", ":"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: Any) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands twice")
    return row


def _document(
    what: str, data: Union[bytes, str], *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Parse JSON, check the version and that the keys are exactly those."""
    if len(data) > MAX_BODY:
        raise ProtocolError(f"{what}: the document is larger than {MAX_BODY} bytes")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        row = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what}: not a JSON document: {error}") from error
    if not isinstance(row, dict):
        raise ProtocolError(f"{what}: not a JSON object")
    if "version" in row and (not _is_integer(row["version"]) or row["version"] != VERSION):
        raise ProtocolError(f"{what}: version {row['version']!r} is not known here; this side speaks version {VERSION}")
    _keys(what, row, required=("version", *required), optional=optional)
    return row


def _keys(what: str, row: dict[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for name in required:
        if name not in row:
            raise ProtocolError(f"{what}: '{name}' is missing")
    for name in row:
        if name not in required and name not in optional:
            raise ProtocolError(f"{what}: {name[:40]!r} is not a key of this message")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _text(what: str, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"{what}: '{name}' is not a text")
    return value


def _texts(what: str, name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ProtocolError(f"{what}: '{name}' is not a list")
    return tuple(_text(what, name, item) for item in value)


def _match(what: str, name: str, pattern: re.Pattern[str], value: object) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ProtocolError(f"{what}: '{name}' is {str(value)[:80]!r}, which is not of the form {pattern.pattern}")


def _choice(what: str, name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ProtocolError(f"{what}: '{name}' is {str(value)[:40]!r}; it is one of {' '.join(choices)}")


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ProtocolError(f"{what}: 'text' is not a text")
    if len(value) > MAX_TEXT:
        raise ProtocolError(f"{what}: 'text' has more than {MAX_TEXT} characters")
    if not _is_storable(value):
        raise ProtocolError(f"{what}: 'text' holds half a character (a lone surrogate)")


def _is_storable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_facts(what: str, name: str, facts: object) -> None:
    """``data`` and ``summary``: a flat object of texts and numbers."""
    if not isinstance(facts, dict) or len(facts) > MAX_DATA:
        raise ProtocolError(f"{what}: '{name}' is not an object of at most {MAX_DATA} keys")
    for key, value in facts.items():
        if not isinstance(key, str) or not 1 <= len(key) <= 64 or not _is_storable(key):
            raise ProtocolError(f"{what}: '{name}' has a key that is not a text of 1 to 64 characters")
        if isinstance(value, str):
            _check_text(f"{what}: '{name}' {key!r}", value)
        elif not isinstance(value, bool) and not (_is_number(value) and abs(value) < 2**63):
            raise ProtocolError(f"{what}: '{name}' {key!r} is neither a text nor a number")
