"""What a booting installer fetches before it has an agent: the stub kickstart, and the agent bundle the stub pins.

Both must be cheap: dracut tries the stub three times and then gives up for good.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from aiohttp import web

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.adapters.engine import DatabaseUnavailable
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.sightings import note_sightings
from avalanche.cluster import Cluster
from avalanche.errors import AvalancheError, ClusterError, OrderRefused, UnknownHost
from avalanche.ethers import Sighting, Verdict
from avalanche.frontend.answers import client, line, status_of
from avalanche.frontend.services import SERVICES, Services
from avalanche.log import facts
from avalanche.messages import StubDocument
from avalanche.names import parse_mac
from avalanche.orders import Order, live_order, order_secret
from avalanche.stub import render_stub

log = logging.getLogger(__name__)

BUNDLE_STREAMS = 8
"""So many hosts get the bundle from here at once; others are sent to hosts that have it, when there are any."""
ELSEWHERE_SECONDS = 30.0
ADDRESSES_KEPT = 10_000
STRANGER_SECONDS = 5.0
MACS_NOTED = 8  # of one request
MAC_HEADER = "X-RHN-Provisioning-MAC-"


def provisioning_macs(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Read the MACs an installer names: ``X-RHN-Provisioning-MAC-0: eth0 52:54:00:12:34:56``.

    They are hints; what is no MAC (an InfiniBand address, say) is passed over.
    """
    found = []
    for name, value in headers:
        words = value.split()
        if name.lower().startswith(MAC_HEADER.lower()) and len(words) >= 2:
            try:
                found.append(parse_mac(words[1]))
            except ClusterError:
                continue
    return tuple(dict.fromkeys(found))


async def get_stub(request: web.Request) -> web.Response:
    """``GET /install/stub``: the kickstart of a host that has a live order."""
    services = request.app[SERVICES]
    address = client(request)
    macs = provisioning_macs(request.headers.items())
    now = services.clock()

    def find(transaction: Transaction, cluster: Cluster) -> tuple[str, Order | OrderRefused]:
        host = cluster.identify(macs, address)
        try:
            return host.name, live_order(orderbook.orders_of(transaction, host.name), host.name, now)
        except OrderRefused as refusal:
            return host.name, refusal

    try:
        host, order = await services.storage.read(find)
    except UnknownHost as error:
        await note_stranger(services, macs, address, str(error))
        raise
    if isinstance(order, OrderRefused):
        told = f"refused to {address}: {order}"
        services.timeline.note(TimelineEvent(host, now, "stub", "failed", told, data={"status": status_of(order)}))
        raise order
    document = StubDocument(
        host=host,
        order=order.id,
        secret=order_secret(services.order_key, order.id),
        http=services.config.frontend.urls("http") + services.config.frontend.mirrors,
        https=services.config.frontend.urls("https"),
        bundle=services.bundle.sha256,
        ca=services.ca,
    )
    served = f"stub served to {address}"
    services.timeline.note(TimelineEvent(host, now, "stub", "ok", served, order.id, data={"status": 200}))
    log.info("stub served", extra=facts(host=host, order=order.id, client=address))
    return web.Response(text=render_stub(document), content_type="text/plain", headers={"Cache-Control": "no-store"})


async def note_stranger(services: Services, macs: tuple[str, ...], address: str, why: str) -> None:
    """Remember a machine that asked for a kickstart and is no host, for insert-ethers and ``avalanche host why``.

    It asks again and again, and so may anybody else: one MAC is noted once in a while, and no failure is its concern.
    """
    now = services.clock()
    fresh = [mac for mac in macs[:MACS_NOTED] if now - services.strangers.get(mac, 0.0) >= STRANGER_SECONDS]
    if not fresh:
        return
    while len(services.strangers) >= ADDRESSES_KEPT:
        del services.strangers[next(iter(services.strangers))]
    services.strangers.update(dict.fromkeys(fresh, now))
    verdict = Verdict("asked", why)
    seen = [(Sighting(now, "frontend", "KICKSTART", mac, address=address, status=404), verdict) for mac in fresh]
    try:
        await services.storage.write(lambda transaction, _: note_sightings(transaction, seen))
    except DatabaseUnavailable:
        for mac in fresh:  # its next request is noted
            services.strangers.pop(mac, None)


class Bundles:
    """``GET /install/bundle/SHA256``: the agent; from a host that has it when too many ask at once."""

    def __init__(self) -> None:
        self._running = 0
        self._sent_elsewhere: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Bundles {self._running} running>"

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer one host."""
        services = request.app[SERVICES]
        bundle = services.bundle
        if request.match_info["sha256"] != bundle.sha256:
            return line(404, f"the agent bundle here is {bundle.sha256}; fetch the stub again")
        if self._running >= BUNDLE_STREAMS:
            url = await self._elsewhere(services, client(request))
            if url is not None:
                log.debug("bundle sent for elsewhere", extra=facts(client=client(request)))
                return web.Response(status=307, headers={"Location": url, "Cache-Control": "no-store"})
        log.debug("bundle served", extra=facts(client=client(request), bytes=len(bundle.data)))
        answer = web.Response(body=bundle.data, content_type="application/zip", headers={"ETag": f'"{bundle.sha256}"'})
        self._running += 1
        try:
            await answer.prepare(request)
            await answer.write_eof()
        finally:
            self._running -= 1
        return answer

    async def _elsewhere(self, services: Services, address: str) -> str | None:
        """Where else the host at ``address`` gets the bundle. Who comes back soon was not served there."""
        now = services.clock()
        if now - self._sent_elsewhere.get(address, 0.0) < ELSEWHERE_SECONDS:
            return None

        def find(transaction: Transaction, cluster: Cluster) -> Order:
            host = cluster.identify((), address)
            return live_order(orderbook.orders_of(transaction, host.name), host.name, now)

        try:
            order = await services.storage.read(find)
        except AvalancheError:
            return None  # the bundle is no secret, and the stub has said no already
        url = services.swarm.elsewhere(order, address, services.bundle.sha256, now)
        if url is not None:
            while len(self._sent_elsewhere) >= ADDRESSES_KEPT:
                del self._sent_elsewhere[next(iter(self._sent_elsewhere))]
            self._sent_elsewhere[address] = now
        return url
