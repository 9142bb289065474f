"""The planes by name."""

from __future__ import annotations

from lab.bench.arena import Arena
from lab.bench.cells import OURS
from lab.bench.peers.http import Http, Squid
from lab.bench.peers.ours import Ours
from lab.bench.peers.plane import Plane
from lab.bench.peers.torrents import Aria2, LibtorrentV1, LibtorrentV2
from lab.bench.peers.udpcast import Udpcast

_OTHERS = {plane.name: plane for plane in (Http, Squid, LibtorrentV1, LibtorrentV2, Aria2, Udpcast)}


def plane_of(name: str, arena: Arena) -> Plane:
    """The plane of a name of `lab.bench.cells`."""
    return Ours(arena, name) if name in OURS else _OTHERS[name](arena)
