"""Swarm tokens and tickets: who may ask the tracker, and who may ask a peer (docs/protocol.md, section 9).

A *token* says "this host installs this generation from this address until then"; frontend and trackers share the key
that signs it. A *ticket* says "this host may fetch from you"; the tracker signs it with a key that only it, the
frontend and that one parent know, so that a host can check tickets without being able to forge tokens or tickets for
others. Part of what an installing host runs: Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NoReturn, Union

from avalanche.errors import ProtocolError

VERSION = 1
KEY_BYTES = 32
"""Length of the swarm key and of every key derived from it."""
MAXIMUM_TEXT = 2048
"""Characters of the longest token or ticket that is looked at."""
TICKET_SECONDS = 600
"""How long a ticket is good for."""

Address = Union[IPv4Address, IPv6Address]

_ORDER = re.compile(r"[0-9a-f]{16}")
_ATTEMPT = re.compile(r"[0-9a-f]{16}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_RACK = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_GENERATION = re.compile(r"g-[0-9a-f]{16}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_LATEST = 1 << 40  # seconds since 1970 that still fit every clock


class TokenRefused(ProtocolError):
    """A token or ticket does not permit this; the text never repeats it."""


@dataclass(frozen=True)
class SwarmToken:
    """The tracker's leave for one host.

    Attributes:
        order: the install order, 16 hexadecimal digits.
        host: the host's name.
        rack: its rack, or an empty text when it stands in none.
        address: the address it speaks from, in canonical form.
        generation: the generation its order pins.
        expires: seconds since 1970; not good from then on.
    """

    order: str
    host: str
    rack: str
    address: str
    generation: str
    expires: int

    def __post_init__(self) -> None:
        _check_common("token", self)
        if not _RACK.fullmatch(self.rack):
            raise ProtocolError("token: 'rack' is not a rack's name")


@dataclass(frozen=True)
class Ticket:
    """One parent's leave for one child.

    Attributes:
        order, host, address: the child's.
        generation: the parent's: what the ticket opens.
        expires: seconds since 1970; not good from then on.
    """

    order: str
    host: str
    address: str
    generation: str
    expires: int

    def __post_init__(self) -> None:
        _check_common("ticket", self)


def canonical_address(text: str) -> Address:
    """Read an address; one that maps IPv4 into IPv6 is the IPv4 address.

    Raises:
        ValueError: ``text`` is no address.
    """
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def peer_id(order: str, attempt: str) -> str:
    """Name one start of an agent on the wire; nobody else's token leads to the same name."""
    if not _ORDER.fullmatch(order) or not _ATTEMPT.fullmatch(attempt):
        raise ProtocolError("order and attempt are 16 lower-case hexadecimal digits each")
    return hashlib.sha256(f"peer:{order}:{attempt}".encode()).hexdigest()[:16]


def peer_key(swarm_key: bytes, order: str) -> bytes:
    """Derive the key with which the host of ``order`` checks its children's tickets."""
    return hmac.new(_checked_key(swarm_key), b"peer:" + order.encode("ascii"), hashlib.sha256).digest()


def sign_token(swarm_key: bytes, token: SwarmToken) -> str:
    """Write a token's text."""
    return _sign(swarm_key, b"token:", asdict(token))


def verify_token(swarm_key: bytes, text: str, *, address: str, now: float) -> SwarmToken:
    """Read a token that came from ``address`` at ``now`` (seconds since 1970).

    Raises:
        TokenRefused: it is forged, malformed, expired, or another host's.
    """
    row = _verify(swarm_key, b"token:", "token", text)
    token = SwarmToken(**_fields(row, "token", SwarmToken))
    _check_use("token", token, address, now)
    return token


def read_token(text: str) -> SwarmToken:
    """Read a token for what it says; only who has the swarm key can tell whether it is good.

    Raises:
        TokenRefused: it is malformed.
    """
    payload_text, _, _ = text.partition(".")
    try:
        payload = _decode(payload_text)
    except ValueError:
        raise TokenRefused("the token is not PAYLOAD.SIGNATURE in base64url") from None
    return SwarmToken(**_fields(_document("token", payload), "token", SwarmToken))


def sign_ticket(key: bytes, ticket: Ticket) -> str:
    """Write a ticket's text; ``key`` is the parent's `peer_key`."""
    return _sign(key, b"ticket:", asdict(ticket))


def verify_ticket(key: bytes, text: str, *, address: str, generation: str, now: float) -> Ticket:
    """Read a ticket that came from ``address`` at ``now``, by the tracker's clock, to a parent that holds
    ``generation``.

    Raises:
        TokenRefused: it is forged, malformed, expired, another child's, or for another generation.
    """
    row = _verify(key, b"ticket:", "ticket", text)
    ticket = Ticket(**_fields(row, "ticket", Ticket))
    _check_use("ticket", ticket, address, now)
    if ticket.generation != generation:
        raise TokenRefused(f"the ticket is for generation {ticket.generation}, and this host installs {generation}")
    return ticket


def _checked_key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a swarm key has {KEY_BYTES} bytes, not {len(key)}")
    return key


def _check_common(what: str, value: Union[SwarmToken, Ticket]) -> None:
    for name, pattern in (("order", _ORDER), ("host", _HOST), ("generation", _GENERATION)):
        text = getattr(value, name)
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise ProtocolError(f"{what}: {name!r} is not of the form {pattern.pattern}")
    try:
        canonical = str(canonical_address(value.address))
    except ValueError:
        raise ProtocolError(f"{what}: 'address' is not an address") from None
    if canonical != value.address:
        raise ProtocolError(f"{what}: 'address' is not in canonical form, which is {canonical}")
    if type(value.expires) is not int or not 0 < value.expires < _LATEST:
        raise ProtocolError(f"{what}: 'expires' is not a time in whole seconds since 1970")


def check_again(token: SwarmToken, *, address: str, now: float) -> None:
    """Check a token whose text was found good before, now that it comes from ``address``.

    Raises:
        TokenRefused: it is expired, or another host's.
    """
    _check_use("token", token, address, now)


def _check_use(what: str, value: Union[SwarmToken, Ticket], address: str, now: float) -> None:
    if address != value.address and str(canonical_address(address)) != value.address:
        raise TokenRefused(f"the {what} is for {value.address}, and came from {address}")
    if now >= value.expires:
        raise TokenRefused(f"the {what} of {value.host} expired {now - value.expires:.0f} s ago")


def _sign(key: bytes, purpose: bytes, row: dict[str, Any]) -> str:
    payload = json.dumps({"version": VERSION, **row}, sort_keys=True, separators=(",", ":")).encode("ascii")
    return f"{_encode(payload)}.{_encode(_mac(key, purpose, payload))}"


def _verify(key: bytes, purpose: bytes, what: str, text: str) -> dict[str, Any]:
    if len(text) > MAXIMUM_TEXT:
        raise TokenRefused(f"the {what} is longer than {MAXIMUM_TEXT} characters")
    payload_text, _, mac_text = text.partition(".")
    try:
        payload, mac = _decode(payload_text), _decode(mac_text)
    except ValueError:
        raise TokenRefused(f"the {what} is not PAYLOAD.SIGNATURE in base64url") from None
    if not hmac.compare_digest(mac, _mac(key, purpose, payload)):
        raise TokenRefused(f"the {what}'s signature is wrong")
    return _document(what, payload)


def _mac(key: bytes, purpose: bytes, payload: bytes) -> bytes:
    # The purpose keeps a token's signature from ever being a ticket's, or a derived key.
    return hmac.new(_checked_key(key), purpose + payload, hashlib.sha256).digest()


def _document(what: str, payload: bytes) -> dict[str, Any]:
    try:
        row = json.loads(payload.decode("ascii"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise TokenRefused(f"the {what} holds no document") from None
    if not isinstance(row, dict) or row.pop("version", None) != VERSION:
        raise TokenRefused(f"the {what} is not of version {VERSION}")
    return row


def _fields(row: dict[str, Any], what: str, form: type) -> dict[str, Any]:
    expected = set(form.__dataclass_fields__)  # type: ignore[attr-defined]
    if set(row) != expected:
        raise TokenRefused(f"the {what} does not have exactly the keys {' '.join(sorted(expected))}")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _encode(data) != text:
        raise ValueError("not the canonical text of these bytes")  # one token has one text
    return data
