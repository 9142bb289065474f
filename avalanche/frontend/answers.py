"""Answers that several handlers share: what an error becomes, and how an overloaded frontend says "later"."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from aiohttp import web

from avalanche.adapters.database import DatabaseUnavailable
from avalanche.errors import (
    AvalancheError,
    ConfigError,
    DefinitionError,
    IdentityConflict,
    OrderRefused,
    ProtocolError,
    RepositoryError,
    UnknownHost,
)
from avalanche.log import facts
from avalanche.names import parse_ip
from avalanche.orders import OrderContradicted

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AWAY = "until the frontend's database is back this address has no answer; ask again. Packages are served on"
RETRY_AFTER = (1, 4)  # seconds, both included: hosts that were refused together shall not come back together

# The first row that fits decides. A roll or a setting that is wrong is 500, so that hosts retry while it is mended.
_STATUSES: tuple[tuple[type[AvalancheError], int], ...] = (
    (OrderContradicted, 409),
    (IdentityConflict, 409),
    (OrderRefused, 403),
    (UnknownHost, 404),
    (ProtocolError, 400),
    (DatabaseUnavailable, 503),
    (DefinitionError, 500),
    (RepositoryError, 500),
    (ConfigError, 500),
)


def status_of(error: AvalancheError) -> int:
    """The HTTP status of an error (docs/protocol.md)."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def line(status: int, text: str, *, retry_after: int | None = None) -> web.Response:
    """A one-line answer; 503 carries Retry-After with jitter in it."""
    seconds = random.randint(*RETRY_AFTER) if retry_after is None else retry_after  # noqa: S311 -- no secret
    headers = {"Retry-After": str(seconds)} if status == 503 else {}
    return web.Response(status=status, text=" ".join(text.split()) + "\n", headers=headers)


def client(request: web.Request) -> str:
    """The address a request comes from, in canonical form; empty when the connection is gone."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return parse_ip(peer[0].partition("%")[0]) if peer else ""


@web.middleware
async def errors_answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into its status and one line; log what an operator may want to know."""
    try:
        return await handler(request)
    except AvalancheError as error:
        status = status_of(error)
        level = logging.ERROR if status >= 500 else logging.WARNING
        asked = facts(status=status, client=client(request), path=request.path, reason=error)
        log.log(level, "request refused", extra=asked)
        told = f"; {AWAY}" if isinstance(error, DatabaseUnavailable) else ""
        return line(status, f"{error}{told}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _plain(error)
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        log.exception("request failed", extra=facts(status=500, client=client(request), path=request.path))
        return line(500, "the frontend failed; its log says why")


def _plain(error: web.HTTPException) -> web.Response:
    """Say in one line what aiohttp refuses: addresses, methods, sizes."""
    told = {
        404: "there is nothing at this address; see docs/protocol.md",
        413: "the body is larger than this address takes",
    }
    answer = line(error.status, told.get(error.status, error.reason))
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer
