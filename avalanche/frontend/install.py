"""What an agent asks for and reports under its order, over HTTPS: profile, manifest, object, events, done."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError, OrderRefused, ProtocolError
from avalanche.frontend.answers import client, line
from avalanche.frontend.services import SERVICES, Services
from avalanche.log import facts
from avalanche.manifest import Manifest
from avalanche.messages import ATTEMPT_HEADER, TOKEN, Done, Event, EventBatch, parse_authorization
from avalanche.orders import Order, is_secret
from avalanche.pieces import Library

log = logging.getLogger(__name__)

T = TypeVar("T")
OrderWork = Callable[[Transaction, Cluster, Order], T]

BODY_SECONDS = 30.0


async def get_profile(request: web.Request) -> web.Response:
    """``GET /install/profile``: counts the attempt, and answers with attributes and profile."""
    services, order_id = _authenticate(request)
    token = request.headers.get(ATTEMPT_HEADER, "")
    if not TOKEN.fullmatch(token):
        raise ProtocolError(f"the header {ATTEMPT_HEADER} is not 16 hexadecimal digits")
    now = services.clock()

    def begin(transaction: Transaction, cluster: Cluster, found: Order) -> tuple[Cluster, Order, bool]:
        begun = found.begin(token, now)
        orderbook.save_order(transaction, found, begun)
        return cluster, begun, begun is not found

    is_new = False
    if services.installations.was_asked(order_id, token):
        cluster, order = await _admitted(services, order_id, "profile")
    else:
        cluster, order, is_new = await _change_order(services, order_id, "profile", begin)
        services.installations.note_asked(order_id, token)
    attempt = f"attempt {order.number(token)} of {order.limit}"
    choice = await services.swarm.choices.choose(order, now)
    if is_new and choice is not None:
        services.timeline.note(_event(services, order, "packages", "progress", text=str(choice), attempt=token))
    try:
        answer = await services.installations.document(cluster, order, client(request))
    except AvalancheError as error:
        services.timeline.note(_event(services, order, "profile", "failed", text=f"{attempt}: {error}", attempt=token))
        raise
    if is_new:
        services.timeline.note(_event(services, order, "profile", "ok", text=attempt, attempt=token))
    log.info("profile served", extra=facts(host=order.host, order=order.id, attempt=attempt, bytes=len(answer)))
    return web.Response(body=answer, content_type="application/xml", headers={"Cache-Control": "no-store"})


async def get_manifest(request: web.Request) -> web.Response:
    """``GET /install/manifest/DIGEST``: what the order's host will fetch."""
    services, order_id = _authenticate(request)
    cluster, order = await _admitted(services, order_id, "packages")
    digest = request.match_info["digest"]
    await services.profiles.look(cluster.rolls)
    manifest = await services.profiles.manifest(cluster, order, digest)
    if manifest is None:
        return line(404, f"no profile of {order.host} names the manifest {digest[:64]}; fetch the profile again")
    log.info("manifest served", extra=facts(host=order.host, order=order.id, digest=digest, bytes=len(manifest)))
    services.timeline.note(_event(services, order, "packages", "start", text=f"manifest {digest} served"))
    return web.Response(body=manifest, content_type="application/x-ndjson")


async def get_object(request: web.Request) -> web.Response:
    """``GET /install/object?path=PATH``: the manifest of one object outside the closure."""
    services, order_id = _authenticate(request)
    _, order = await _admitted(services, order_id, "packages")
    path = request.query.get("path", "")
    generation = await services.generations.open(order.generation)
    entry = generation.manifest.find(path) if generation is not None else None
    if entry is None:
        return line(404, f"generation {order.generation} has no object {path[:300]!r}")
    manifest = Manifest(order.generation, (entry,))
    return web.Response(body=manifest.to_bytes(), content_type="application/x-ndjson")


async def get_torrent(request: web.Request) -> web.Response:
    """``GET /install/torrent``: the torrent of the order's generation, with the host's own announce addresses."""
    services, order_id = _authenticate(request)
    cluster, order = await _admitted(services, order_id, "packages")
    if services.swarm.choices.plane(order) != "swarm":
        return line(404, f"order {order.id} of {order.host} does not use the swarm plane; order set --plane swarm")
    torrent = await services.swarm.torrent(cluster, order, client(request), services.clock())
    return web.Response(body=torrent, content_type="application/x-bittorrent", headers={"Cache-Control": "no-store"})


async def get_library(request: web.Request) -> web.Response:
    """``GET /install/libtorrent?python=&machine=&glibc=``: where libtorrent for the host's Python is, and its hash."""
    services, order_id = _authenticate(request)
    await _admitted(services, order_id, "packages")
    python, machine = request.query.get("python", "")[:16], request.query.get("machine", "")[:32]
    found = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})", request.query.get("glibc", ""))
    glibc = (int(found[1]), int(found[2])) if found is not None else (0, 0)
    wheel = await asyncio.to_thread(services.wheels.find, python, machine, glibc)
    if wheel is None:
        where = f"Python {python} on {machine} with glibc {glibc[0]}.{glibc[1]}"
        return line(404, f"this frontend has no libtorrent for {where}; put its wheel into {services.wheels.folder}")
    answer = Library(wheel.version, wheel.sha256, len(wheel.data))
    return web.Response(text=answer.to_json(), content_type="application/json")


async def get_library_file(request: web.Request) -> web.Response:
    """``GET /install/libtorrent/SHA256``: over plain HTTP, because the hash came over HTTPS."""
    services = request.app[SERVICES]
    sha256 = request.match_info["sha256"]
    wheel = await asyncio.to_thread(services.wheels.open, sha256)
    if wheel is None:
        return line(404, f"there is no libtorrent {sha256[:64]} here; ask again which one there is")
    return web.Response(body=wheel.data, content_type="application/zip", headers={"ETag": f'"{sha256}"'})


async def post_events(request: web.Request) -> web.Response:
    """``POST /install/events``: answered when they are stored."""
    services, order_id = _authenticate(request)
    batch = EventBatch.parse(await _body(request))
    _, order = await _admitted(services, order_id, "install")
    now = services.clock()
    await services.timeline.store([_timeline_event(order, batch.attempt, event, now) for event in batch.events])
    for event in batch.events:
        if event.status == "failed":
            told = facts(host=order.host, order=order.id, stage=event.stage, text=event.text)
            log.warning("host reports a failure", extra=told)
    log.debug("events stored", extra=facts(host=order.host, order=order.id, events=len(batch.events)))
    return web.Response(status=204)


async def post_done(request: web.Request) -> web.Response:
    """``POST /install/done``: closes the order, or the attempt."""
    services, order_id = _authenticate(request)
    done = Done.parse(await _body(request))
    now = services.clock()

    def finish(transaction: Transaction, _: Cluster, found: Order) -> tuple[Order, bool]:
        finished = found.finish(done, now)
        if finished is not found:
            orderbook.save_order(transaction, found, finished)
            text = _ended(finished, done, now)
            event = TimelineEvent(found.host, now, "done", done.status, text, order_id, done.attempt, data=done.summary)
            orderbook.add_events(transaction, [event])
        return finished, finished is not found

    # First what is still on its way: a timeline that goes on after "done" reads as if it were not.
    await services.timeline.store(())
    order, is_new = await _change_order(services, order_id, "done", finish)
    if is_new:
        level = logging.INFO if done.status == "ok" else logging.WARNING
        told = facts(host=order.host, order=order.id, status=done.status, state=order.state(now), text=done.text)
        log.log(level, "install ended", extra=told)
    return web.Response(status=204)


def _authenticate(request: web.Request) -> tuple[Services, str]:
    """Check that the request is private and that its secret is the order's.

    Raises:
        OrderRefused: it is not.
    """
    services = request.app[SERVICES]
    if not request.secure:
        told = " or ".join(services.config.frontend.urls("https"))
        raise OrderRefused(f"{request.path} is served over HTTPS only: {told}{request.path}")
    header = request.headers.get("Authorization")
    if header is None:
        raise OrderRefused("this address needs an install order: 'Authorization: Bearer ORDER.SECRET'")
    try:
        order_id, secret = parse_authorization(header)
    except ProtocolError as error:
        raise OrderRefused(str(error)) from error
    if not is_secret(services.order_key, order_id, secret):
        raise OrderRefused(f"wrong secret for order {order_id}")
    return services, order_id


async def _change_order(services: Services, order_id: str, stage: str, work: OrderWork[T]) -> T:
    """Run ``work``, which may change an order whose secret was right; a refusal is noted in its host's timeline.

    Raises:
        OrderRefused: there is no such order (any more), or ``work`` refuses.
    """
    host = ""

    def run(transaction: Transaction, cluster: Cluster) -> T:
        nonlocal host
        order = _existing(orderbook.find_order(transaction, order_id), order_id)
        host = order.host
        return work(transaction, cluster, order)

    try:
        return await services.storage.write(run)
    except OrderRefused as refusal:
        if host:
            _note_refusal(services, host, order_id, stage, refusal)
        raise


async def _admitted(services: Services, order_id: str, stage: str) -> tuple[Cluster, Order]:
    """Return the inventory and an order that is live; a refusal is noted in its host's timeline.

    Raises:
        OrderRefused: it is not.
    """
    cluster, found = await services.storage.order(order_id)
    order = _existing(found, order_id)
    try:
        order.admit(services.clock())
    except OrderRefused as refusal:
        _note_refusal(services, order.host, order_id, stage, refusal)
        raise
    return cluster, order


def _existing(order: Order | None, order_id: str) -> Order:
    if order is None:
        raise OrderRefused(f"there is no order {order_id}; its host was removed")
    return order


def _note_refusal(services: Services, host: str, order_id: str, stage: str, refusal: OrderRefused) -> None:
    services.timeline.note(TimelineEvent(host, services.clock(), stage, "failed", f"refused: {refusal}", order_id))


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise ProtocolError(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None


def _event(services: Services, order: Order, stage: str, status: str, **more: Any) -> TimelineEvent:
    """What the frontend itself saw of an order's host."""
    return TimelineEvent(order.host, services.clock(), stage, status, order=order.id, **more)


def _timeline_event(order: Order, attempt: str, event: Event, now: float) -> TimelineEvent:
    return TimelineEvent(
        host=order.host,
        at=now,
        stage=event.stage,
        status=event.status,
        text=event.text,
        order=order.id,
        attempt=attempt,
        seq=event.seq,
        host_at=float(event.at),
        data=event.data,
    )


def _ended(order: Order, done: Done, now: float) -> str:
    attempt = f"attempt {order.number(done.attempt)} of {order.limit}"
    if done.status == "ok":
        return f"{attempt}: installed; order {order.id} is done"
    return f"{attempt}: {done.text}; order {order.id} is {order.state(now)}"
