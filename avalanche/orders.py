"""Install orders: a live permission to install one host, as an automaton without a clock of its own.

::

    live --begin(new token)--> live            until `attempts` distinct tokens were counted
    live --finish(ok)--------> done            final; the same message again changes nothing
    live --finish(failed)----> live            or exhausted, when it was the last attempt
    live --cancel------------> cancelled       final
    live --expiry passes-----> expired         final

Every method takes ``now`` in seconds since 1970 and returns the order as it is afterwards (the same object when
nothing changed). A refusal is an OrderRefused whose line says why; adapters/orderbook.py stores what this module
decides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from avalanche.errors import ClusterError, OrderRefused
from avalanche.messages import Done

State = Literal["live", "done", "cancelled", "expired", "exhausted"]

PLANES = ("auto", "relay", "swarm", "http")
"""How bytes may travel; ``auto`` leaves it to the frontend."""
MAX_ATTEMPTS = 100
MAX_SECONDS = 90 * 86400.0


class OrderContradicted(OrderRefused):
    """A done message contradicts what the order already recorded."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One boot of a host under an order. ``done`` is the message that ended it, as its canonical JSON."""

    token: str
    started: float
    ended: float | None = None
    done: str | None = None

    @property
    def outcome(self) -> str | None:
        """``ok``, ``failed``, or None while nobody said."""
        return Done.parse(self.done).status if self.done is not None else None


@dataclass(frozen=True, slots=True)
class Order:
    """A permission to install ``host`` from ``generation``, until ``expires``, in at most ``limit`` attempts.

    ``closed`` is how a person or a done message ended it; expiry and exhaustion follow from the other fields.
    """

    id: str
    host: str
    generation: str
    plane: str
    created: float
    expires: float
    limit: int
    attempts: tuple[Attempt, ...] = ()
    closed: Literal["done", "cancelled"] | None = None
    closed_at: float | None = None

    def __post_init__(self) -> None:
        if self.plane not in PLANES:
            raise ClusterError(f"plane {self.plane!r} is not one of: {', '.join(PLANES)}")
        if not 1 <= self.limit <= MAX_ATTEMPTS:
            raise ClusterError(f"an order has 1 to {MAX_ATTEMPTS} attempts, not {self.limit}")
        if not 0 < self.expires - self.created <= MAX_SECONDS:
            raise ClusterError(f"an order lives from 1 second to {MAX_SECONDS / 86400:.0f} days")

    def state(self, now: float) -> State:
        """Say what the order is at ``now``."""
        if self.closed is not None:
            return self.closed
        if now >= self.expires:
            return "expired"
        if len(self.attempts) >= self.limit and self.attempts[-1].outcome == "failed":
            return "exhausted"
        return "live"

    def attempt(self, token: str) -> Attempt | None:
        """Return the attempt with this token, or None when it was never counted."""
        return next((attempt for attempt in self.attempts if attempt.token == token), None)

    def number(self, token: str) -> int:
        """Say which attempt this token is, counted from 1; 0 when it was never counted."""
        return next((number for number, attempt in enumerate(self.attempts, 1) if attempt.token == token), 0)

    def admit(self, now: float) -> None:
        """Permit a request that neither starts nor ends an attempt.

        Raises:
            OrderRefused: the order is not live; says which way it ended.
        """
        state = self.state(now)
        if state == "live":
            return
        told = {
            "done": "is done",
            "cancelled": "was cancelled",
            "expired": f"expired at {_when(self.expires)} (the frontend's clock says {_when(now)})",
            "exhausted": f"has used up its {self.limit} attempts",
        }
        raise OrderRefused(f"order {self.id} of {self.host} {told[state]}; {_remedy(self.host)}")

    def admit_boot(self, now: float) -> None:
        """Permit a new boot: the order is live and an attempt is left.

        Raises:
            OrderRefused: it is not, or none is.
        """
        self.admit(now)
        if len(self.attempts) >= self.limit:
            raise OrderRefused(
                f"order {self.id} of {self.host} has used up its {self.limit} attempts; {_remedy(self.host)}"
            )

    def begin(self, token: str, now: float) -> Order:
        """Count the attempt that ``token`` stands for; a token that was counted before is the same attempt.

        Raises:
            OrderRefused: the order is not live, or no attempt is left.
        """
        self.admit(now)
        if self.attempt(token) is not None:
            return self
        self.admit_boot(now)
        return replace(self, attempts=(*self.attempts, Attempt(token, now)))

    def finish(self, done: Done, now: float) -> Order:
        """Record how an attempt ended.

        A failure before the attempt was counted (the host never got its profile) counts it, so that a host that fails
        early cannot try for ever.

        Raises:
            OrderContradicted: the attempt or the order ended otherwise, or a newer attempt took its place.
            OrderRefused: the order is not live.
        """
        message = done.to_json()
        known = self.attempt(done.attempt)
        if known is not None and known.done == message:
            return self
        if self.closed == "done" or (known is not None and known.done is not None):
            raise OrderContradicted(f"order {self.id} of {self.host} already recorded another end of this install")
        self.admit(now)
        if known is not None and known is not self.attempts[-1]:
            raise OrderContradicted(f"a newer attempt of order {self.id} of {self.host} has taken this one's place")
        if known is None and done.status == "ok":
            raise OrderContradicted(f"order {self.id} of {self.host} knows no attempt {done.attempt}")
        order = self if known is not None else self.begin(done.attempt, now)
        ended = replace(order.attempts[-1], ended=now, done=message)
        order = replace(order, attempts=(*order.attempts[:-1], ended))
        return replace(order, closed="done", closed_at=now) if done.status == "ok" else order

    def change(
        self, now: float, *, seconds: float | None = None, limit: int | None = None, plane: str | None = None
    ) -> Order:
        """Change how long a live order lives from now, how many attempts it has in all, or how its packages travel.

        Raises:
            OrderRefused: the order is not live.
            ClusterError: a value is out of range.
        """
        self.admit(now)
        return replace(
            self,
            expires=self.expires if seconds is None else now + seconds,
            limit=self.limit if limit is None else limit,
            plane=self.plane if plane is None else plane,
        )

    def cancel(self, now: float) -> Order:
        """Withdraw the permission.

        Raises:
            OrderRefused: the order is not live any more.
        """
        if self.closed == "cancelled":
            return self
        self.admit(now)
        return replace(self, closed="cancelled", closed_at=now)


def live_order(orders: Sequence[Order], host: str, now: float) -> Order:
    """Return the order under which ``host`` may boot into the installer.

    Args:
        orders: the host's orders, oldest first.

    Raises:
        OrderRefused: there is none; says why the newest one does not count.
    """
    for order in reversed(orders):
        if order.state(now) == "live":
            order.admit_boot(now)
            return order
    if not orders:
        raise OrderRefused(f"{host} has no install order; {_remedy(host)}")
    orders[-1].admit(now)
    raise AssertionError("an order that is not live refuses")


def order_secret(key: bytes, order_id: str) -> str:
    """Derive an order's secret: base64url of HMAC-SHA256 over its id, 43 characters. The database never holds it."""
    digest = hmac.new(key, order_id.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def is_secret(key: bytes, order_id: str, secret: str) -> bool:
    """Whether ``secret`` is the order's, compared in constant time."""
    return hmac.compare_digest(order_secret(key, order_id).encode("ascii"), secret.encode("utf-8"))


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _remedy(host: str) -> str:
    return f"a new one: avalanche order create {host}"
