"""Which package comes next: what the installer asks for, what other hosts wait for, then the closure in canonical
order, as much as fits.

`Downloader.advance` decides; it is called whenever something changed that matters: an object is wanted, the window has
moved on by a part of it, a transfer ended, a source became known, room came free, the hold was lifted, a second has
passed. It looks at what may begin, and never at all that is under way: that would cost the square of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, Optional

from avalanche.agent.cache import Cache, Leftover, Slot
from avalanche.agent.events import Events
from avalanche.agent.figures import Figures
from avalanche.agent.item import Item, State
from avalanche.agent.source import Load, Route, Source
from avalanche.agent.transfer import DiskFull, Rooms, Transfer
from avalanche.agent.trouble import Delay, Trouble, jittered_delay
from avalanche.errors import (
    AvalancheError,
    ManifestContradiction,
    ProtocolError,
    StoreFull,
    TransferError,
    VerificationFailed,
)
from avalanche.manifest import PIECE

ROOM_SECONDS = 60.0
"""So long an object that the installer waits for may find no room before it fails."""
STEP_BYTES, STEP_ITEMS = 1 << 19, 8
"""So much must have come, or so many objects from peers, until it is worth while to see what may begin now: a peer has
many more requests to go on with. The frontend has few, and gets the next one at once.
"""
PASSED_OVER = 64
"""So many objects of the closure in a row may wait for sources that are busy before the search for others ends."""

log = logging.getLogger(__name__)


class Flight:
    """An item on its way: it has a slot, and an errand to a source while one is known."""

    def __init__(self, item: Item, slot: Slot, transfer: Transfer, trouble: Trouble) -> None:
        self.item = item
        self.slot = slot
        self.transfer = transfer
        self.trouble = trouble
        self.source: Optional[Source] = None
        self.errand: Optional[asyncio.Task[None]] = None
        self.not_before = 0.0

    def __repr__(self) -> str:
        return f"<Flight {self.transfer!r} from {self.source}>"


class Downloader:
    """Fetches items into the cache.

    Args:
        closure: the items to prefetch, in canonical order.
        route: says from where.
        sources: how many frontends there are.
        is_live: may an unreachable frontend still be waited for? (False once it refused the order.)
        delay: how long to wait between tries.
    """

    def __init__(
        self,
        closure: Iterable[Item],
        *,
        route: Route,
        sources: int,
        figures: Figures,
        cache: Cache,
        events: Events,
        is_live: Callable[[], bool],
        delay: Delay = jittered_delay,
    ) -> None:
        self.figures = figures
        self.is_held = True
        """Is prefetch kept back?"""
        self.is_full = False
        """Does the next object wait for room?"""
        self.has_closure = asyncio.Event()
        """Was every object of the closure complete here?"""
        self._prefetch = deque(closure)
        self._places = {item: place for place, item in enumerate(self._prefetch)}
        self._missing = set(self._prefetch)
        self._unbegun = dict.fromkeys(self._prefetch)
        if not self._missing:
            self.has_closure.set()
        self._demanded: deque[Item] = deque()
        self._hurried: deque[Item] = deque()
        self._flights: dict[Item, Flight] = {}
        self._idle: dict[Item, Flight] = {}
        """Those of them that have no errand."""
        self._turning: set[Item] = set()
        """Those whose errand ends because there is another source now."""
        self._given_up: set[Item] = set()
        self._hopeful: dict[Flight, None] = {}
        """Those that wait because a frontend did not deliver, and that another answer of one may wake."""
        self._leftovers: dict[Item, Leftover] = {}
        self._route = route
        self._sources = sources
        self._cache = cache
        self._events = events
        self._is_live = is_live
        self._delay = delay
        self._delivered: dict[Item, None] = {}
        """What the installer has taken, the longest ago first: each once, however often other hosts ask for it."""
        self._full_since: Optional[float] = None
        self._loads: dict[Source, Load] = {}
        self._busy: set[Source] = set()
        """Those that take nothing more for the prefetch; found out anew by every `advance`."""
        self._step_bytes = self._step_items = 0
        self._rooms = Rooms()
        self._is_pending = False
        self._is_closed = False

    def __repr__(self) -> str:
        running = sum(flight.errand is not None for flight in self._flights.values())
        return f"<Downloader {running} running, {len(self._prefetch)} to prefetch, {self._cache!r}>"

    def follow(self, route: Route) -> None:
        """Ask another route from now on. What is on its way and comes from elsewhere there changes its source."""
        self._route = route
        for item in (*self._demanded, *self._hurried):
            route.need(item)
        for flight in list(self._flights.values()):
            self.redirect(flight.item)
        self._soon()

    @property
    def flights(self) -> Iterator[Flight]:
        """What is being fetched now, the longest first."""
        return (flight for flight in self._flights.values() if flight.errand is not None)

    def demand(self, item: Item) -> None:
        """The installer asks for an item: it goes before everything else."""
        if item.state is not State.COMPLETE and not item.is_demanded:
            item.is_demanded = True
            self._line_up(item, self._demanded)
        self.advance()

    def hurry(self, item: Item) -> None:
        """A host that fetches from this one waits for an item of the closure: it goes before the prefetch."""
        if item.state is not State.COMPLETE and not item.is_waited_for:
            item.is_hurried = True
            self._line_up(item, self._hurried)
            self._soon()  # many may come at once

    def will_fetch(self, item: Item) -> bool:
        """Is ``item`` here, on its way, or yet to come?"""
        return item.state is not State.ABSENT or (item in self._missing and item not in self._given_up)

    def is_due(self, item: Item) -> bool:
        """Does anybody wait for ``item``, or is it the first of the closure that is missing?"""
        while self._prefetch and self._is_settled(self._prefetch[0]):
            self._prefetch.popleft()
        return item.is_waited_for or (bool(self._prefetch) and self._prefetch[0] is item)

    def taken(self, item: Item) -> None:
        """An answer was sent: when the installer has the whole item, its room may be used again."""
        if item.is_evictable:
            self._delivered[item] = None
            if self.is_full:
                self._soon()

    def redirect(self, item: Item) -> None:
        """The route has another source for ``item`` now."""
        flight = self._flights.get(item)
        if flight is not None and flight.errand is not None and flight.source is not self._route.source(item):
            flight.errand.cancel()
            self._turning.add(item)

    def resume(self) -> None:
        """A frontend, or what runs beside it, answers: what waits because none did goes on now."""
        hopeful, self._hopeful = self._hopeful, {}
        for flight in hopeful:
            flight.not_before = 0.0
            flight.trouble.woken()
        if hopeful:
            self._soon()

    def advance(self) -> None:
        """Start every transfer that may run now."""
        if self._is_closed:
            return
        self.is_full = False
        self._busy.clear()
        for load in self._loads.values():
            load.look()
        self._step_bytes = self._step_items = 0
        if not self.is_held:
            self._route.look_ahead()
        self._begin_waited_for()
        if not self.is_held:
            self._begin_prefetch()
        self._judge_room()

    async def close(self) -> None:
        """Stop every transfer."""
        self._is_closed = True
        tasks = [flight.errand for flight in self._flights.values() if flight.errand is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def expect(self, leftovers: Sequence[Leftover]) -> None:
        """Before anything is fetched: what an agent that died has left, and `restore` will take in."""
        files = {leftover.sha256: leftover for leftover in leftovers}
        for item in self._prefetch:
            leftover = files.pop(item.entry.sha256, None)
            if leftover is not None:
                self._leftovers[item] = leftover
        for useless in files.values():
            useless.remove()

    async def restore(self) -> int:
        """Take in what is left of the closure; return how many objects are complete by that.

        Its bytes are verified like all others, what somebody waits for first. No object is fetched before it is clear
        what is left of it.
        """
        count = 0
        while self._leftovers:
            waited_for = (item for queue in (self._demanded, self._hurried) for item in queue)
            item = next((item for item in waited_for if item in self._leftovers), None) or next(iter(self._leftovers))
            await self._take_in(item, self._leftovers[item])
            del self._leftovers[item]
            count += item.state is State.COMPLETE
            self.advance()
        return count

    async def _take_in(self, item: Item, leftover: Leftover) -> None:
        slot = self._reserve(item, is_alone=False)
        if slot is not None:
            flight = self._take_off(item, slot)
            try:
                with leftover.open() as file:
                    while flight.transfer.left:
                        data = file.read(min(PIECE, flight.transfer.left))
                        if not data:
                            break
                        flight.transfer.put(memoryview(data))
                        await asyncio.sleep(0)
            except (VerificationFailed, DiskFull, OSError) as error:
                log.warning("leftover given up path=%s reason=%s", item.entry.path, error)
            flight.transfer.rewind()
            if flight.transfer.is_complete:
                self._arrive(flight)
        leftover.remove()

    # --- what comes next ---

    def _line_up(self, item: Item, queue: deque[Item]) -> None:
        if item.state is State.ABSENT:
            item.state = State.QUEUED
        queue.append(item)
        self._route.need(item)
        flight = self._flights.get(item)
        if flight is not None and flight.errand is not None and flight.source is not None:
            flight.source.hurry(flight.transfer)

    def _begin_waited_for(self) -> None:
        """What the installer waits for, then what other hosts wait for; neither counts in the prefetch's window."""
        for queue in (self._demanded, self._hurried):
            waiting = [item for item in queue if item.state in (State.QUEUED, State.ARRIVING)]
            queue.clear()
            queue.extend(waiting)
            for place, item in enumerate(waiting):
                if not self._try(item, is_alone=queue is self._demanded and place == 0):
                    break

    def _begin_prefetch(self) -> None:
        if self._turning:
            return  # what comes later must not take their places at the new source
        passed = 0
        for item in self._candidates():
            if not self._try(item, is_alone=False):
                return
            begun = self._flights.get(item)
            passed = passed + 1 if begun is None else 0
            if passed == PASSED_OVER:
                return

    def _is_settled(self, item: Item) -> bool:
        """Is there nothing left for the prefetch to do about ``item``?"""
        return item.state is State.COMPLETE or item.has_arrived or item in self._given_up

    def _candidates(self) -> Iterator[Item]:
        """What was begun and has lost its source, then the closure as far as sources are known; both in its order.

        A host that is sent to another parent begins many anew at once: what comes next, and the parent has, goes before
        what was asked far ahead.
        """
        yield from sorted(self._idle, key=lambda item: self._places.get(item, -1))
        for item in list(self._unbegun):
            if self._is_settled(item):
                del self._unbegun[item]
            elif self._route.has_asked(item):
                yield item
            else:
                return

    def _try(self, item: Item, *, is_alone: bool) -> bool:
        """Begin or resume ``item`` if its source is known and takes it now. False: there is no room in the cache."""
        flight = self._flights.get(item)
        if item in self._leftovers:
            return True
        if flight is not None and (flight.errand is not None or flight.not_before > self._now()):
            return True
        source = self._route.source(item)
        is_waited_for = item.is_waited_for
        if source is None or (source in self._busy and not is_waited_for):
            return True
        load = self._loads.get(source) or Load()
        if not self._route.admits(source, load, is_waited_for=is_waited_for):
            self._busy.add(source)
            return True
        if flight is None:
            slot = self._reserve(item, is_alone=is_alone)
            if slot is None:
                self.is_full = True
                return False
            flight = self._take_off(item, slot)
        load.add(flight.transfer)
        self._loads[source] = load
        del self._idle[item]
        flight.source = source
        flight.errand = asyncio.get_running_loop().create_task(self._run(flight, source))
        flight.errand.add_done_callback(lambda task: self._ended(flight, source, task))
        return True

    def _take_off(self, item: Item, slot: Slot) -> Flight:
        ingress = self.figures.ingress
        transfer = Transfer(
            item, slot, rate=lambda: ingress.rate, on_verified=self._verified, clock=self._now, rooms=self._rooms
        )
        trouble = Trouble(item.entry, self._events, sources=self._sources, is_live=self._is_live, delay=self._delay)
        item.slot, item.state = slot, State.ARRIVING
        self._flights[item] = self._idle[item] = flight = Flight(item, slot, transfer, trouble)
        self._unbegun.pop(item, None)
        return flight

    # --- room ---

    def _reserve(self, item: Item, *, is_alone: bool) -> Optional[Slot]:
        demanded = item.is_demanded
        while True:
            try:
                slot = self._cache.reserve(item.entry, demanded=demanded)
                if slot is not None:
                    return slot
                if self._evict(is_urgent=False):
                    continue
                if not (demanded and is_alone):
                    return None
                # With nothing else on its way to the installer, only the disk may stop what it waits for.
                slot = self._cache.reserve(item.entry, demanded=True, beyond_limit=True)
                if slot is not None or not self._evict(is_urgent=True):
                    return slot
            except OSError as error:
                log.warning("cache refuses path=%s reason=%s", item.entry.path, error)
                if not self._evict(is_urgent=demanded):
                    return None

    def _evict(self, *, is_urgent: bool) -> bool:
        """Give back the room of what the installer took longest ago.

        What other hosts fetch stays unless the installer gets nothing else: who takes its time must not end an install.
        """
        self._delivered = {item: None for item in self._delivered if item.is_evictable}
        item = next((item for item in self._delivered if not item.is_watched), None)
        if item is None and is_urgent:
            item = next(iter(self._delivered), None)
        if item is None:
            return False
        del self._delivered[item]
        item.forget()
        self._route.dropped(item)
        return True

    def _judge_room(self) -> None:
        """Let what waits for room fail when it waits in vain for too long."""
        now = self._now()
        waiting = next((item for item in self._demanded if item.state is State.QUEUED), None)
        if waiting is None or not self.is_full:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif now - self._full_since > ROOM_SECONDS:
            self._full_since = None
            self._fail(waiting, self._no_room(waiting))

    def _no_room(self, item: Item) -> StoreFull:
        return StoreFull(
            f"no room for {item.entry.path} ({item.entry.size} bytes) in {self._cache.paths}; "
            f"{self._cache.used} bytes wait there for the installer"
        )

    # --- transfers ---

    async def _run(self, flight: Flight, source: Source) -> None:
        flight.transfer.begin()
        if not flight.transfer.is_complete:
            await source.fetch(flight.transfer)

    def _verified(self, size: int) -> None:
        self.figures.verified += size
        self._step_bytes += size
        if self._step_bytes >= STEP_BYTES and not self.is_held and self._route.has_window:
            self._soon()

    def _soon(self) -> None:
        if not self._is_pending:
            self._is_pending = True
            asyncio.get_running_loop().call_soon(self._advance_now)

    def _advance_now(self) -> None:
        self._is_pending = False
        self.advance()

    def _ended(self, flight: Flight, source: Source, task: asyncio.Task[None]) -> None:
        flight.errand = None
        self._idle[flight.item] = flight
        load = self._loads[source]
        load.remove(flight.transfer)
        if not load.count:
            del self._loads[source]
        if self._is_closed:
            if not task.cancelled():
                task.exception()
            return
        error = None if task.cancelled() else task.exception()
        if flight.transfer.is_complete:
            self._arrive(flight)
        elif error is not None:
            self._judge(flight, source, error)
        self._step_items += 1
        if flight.item in self._turning:
            self._turning.discard(flight.item)
            self._soon()  # many end at once
            return
        if not self._lets_more_begin(flight, source):
            return
        if self._route.has_window:
            self.advance()
        else:
            self._soon()

    def _lets_more_begin(self, flight: Flight, source: Source) -> bool:
        """May something begin because ``flight`` has ended, and not wait for the next step?"""
        if source.is_frontend or not flight.transfer.is_complete:
            return True
        if not self._route.has_window:
            return False  # everything that may run runs already
        is_waited_for = bool(self._demanded or self._hurried)
        return is_waited_for or self._step_items >= STEP_ITEMS or source not in self._loads

    def _arrive(self, flight: Flight) -> None:
        item = flight.item
        del self._flights[item], self._idle[item]
        if not item.has_arrived and item.entry.nevra is not None:
            self.figures.packages += 1
        item.complete()
        self._route.arrived(item)
        self.taken(item)  # an answer may have ended with the last piece, before this line
        self._missing.discard(item)
        if not self._missing:
            self.has_closure.set()

    def _judge(self, flight: Flight, source: Source, error: BaseException) -> None:
        """Decide when, or whether, a flight goes on after ``error``."""
        item = flight.item
        try:
            if isinstance(error, DiskFull):
                has_room = self._evict(is_urgent=item.is_demanded)
                self._pause(flight, 0.0 if has_room else self._wait_for_disk(flight, error))
            elif isinstance(error, ManifestContradiction):
                raise error  # nobody has other bytes
            elif not isinstance(error, (TransferError, ProtocolError, VerificationFailed)):
                # One object's fault must not leave the installer waiting for ever, nor end the install.
                log.error("transfer crashed path=%s", item.entry.path, exc_info=error)
                text = f"{item.entry.path}: a fault of the agent: {type(error).__name__}: {error}"
                raise TransferError(text)
            elif source.is_frontend:
                self._pause(flight, flight.trouble.judge(source, error))
                if flight.trouble.may_be_woken(error):
                    self._hopeful[flight] = None
            else:
                flight.trouble.judge_peer(source, error)
                self._route.failed(item, source, error)
        except AvalancheError as reason:
            self._fail(item, reason)

    def _wait_for_disk(self, flight: Flight, error: DiskFull) -> float:
        return flight.trouble.judge_full_disk(error, is_demanded=flight.item.is_demanded)

    def _pause(self, flight: Flight, seconds: float) -> None:
        if seconds > 0:
            flight.not_before = self._now() + seconds
            asyncio.get_running_loop().call_later(seconds + 0.001, self.advance)

    def _fail(self, item: Item, error: AvalancheError) -> None:
        self._events.report("packages", "failed", str(error))
        self._flights.pop(item, None)
        self._idle.pop(item, None)
        self._given_up.add(item)
        item.fail(error)
        self._route.dropped(item)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
