"""What a machine is told that boots over the network: an iPXE script, rendered from the database as it is now.

A machine boots its disk unless a live order says install; whatever is wrong, its screen says what, and it boots its
disk.
"""

from __future__ import annotations

import logging

from aiohttp import web

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.adapters.engine import DatabaseUnavailable
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.bootaction import boot_script, disk_script
from avalanche.cluster import Cluster, Host
from avalanche.errors import AvalancheError, ClusterError, OrderRefused, UnknownHost
from avalanche.frontend.answers import client
from avalanche.frontend.boot import MACS_NOTED, note_stranger
from avalanche.frontend.services import SERVICES, Services
from avalanche.log import facts
from avalanche.names import parse_mac
from avalanche.orders import Order, live_order

log = logging.getLogger(__name__)

SECONDS_TO_READ = 10


async def get_script(request: web.Request) -> web.Response:
    """``GET /boot/ipxe?mac=MAC``: what to boot. 200 with a script, whatever it says: iPXE shows nothing else."""
    services = request.app[SERVICES]
    macs, address = _macs(request), client(request)
    now = services.clock()

    def find(transaction: Transaction, cluster: Cluster) -> tuple[Cluster, Host, Order | None]:
        host = cluster.identify(macs, address)
        try:
            return cluster, host, live_order(orderbook.orders_of(transaction, host.name), host.name, now)
        except OrderRefused:
            return cluster, host, None

    try:
        cluster, host, order = await services.storage.read(find)
    except DatabaseUnavailable:
        raise  # 503 with Retry-After: iPXE asks again by itself
    except AvalancheError as error:
        if isinstance(error, UnknownHost):
            await note_stranger(services, macs, address, str(error))
        log.warning("boots its disk", extra=facts(client=address, reason=error))
        return _script(disk_script(str(error), seconds=SECONDS_TO_READ))
    script, status, told = _decided(services, cluster, host, installs=order is not None)
    number = order.id if order is not None else None
    services.timeline.note(TimelineEvent(host.name, now, "boot", status, f"{told}, said to {address}", number))
    log.info("boot script served", extra=facts(host=host.name, boots=told, order=number, client=address))
    return _script(script)


def _decided(services: Services, cluster: Cluster, host: Host, *, installs: bool) -> tuple[str, str, str]:
    """The script of a host, and what its timeline says of it: status and text."""
    try:
        action = cluster.boot_action(host, installs=installs)
    except ClusterError as error:
        return disk_script(str(error), seconds=SECONDS_TO_READ), "failed", f"boots its disk: {error}"
    stub = f"{services.config.frontend.urls('http')[0]}/install/stub"
    return boot_script(action, host=host.name, kickstart=stub if installs else None), "ok", action.name


def _macs(request: web.Request) -> tuple[str, ...]:
    """What the machine says its cards are; hints, so what is no MAC is passed over."""
    found = []
    for text in request.query.getall("mac", [])[:MACS_NOTED]:
        try:
            found.append(parse_mac(text))
        except ClusterError:
            continue
    return tuple(dict.fromkeys(found))


def _script(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/plain", headers={"Cache-Control": "no-store"})
