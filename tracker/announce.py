"""BitTorrent's announce and scrape on the wire: queries in, bencoded replies out (BEP 3, 7, 21, 23, 24, 48).

Pure. Where implementations differ, docs/protocol.md, section 10.3, says what holds here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from avalanche.bencode import Encodable, encode
from avalanche.errors import ProtocolError
from avalanche.tokens import Address

DEFAULT_WANTED = 50
MAXIMUM_WANTED = 100
MAXIMUM_SCRAPED = 64
LOWEST_PORT = 1024

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_EVENTS = ("started", "completed", "stopped", "paused")


@dataclass(frozen=True, slots=True)
class Announce:
    """What a client says of itself.

    Attributes:
        info_hash, peer_id: 20 bytes each.
        port: where it listens, or None: it does not.
        is_complete: it has everything (``left`` is 0).
        event: ``started``, ``completed``, ``stopped``, ``paused``, or empty.
        wanted: how many peers it asks for.
        compact, with_peer_ids: in which form.
        key: what proves that a later announce is the same client's.
    """

    info_hash: bytes
    peer_id: bytes
    port: int | None
    is_complete: bool = False
    event: str = ""
    wanted: int = DEFAULT_WANTED
    compact: bool = True
    with_peer_ids: bool = True
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A peer as it is handed out."""

    address: Address
    port: int
    peer_id: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """A swarm in numbers; ``incomplete`` counts partial seeds too, ``downloaders`` does not (BEP 21)."""

    complete: int = 0
    incomplete: int = 0
    downloaders: int = 0
    downloaded: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What an announce is answered."""

    interval: int
    minimum_interval: int
    counts: Counts
    peers: tuple[Endpoint, ...]


def parse_query(query: bytes) -> list[tuple[str, bytes]]:
    """Split a query string; values are bytes, and ``+`` is a plus.

    Raises:
        ProtocolError: an escape is malformed.
    """
    if _BAD_ESCAPE.search(query):
        raise ProtocolError("a percent sign in the query is not followed by two hexadecimal digits")
    pairs = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name:
            pairs.append((_unescape(name).decode("latin-1"), _unescape(value)))
    return pairs


def parse_announce(pairs: Iterable[tuple[str, bytes]]) -> Announce:
    """Read an announce.

    Raises:
        ProtocolError: something is missing or malformed; the text is the ``failure reason``.
    """
    values: dict[str, bytes] = {}
    for name, value in pairs:
        if name == "info_hash" and name in values:
            raise ProtocolError("an announce is for one info_hash")
        values[name] = value
    event = values.get("event", b"").decode("latin-1").lower()
    return Announce(
        info_hash=_twenty(values, "info_hash"),
        peer_id=_twenty(values, "peer_id"),
        port=_port(values.get("port")),
        is_complete=_left(values.get("left")) == 0,
        event=event if event in _EVENTS else "",
        wanted=_wanted(values.get("numwant")),
        compact=values.get("compact") != b"0",
        with_peer_ids=values.get("no_peer_id") != b"1",
        key=values.get("key", b"")[:64],
    )


def parse_scrape(pairs: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """Read which info-hashes a scrape asks for; none means all.

    Raises:
        ProtocolError: one is malformed, or there are too many.
    """
    hashes = [value for name, value in pairs if name == "info_hash"]
    if len(hashes) > MAXIMUM_SCRAPED:
        raise ProtocolError(f"a scrape is for at most {MAXIMUM_SCRAPED} info_hashes")
    if any(len(value) != 20 for value in hashes):
        raise ProtocolError("info_hash is not 20 bytes")
    return hashes


def format_reply(reply: Reply, announce: Announce, *, seen_from: Address) -> bytes:
    """Write the answer to ``announce``; ``seen_from`` is the address it came from."""
    document: dict[bytes, Encodable] = {
        b"interval": reply.interval,
        b"min interval": reply.minimum_interval,
        b"external ip": seen_from.packed,
        b"complete": reply.counts.complete,
        b"incomplete": reply.counts.incomplete,
        b"downloaders": reply.counts.downloaders,
        b"downloaded": reply.counts.downloaded,
    }
    if announce.compact:
        document[b"peers"] = _packed(peer for peer in reply.peers if peer.address.version == 4)
        six = _packed(peer for peer in reply.peers if peer.address.version == 6)
        if six:
            document[b"peers6"] = six
    else:
        document[b"peers"] = [_described(peer, announce.with_peer_ids) for peer in reply.peers]
    return encode(document)


def format_scrape(swarms: Mapping[bytes, Counts]) -> bytes:
    """Write the answer to a scrape."""
    files: dict[bytes, Encodable] = {
        info_hash: {
            b"complete": counts.complete,
            b"incomplete": counts.incomplete,
            b"downloaders": counts.downloaders,
            b"downloaded": counts.downloaded,
        }
        for info_hash, counts in swarms.items()
    }
    return encode({b"files": files})


def format_failure(reason: str) -> bytes:
    """Write a refusal; clients show ``reason`` to a person."""
    return encode({b"failure reason": reason.encode("utf-8")})


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text)


def _twenty(values: Mapping[str, bytes], name: str) -> bytes:
    value = values.get(name)
    if value is None:
        raise ProtocolError(f"{name} is missing")
    if len(value) != 20:
        raise ProtocolError(f"{name} is not 20 bytes")
    return value


def _port(value: bytes | None) -> int | None:
    # libtorrent says port 1, or none, when it does not listen: such a client may ask, and is not handed out.
    if value is None or value == b"1":
        return None
    port = _number(value)
    if port is None or not LOWEST_PORT <= port <= 65535:
        raise ProtocolError(f"port is not a number from {LOWEST_PORT} to 65535")
    return port


def _left(value: bytes | None) -> int | None:
    left = None if value is None else _number(value)
    if left is not None and left < 0:
        raise ProtocolError("left is negative")
    return left


def _wanted(value: bytes | None) -> int:
    wanted = None if value is None else _number(value)
    return DEFAULT_WANTED if wanted is None or wanted < 0 else min(wanted, MAXIMUM_WANTED)


def _number(value: bytes) -> int | None:
    return int(value) if re.fullmatch(rb"-?[0-9]{1,20}", value) else None


def _packed(peers: Iterable[Endpoint]) -> bytes:
    return b"".join(peer.address.packed + peer.port.to_bytes(2, "big") for peer in peers)


def _described(peer: Endpoint, with_peer_id: bool) -> dict[bytes, Encodable]:
    described: dict[bytes, Encodable] = {b"ip": str(peer.address).encode("ascii"), b"port": peer.port}
    if with_peer_id:
        described[b"peer id"] = peer.peer_id
    return described
