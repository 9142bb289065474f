"""The web application: which address is answered by what."""

from __future__ import annotations

from aiohttp import web

from avalanche import __version__
from avalanche.frontend import boot, install, netboot
from avalanche.frontend.answers import errors_answered
from avalanche.frontend.gate import Gate
from avalanche.frontend.metrics import Metrics
from avalanche.frontend.packages import Packages
from avalanche.frontend.pieces import Pieces
from avalanche.frontend.services import SERVICES, Services
from avalanche.messages import MAX_BODY
from avalanche.news import TARGET
from avalanche.pieces import TARGET as PIECES


def make_app(services: Services) -> web.Application:
    """Wire the addresses of docs/protocol.md."""
    gate = Gate(services.config.frontend.caps)
    metrics = Metrics(gate)
    app = web.Application(middlewares=[metrics.middleware, errors_answered], client_max_size=MAX_BODY)
    app[SERVICES] = services
    packages = Packages(services.generations, gate, on_sent=metrics.sent.inc)
    swarm = services.swarm
    pieces = Pieces(
        swarm.torrents, gate, key=swarm.key, wall=swarm.wall, advise=swarm.choices.advise, on_sent=metrics.sent.inc
    )
    app.add_routes(
        [
            web.get("/", _about),
            web.get("/metrics", metrics.get),
            web.get("/boot/ipxe", netboot.get_script, allow_head=False),
            web.get("/install/stub", boot.get_stub),
            web.get("/install/sbin/kickstart.cgi", boot.get_stub),  # Rocks' address
            web.get("/install/bundle/{sha256}", boot.Bundles().get),
            web.get("/install/profile", install.get_profile, allow_head=False),
            web.get("/install/manifest/{digest}", install.get_manifest, allow_head=False),
            web.get("/install/object", install.get_object, allow_head=False),
            web.get("/install/packages/{path:.*}", packages.get),
            web.get("/install/torrent", install.get_torrent, allow_head=False),
            web.get("/install/libtorrent", install.get_library, allow_head=False),
            web.get("/install/libtorrent/{sha256}", install.get_library_file),
            web.post(PIECES, pieces.post),
            web.post("/install/events", install.post_events),
            web.post("/install/done", install.post_done),
            web.post(TARGET, services.trackers.post),
        ]
    )
    return app


async def _about(_: web.Request) -> web.Response:
    return web.Response(text=f"avalanche frontend {__version__}\n")
