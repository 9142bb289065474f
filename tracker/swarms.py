"""The swarms of BitTorrent clients: who is in, who is handed out to whom, who has been silent for too long.

Pure: clock and chance are arguments. One announce costs as much in a swarm of ten as in one of ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from avalanche.tokens import Address
from tracker.announce import Announce, Counts, Endpoint, Reply

FIRST_INTERVAL = 5
LONGEST_INTERVAL = 60
ANNOUNCES_PER_SECOND = 200
EXPIRY = 2 * LONGEST_INTERVAL + 10
SWARM_SIZE = 20_000
"""Peers in one swarm; then the one that has been silent longest makes room."""
PER_ADDRESS = 8
"""Entries of one address in one swarm."""
OWN_RACK_SHARE = 0.7
OTHERS_LEAST = 3
FRONTEND_SHARES = 16
"""To so many hosts the frontend is handed out while others hold something too: who starts a swarm needs it, later it
must be spared.
"""
_DRAW = 3  # candidates looked at for every one that is taken

_FRONTEND = "\0frontend"

Shuffle = Callable[[list["_Entry"]], None]
_Where = tuple[Address, int]


@dataclass(frozen=True, slots=True)
class Client:
    """Who announces, as its token proves it."""

    host: str
    rack: str
    address: Address

    @property
    def ring(self) -> str:
        """Whose ring it is handed out from: its rack's; the frontend has one of its own, because it is to be spared."""
        return _FRONTEND if self.host == "frontend" else self.rack


@dataclass(slots=True)
class _Entry:
    client: Client
    port: int
    peer_id: bytes
    key: bytes
    kind: str
    seen: float

    @property
    def where(self) -> _Where:
        return self.client.address, self.port


_LEECHER, _PARTIAL, _SEED = "leecher", "partial", "seed"


@dataclass(slots=True)
class _Swarm:
    entries: dict[_Where, _Entry] = field(default_factory=dict)
    """Ordered by the latest announce, oldest first."""
    rings: dict[tuple[str, str], dict[_Where, None]] = field(default_factory=dict)
    """Per rack and kind, ordered by when they were handed out last."""
    per_address: dict[Address, set[int]] = field(default_factory=dict)
    downloaded: int = 0
    got_frontend: set[str] = field(default_factory=set)

    def put(self, entry: _Entry) -> None:
        self.remove(entry.where)
        self.entries[entry.where] = entry
        self.rings.setdefault((entry.client.ring, entry.kind), {})[entry.where] = None
        self.per_address.setdefault(entry.client.address, set()).add(entry.port)

    def remove(self, where: _Where) -> None:
        entry = self.entries.pop(where, None)
        if entry is None:
            return
        ring = self.rings[entry.client.ring, entry.kind]
        del ring[where]
        if not ring:
            del self.rings[entry.client.ring, entry.kind]
        ports = self.per_address[entry.client.address]
        ports.remove(entry.port)
        if not ports:
            del self.per_address[entry.client.address]

    def count(self, kind: str) -> int:
        return sum(len(ring) for (_, other), ring in self.rings.items() if other == kind)

    def counts(self) -> Counts:
        leechers = self.count(_LEECHER)
        return Counts(self.count(_SEED), leechers + self.count(_PARTIAL), leechers, self.downloaded)


class Swarms:
    """All swarms of one tracker."""

    def __init__(self, *, size: int = SWARM_SIZE) -> None:
        self._size = size
        self._swarms: dict[bytes, _Swarm] = {}

    def __repr__(self) -> str:
        return f"<Swarms {len(self._swarms)} torrents, {self.peers} peers>"

    @property
    def peers(self) -> int:
        """Entries of all torrents."""
        return sum(len(swarm.entries) for swarm in self._swarms.values())

    def announce(self, announce: Announce, client: Client, *, now: float, chance: float, shuffle: Shuffle) -> Reply:
        """Take in an announce and answer it.

        Args:
            now: any clock, in seconds; when it goes back, nothing expires for a while.
            chance: a random number in [0, 1), for the interval.
            shuffle: puts a list into a random order.
        """
        swarm = self._swarms.setdefault(announce.info_hash, _Swarm())
        self._expire(swarm, now)
        earlier = swarm.entries.get((client.address, announce.port or 0))
        if announce.event == "stopped":
            if earlier is not None and (earlier.peer_id, earlier.key) == (announce.peer_id, announce.key):
                swarm.remove(earlier.where)
            chosen: list[_Entry] = []
        else:
            self._update(swarm, announce, client, earlier, now)
            chosen = self._choose(swarm, announce, client, shuffle)
        interval = self._interval(swarm, is_new=earlier is None, chance=chance)
        peers = tuple(Endpoint(entry.client.address, entry.port, entry.peer_id) for entry in chosen)
        reply = Reply(interval, max(1, interval // 2), swarm.counts(), peers)
        self._drop_if_empty(announce.info_hash)
        return reply

    def scrape(self, info_hash: bytes, *, now: float) -> Counts:
        """The swarm in numbers; one that nobody announced is empty, and is not created."""
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            return Counts()
        self._expire(swarm, now)
        counts = swarm.counts()
        self._drop_if_empty(info_hash)
        return counts

    def expire(self, now: float) -> int:
        """Drop everybody who has been silent for too long; return how many."""
        dropped = sum(self._expire(swarm, now) for swarm in self._swarms.values())
        for info_hash in list(self._swarms):
            self._drop_if_empty(info_hash)
        return dropped

    def _drop_if_empty(self, info_hash: bytes) -> None:
        swarm = self._swarms[info_hash]
        if not swarm.entries and not swarm.downloaded:
            del self._swarms[info_hash]

    def _expire(self, swarm: _Swarm, now: float) -> int:
        silent = []
        for where, entry in swarm.entries.items():
            if now - entry.seen <= EXPIRY:
                break
            silent.append(where)
        for where in silent:
            swarm.remove(where)
        return len(silent)

    def _update(self, swarm: _Swarm, announce: Announce, client: Client, earlier: _Entry | None, now: float) -> None:
        if announce.port is None:
            return
        kind = _SEED if announce.is_complete else _PARTIAL if announce.event == "paused" else _LEECHER
        is_same = earlier is not None and earlier.peer_id == announce.peer_id
        if (
            announce.event == "completed"
            and kind == _SEED
            and is_same
            and earlier is not None
            and earlier.kind != _SEED
        ):
            swarm.downloaded += 1
        if earlier is None:
            self._make_room(swarm, client.address)
        swarm.put(_Entry(client, announce.port, announce.peer_id, announce.key, kind, now))

    def _make_room(self, swarm: _Swarm, address: Address) -> None:
        if len(swarm.per_address.get(address, ())) >= PER_ADDRESS:
            swarm.remove(next(where for where in swarm.entries if where[0] == address))
        elif len(swarm.entries) >= self._size:
            swarm.remove(next(iter(swarm.entries)))

    def _interval(self, swarm: _Swarm, *, is_new: bool, chance: float) -> int:
        grown = min(max(len(swarm.entries) / ANNOUNCES_PER_SECOND, FIRST_INTERVAL), LONGEST_INTERVAL)
        return max(1, round((FIRST_INTERVAL if is_new else grown) * (0.75 + 0.5 * chance)))

    def _choose(self, swarm: _Swarm, announce: Announce, client: Client, shuffle: Shuffle) -> list[_Entry]:
        kinds = [_LEECHER] if announce.is_complete or announce.event == "paused" else [_LEECHER, _PARTIAL, _SEED]
        other_racks = sorted({rack for rack, _ in swarm.rings} - {client.rack, _FRONTEND})

        wanted = announce.wanted

        def draw(racks: list[str]) -> list[_Entry]:
            rings = [swarm.rings[rack, kind] for rack in racks for kind in kinds if (rack, kind) in swarm.rings]
            share = max(2, -(-_DRAW * wanted // max(1, len(rings))))
            found: list[_Entry] = []
            for ring in rings:
                fit = (swarm.entries[where] for where in ring if _is_fit(swarm.entries[where], announce, client))
                found += islice(fit, share)
            shuffle(found)
            return found[:wanted]

        own, others = draw([client.rack]), draw(other_racks)
        room_for_others = max(wanted - min(len(own), round(wanted * OWN_RACK_SHARE)), min(OTHERS_LEAST, wanted))
        others = others[:room_for_others]
        chosen = own[: wanted - len(others)] + others
        chosen = self._with_frontend(swarm, client, kinds, chosen, wanted)
        for entry in chosen:
            ring = swarm.rings[entry.client.ring, entry.kind]
            ring[entry.where] = ring.pop(entry.where)
        return chosen

    def _with_frontend(
        self, swarm: _Swarm, client: Client, kinds: list[str], chosen: list[_Entry], wanted: int
    ) -> list[_Entry]:
        sources = [where for kind in kinds for where in swarm.rings.get((_FRONTEND, kind), ())]
        if not sources or not wanted or client.ring == _FRONTEND:
            return chosen
        is_among_first = client.host in swarm.got_frontend or len(swarm.got_frontend) < FRONTEND_SHARES
        if not is_among_first and chosen:
            return chosen
        swarm.got_frontend.add(client.host)
        return [swarm.entries[sources[0]], *chosen[: wanted - 1]]


def _is_fit(entry: _Entry, announce: Announce, client: Client) -> bool:
    """Whether ``entry`` is neither the asker nor another start of it."""
    return (
        entry.client.host != client.host
        and entry.peer_id != announce.peer_id
        and entry.where != (client.address, announce.port)
    )
