"""Thousands of installing hosts on a virtual clock, with the tracker's real decisions (`tracker.chains`) and seeded
faults.

A discrete-event model of the relay plane of docs/protocol.md, section 11: pieces of 256 KiB that are relayed once they
are verified, a window of open requests, objects assigned ahead, heartbeats, lookups. Links are modelled per piece: a
sender serves its children in turn, a receiver takes pieces one after the other, a hop costs a latency. What is not
modelled: TCP, processors, disks.

The same seed gives the same run, event for event.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

from avalanche.agent.link import SILENT_SECONDS
from avalanche.agent.lookup import PACE, stand_in
from avalanche.agent.parents import quiet_seconds
from avalanche.agent.source import PREFETCHES
from avalanche.agent.swarm import (
    ALONE_SECONDS,
    ALONE_STREAMS,
    BATCH,
    OPEN_ASKS,
    OPEN_REQUESTS,
    WINDOW,
    WINDOW_SECONDS,
    retry_seconds,
    window,
)
from lab.simulated import Connection, Host, Outcome, Request, World
from lab.watcher import Watcher, note, rate
from tracker.chains import Chains, PeerReplaced
from tracker.flow import FRONTEND, ObjectId, PeerId
from tracker.lookup import Answer, Ask, Blame, Lookup, Peer, Registration
from tracker.standing import Report


class Simulation:
    """One run. Arrange faults with the verbs, then `run`.

    Args:
        make_chains: makes the tracker's part; one that also measures, for example.
    """

    def __init__(self, world: World, *, seed: int = 0, make_chains: Callable[..., Chains] = Chains) -> None:
        self.world = world
        self._make_chains = make_chains
        self.now = 0.0
        self.chance = random.Random(seed)
        self.objects: dict[ObjectId, int] = {f"o{number:05d}": size for number, size in enumerate(world.objects)}
        self.frontend = Host(
            "frontend", Peer(FRONTEND, "frontend", "", "", "", "", 0), world.frontend_rate or world.rate, 1e12
        )
        self.frontend.have = dict(self.objects)
        self.frontend.alive = True
        self.hosts = {host.name: host for host in map(self._make_host, range(world.hosts))}
        self._unfinished = list(reversed(self.hosts.values()))
        self._by_id = {host.peer.id: host for host in [self.frontend, *self.hosts.values()]}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._handled = 0
        self._tracker_up = True
        self._tracker_life = 0
        self.reports: list[Report] = []
        self.chains = self._new_chains()
        self._watcher = Watcher(self)
        for host in self.hosts.values():
            # Hosts leave a barrier within some milliseconds of each other, in any order.
            self.at(self.chance.uniform(0.0, 0.02), partial(self._start, host))

    def __repr__(self) -> str:
        return f"<Simulation {len(self.hosts)} hosts at {self.now:.3f} s>"

    def _new_chains(self) -> Chains:
        return self._make_chains(self.world.policy, is_known_slow=self.world.known_slow.__contains__)

    def _make_host(self, number: int) -> Host:
        rack = str(number % self.world.racks)
        name = f"compute-{rack}-{number // self.world.racks}"
        peer = Peer(
            f"{number:016x}",
            name,
            rack,
            f"{number:016x}",
            "g-0000000000000000",
            f"10.1.{number // 250}.{number % 250 + 1}",
            40000,
        )
        return Host(name, peer, self.world.rate, self.world.rate, wants=tuple(self.objects))

    # --- the world's verbs ---

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do ``action`` at ``when``."""
        heapq.heappush(self._events, (when if when > self.now else self.now, next(self._count), action))

    def start_late(self, name: str, when: float) -> None:
        """The host begins at ``when``."""
        self.hosts[name].starts = when

    def kill(self, name: str, when: float) -> None:
        """The host loses power: no farewell, no reset; its children find out by the silence."""
        self.at(when, lambda: self._kill(self.hosts[name]))

    def leave(self, name: str, *, after: float) -> None:
        """The host says good-bye ``after`` so many seconds when it has all it wants."""
        self.hosts[name].leaves_after = after

    def stop(self, name: str, when: float, seconds: float) -> None:
        """The host (or ``frontend``) stands still for a while and goes on."""
        self.at(when, lambda: self._stop(self._named(name), seconds))

    def slow(self, name: str, when: float, share: float, *, up: bool = True, down: bool = False) -> None:
        """From ``when`` on the host's link has only ``share`` of its rate."""
        self.at(when, lambda: self._slow(self.hosts[name], share, up, down))

    def withhold(self, name: str, when: float, *, lies: bool = True) -> None:
        """From ``when`` on the host keeps its connections alive and sends no bytes; when it ``lies``, it says that it
        has none.
        """
        self.at(when, lambda: self._withhold(self.hosts[name], lies))

    def drag(self, name: str, when: float, share: float, *, hides: bool = False) -> None:
        """From ``when`` on the host sends right bytes with ``share`` of its rate, and says that it has no more of them;
        when it ``hides``, it tells the tracker so, too.
        """
        self.at(when, lambda: self._drag(self.hosts[name], share, hides))

    def corrupt(self, name: str, when: float) -> None:
        """From ``when`` on the host sends bytes that fail their hash."""
        self.at(when, lambda: setattr(self.hosts[name], "corrupt", True))

    def want(self, name: str, things: Sequence[ObjectId]) -> None:
        """The host's appliance wants just these objects."""
        self.hosts[name].wants = tuple(things)

    def restart_tracker(self, when: float, seconds: float) -> None:
        """The tracker is killed, and comes back empty."""
        self.at(when, self._lose_tracker)
        self.at(when + seconds, self._regain_tracker)

    def run(self, *, until: float = 3600.0) -> Outcome:
        """Run until every living host has what it wants, or ``until``."""
        while self._events and self.now <= until:
            self.now, _, action = heapq.heappop(self._events)
            self._handled += 1
            action()
            if self._handled % 64 == 0 and self._is_over():
                break
        total = sum(self.objects.values())
        living = [host for host in self.hosts.values() if host.finished is not None or host.alive or not host.started]
        return Outcome(
            seconds={host.name: None if host.finished is None else host.finished - host.starts for host in living},
            limit=total / min(self.world.rate, self.frontend.up),
            frontend_copies=self.frontend.uploaded / total,
            copies={host.name: host.uploaded / total for host in self.hosts.values()},
            waited_for_dead=max(host.longest_wait_for_dead for host in self.hosts.values()),
            lookups=sum(host.lookups for host in self.hosts.values()),
            reports=tuple(self.reports),
            events=self._handled,
        )

    def _is_over(self) -> bool:
        # Who has finished or died stays so: with thousands of hosts, looking at all of them again would be all we do.
        while self._unfinished:
            host = self._unfinished[-1]
            if host.finished is None and (host.alive or not host.started):
                return False
            self._unfinished.pop()
        return True

    def _named(self, name: str) -> Host:
        return self.frontend if name == "frontend" else self.hosts[name]

    # --- faults ---

    def _start(self, host: Host) -> None:
        if self.now < host.starts:
            self.at(host.starts, lambda: self._start(host))
            return
        host.starts, host.started, host.alive = self.now, True, True
        self.look_up(host)
        self._watcher.watch(host)

    def _kill(self, host: Host) -> None:
        if host.alive and host.finished is None:
            host.alive, host.died = False, self.now
            for request in list(host.requests.values()):
                self._close(request)
            self._silence(host)

    def _silence(self, parent: Host) -> None:
        """Its children notice after the time that counts as death."""
        if parent is self.frontend:
            return  # there is no other; it is tried again until it answers
        since = self.now
        for child in self._children(parent):
            self.at(since + SILENT_SECONDS + self.chance.uniform(0.0, 0.1), partial(self._miss, child, parent))

    def _children(self, parent: Host) -> list[Host]:
        return [self._by_id[child] for child, line in parent.lines.items() if line.requests]

    def _miss(self, child: Host, parent: Host) -> None:
        if child.alive and not child.stopped and (not parent.alive or parent.stopped):
            self.lose(child, parent, "dead")

    def _stop(self, host: Host, seconds: float) -> None:
        if host.alive:
            host.stopped = True
            self._silence(host)
            self.at(self.now + seconds, lambda: self._go_on(host))

    def _go_on(self, host: Host) -> None:
        host.stopped = False
        for request in host.requests.values():
            request.last = self.now  # its own clocks start anew
            request.parent.lines[host.peer.id].fed = self.now
        self._send(host)
        for request in host.requests.values():
            self._send(request.parent)
        if host is not self.frontend:
            for parent in [
                p for p in dict.fromkeys(request.parent for request in host.requests.values()) if not p.alive
            ]:
                self.lose(host, parent, "dead")
            self.look_up(host)

    def _slow(self, host: Host, share: float, up: bool, down: bool) -> None:
        host.up *= share if up else 1.0
        host.down *= share if down else 1.0

    def _withhold(self, host: Host, lies: bool) -> None:
        host.stingy, host.lies = True, lies

    def _drag(self, host: Host, share: float, hides: bool) -> None:
        host.up *= share
        host.lies, host.hides = True, hides

    def _lose_tracker(self) -> None:
        self._tracker_up = False

    def _regain_tracker(self) -> None:
        self._tracker_up = True
        self._tracker_life += 1
        self.chains = self._new_chains()

    # --- lookups ---

    def look_up(self, host: Host) -> None:
        """Ask the tracker now, unless a lookup is under way."""
        if host.asking or not host.alive or host.stopped:
            return
        host.asking = True
        self.at(self.now + self.world.round_trip / 2, lambda: self._arrive(host))

    def _look_up_in_time(self, host: Host) -> None:
        if self.now >= host.next_lookup:
            self.look_up(host)

    def _arrive(self, host: Host) -> None:
        if not self._tracker_up:
            lost = host.tracker_lost = self.now if host.tracker_lost is None else host.tracker_lost
            host.asking = False
            host.tries += 1
            self._help_itself(host)
            pause = retry_seconds(host.tries, host.interval) * self.chance.uniform(0.5, 1.5)
            self.at(self.now + pause, lambda: self.look_up(host))
            if self.now - lost > ALONE_SECONDS and not host.requests:
                self._fetch_alone(host)
            return
        host.tracker_lost, host.tries = None, 0
        host.lookups += 1
        lookup = self._compose(host)
        try:
            answer = self.chains.lookup(host.peer, lookup, now=self.now, chance=self.chance.random())
        except PeerReplaced:  # pragma: no cover -- every simulated host starts once
            raise AssertionError(f"{host.name} was replaced") from None
        self.reports += self.chains.reports()
        size = 250 + 4 * len(lookup.asks) + 350 * len({*answer.give} - {None})
        self.at(
            self.now + self.world.round_trip / 2 + size / self.frontend.up, lambda: self._hear(host, lookup, answer)
        )

    def _help_itself(self, host: Host) -> None:
        """Without a tracker the nearest one ahead takes the place of a parent (section 10.1)."""
        if host.ahead is None:
            return
        asks, host.unasked = host.unasked + self._new_asks(host), []
        for ask in asks:
            parent = stand_in(host.ahead, host.lost, ask.avoid)
            if parent is None:
                host.unasked.append(ask)
            else:
                self._give(host, ask.thing, parent)
        self._request_more(host)

    def _compose(self, host: Host) -> Lookup:
        register = None
        if host.registered_at != self._tracker_life:
            host.registered_at = self._tracker_life
            have = tuple(thing for thing, got in host.have.items() if got == self.objects[thing])
            fetch = tuple((thing, parent, self.left(host, thing)) for thing, parent in host.given.items())
            register = Registration(frozenset(host.wants), host.place, have, fetch)
            host.unasked += [Ask(thing, self.left(host, thing)) for thing in host.waiting]
            host.waiting.clear()
            host.blames = [blame for blame in host.blames if blame.why not in PACE]
        asks = host.unasked + self._new_asks(host)
        state = "fetching" if host.finished is None else "complete"
        if (
            host.finished is not None
            and host.leaves_after is not None
            and self.now >= host.finished + host.leaves_after
        ):
            state = "leaving"
        done, received = (tuple(host.done), host.received) if not host.hides else ((), host.uploaded)
        lookup = Lookup(tuple(asks), done, (), tuple(host.blames), register, state, received)
        host.unasked, host.done, host.blames = [], [], []
        return lookup

    def left(self, host: Host, thing: ObjectId) -> int:
        return self.objects[thing] - host.have.get(thing, 0)

    def _new_asks(self, host: Host) -> list[Ask]:
        """The batches that are due. When one is due depends on progress alone, so that a host ahead in a chain asks
        before those behind it.
        """
        asks: list[Ask] = []
        opened = len(host.given) + len(host.waiting) + len(host.unasked)
        while self._is_due(host) and len(asks) < 512 and opened + len(asks) < OPEN_ASKS:
            thing = host.wants[host.cursor]
            host.cursor += 1
            host.asked += self.objects[thing]
            asks.append(Ask(thing, self.left(host, thing)))
        return asks

    def _is_due(self, host: Host) -> bool:
        seen = host.received + window(host.received)
        return host.cursor < len(host.wants) and host.asked - host.asked % BATCH <= seen

    def _hear(self, host: Host, lookup: Lookup, answer: Answer) -> None:
        host.asking = False
        if not host.alive or lookup.state == "leaving":
            self._depart(host)
            return
        if answer.register:
            host.registered_at = -1
            host.unasked += lookup.asks
            self.look_up(host)
            return
        for ask, parent in zip(lookup.asks, answer.give, strict=True):
            if parent is None:  # WAIT
                host.waiting.add(ask.thing)
            else:
                self._give(host, ask.thing, parent)
        for thing, parent in answer.moves:
            self._give(host, thing, parent)
            host.quiet_until = self.now + quiet_seconds(host.received)
        self._request_more(host)
        host.place = answer.place
        if answer.ahead is not None:
            host.ahead = answer.ahead
            host.lost.clear()
        host.interval = answer.next
        host.next_lookup = self.now + answer.next
        self.at(host.next_lookup, lambda: self._look_up_in_time(host))
        if host.unasked or host.blames:
            self.look_up(host)

    def _depart(self, host: Host) -> None:
        if host.alive:
            host.alive, host.died = False, self.now
            for child in self._children(host):
                self.at(self.now + self.world.latency, partial(self.lose, child, host, "refused"))

    def _give(self, host: Host, thing: ObjectId, parent: PeerId) -> None:
        host.waiting.discard(thing)
        if self.left(host, thing) == 0:
            return
        if thing in host.requests and host.requests[thing].parent.peer.id != parent:
            self._close(host.requests[thing])
        host.given[thing] = parent

    def _fetch_alone(self, host: Host) -> None:
        for thing in [t for t in host.wants if self.left(host, t) > 0][:ALONE_STREAMS]:
            self._give(host, thing, FRONTEND)
        self._request_more(host)

    # --- requests ---

    def _request_more(self, host: Host) -> None:
        """Open requests in canonical order, up to what each parent takes (section 11.4)."""
        if len(host.requests) == len(host.given):
            return  # there is one for everything that was assigned
        counts: dict[PeerId, int] = {}
        wanted: dict[PeerId, int] = {}
        for thing, request in host.requests.items():
            parent = request.parent.peer.id
            counts[parent] = counts.get(parent, 0) + 1
            wanted[parent] = wanted.get(parent, 0) + self.left(host, thing)
        for thing, parent in sorted(host.given.items()):
            most, ahead = OPEN_REQUESTS, window(host.received)
            if parent == FRONTEND:
                most, ahead = PREFETCHES, max(WINDOW, int(WINDOW_SECONDS * rate(host.received_lately, self.now)))
            if thing in host.requests or counts.get(parent, 0) >= most or wanted.get(parent, 0) >= ahead:
                continue
            counts[parent] = counts.get(parent, 0) + 1
            wanted[parent] = wanted.get(parent, 0) + self.left(host, thing)
            self._open(host, thing, self._by_id[parent])

    def _open(self, child: Host, thing: ObjectId, parent: Host) -> None:
        request = Request(child, parent, thing, child.have.get(thing, 0), self.now)
        child.requests[thing] = request
        child.asked_of[parent] = child.asked_of.get(parent, 0) + 1
        if (not parent.alive or parent.stopped) and parent is not self.frontend:
            delay = SILENT_SECONDS if not parent.finished else self.world.latency
            self.at(self.now + delay, lambda: self._miss(child, parent))
        line = parent.lines.setdefault(child.peer.id, Connection())
        if child.peer.id not in parent.turns:
            parent.turns.append(child.peer.id)
        if not line.requests:
            line.fed = self.now
        line.requests[thing] = request
        if parent.have.get(thing, 0) > request.sent:
            line.ready.add(thing)
        self.at(self.now + self.world.latency, partial(self._send, parent))

    def _close(self, request: Request) -> None:
        request.open = False
        closed = request.child.requests.pop(request.thing, None)
        if closed is not None:
            asked_of = request.child.asked_of
            asked_of[closed.parent] -= 1
            if not asked_of[closed.parent]:
                del asked_of[closed.parent]
        line = request.parent.lines.get(request.child.peer.id)
        if line is not None and line.requests.get(request.thing) is request:
            del line.requests[request.thing]
            line.ready.discard(request.thing)

    def lose(self, child: Host, parent: Host, why: str, thing: ObjectId | None = None) -> None:
        """The child leaves a parent: everything open there is asked for anew."""
        things = [t for t, p in child.given.items() if p == parent.peer.id]
        if not child.alive or not things:
            return
        if not parent.alive:
            oldest = min((child.requests[t].last for t in things if t in child.requests), default=self.now)
            child.longest_wait_for_dead = max(child.longest_wait_for_dead, self.now - max(parent.died, oldest))
        for lost in things:
            if lost in child.requests:
                self._close(child.requests[lost])
            del child.given[lost]
            child.unasked.append(Ask(lost, self.left(child, lost), parent.peer.id))
        child.lost.add(parent.peer.id)
        child.blames.append(Blame(parent.peer.id, why, thing))
        child.quiet_until = self.now + quiet_seconds(child.received)
        self.look_up(child)

    # --- bytes ---

    def _send(self, parent: Host) -> None:
        """Put the next piece on the wire, if the wire is free."""
        if parent.sending or not parent.alive or parent.stopped or parent.stingy:
            return
        for _ in range(len(parent.turns)):
            child = parent.turns[0]
            parent.turns.rotate(-1)
            line = parent.lines[child]
            if not line.ready or line.on_the_way >= 2 or self._by_id[child].stopped:
                continue
            for request in line.requests.values():
                ready = parent.have.get(request.thing, 0) - request.sent
                if ready > 0:
                    self._put(parent, line, request, min(ready, self.world.piece))
                    return

    def _put(self, parent: Host, line: Connection, request: Request, size: int) -> None:
        child = request.child
        request.sent += size
        if parent.have[request.thing] == request.sent:
            line.ready.discard(request.thing)
        line.on_the_way += 1
        parent.sending = True
        sent = self.now + size / parent.up
        arrived = child.down_free = max(sent, max(child.down_free, self.now) + size / child.down)
        parent.uploaded += size
        note(parent.uploaded_lately, sent, size)
        self.at(sent, partial(self._sent, parent))
        self.at(arrived + self.world.latency, partial(self._receive, line, request, size))

    def _sent(self, parent: Host) -> None:
        parent.sending = False
        self._send(parent)

    def _receive(self, line: Connection, request: Request, size: int) -> None:
        line.on_the_way -= 1
        child, thing = request.child, request.thing
        if request.open and child.alive:
            note(child.received_lately, self.now, size)
            if request.parent.corrupt:
                self.lose(child, request.parent, "corrupt", thing)
            else:
                request.last = line.fed = self.now
                have = child.have[thing] = child.have.get(thing, 0) + size
                for below in child.lines.values():
                    asked = below.requests.get(thing)
                    # Who asks may have had more of it from another parent.
                    if asked is not None and asked.sent < have:
                        below.ready.add(thing)
                child.received += size
                if self._is_due(child):
                    self.look_up(child)
                if have == self.objects[thing]:
                    self._complete(child, request)
                if not child.sending:
                    self._send(child)
        if not request.parent.sending:
            self._send(request.parent)

    def _complete(self, child: Host, request: Request) -> None:
        self._close(request)
        child.given.pop(request.thing, None)
        child.done.append(request.thing)
        self._request_more(child)
        if child.cursor >= len(child.wants) and not (child.given or child.waiting or child.unasked):
            child.finished = self.now
            if child.leaves_after is not None:
                self.at(self.now + child.leaves_after, lambda: self.look_up(child))
            self.look_up(child)
