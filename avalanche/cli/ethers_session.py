"""A running insert-ethers: sources in, registrations and plugins out, until enough is done or somebody says stop.

One thread does all SQL and one all plugins; the event loop never waits for either, so packets are read and keys are
answered while a database is away.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseUnavailable, Transaction
from avalanche.adapters.following import events_after, last_event, untold_hosts
from avalanche.adapters.observer import Observer, ObserverStopped
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.plugins import Plugins
from avalanche.adapters.registrar import Outcome, Registrar
from avalanche.adapters.sightings import last_serial, note_sightings, strangers
from avalanche.adapters.tail import Tail
from avalanche.cli.ethers_views import View
from avalanche.cluster import Host
from avalanche.dhcplogs import LogFormat
from avalanche.errors import AvalancheError, ClusterError, ConfigError
from avalanche.ethers import Ethers, NewHost, Sighting, Verdict
from avalanche.names import parse_ip, parse_mac

T = TypeVar("T")

AT_ONCE = 100
"""So many machines at most become hosts in one transaction."""
LOOK_SECONDS = 0.5
TAIL_SECONDS = 0.2
QUIET_SECONDS = 1.0
"""Plugins' ``restart`` runs when no host was added for so long, or ..."""
RESTART_SECONDS = 10.0
"""... when the first one that waits for it has waited so long."""
RETRY_SECONDS = (0.5, 5.0)
MAX_NOTED = 20_000

# What an unknown machine's packet must lead to, to be remembered for `avalanche host why`.
_STRANGE = ("recorded", "paused", "enough", "full", "client", "relay", "kind", "interface", "mac", "queued")


@dataclass(frozen=True)
class Until:
    """When a session ends by itself: ``stage`` is registered, kickstart or done; None: never."""

    stage: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Sources:
    """Where sightings come from."""

    observers: Sequence[Observer] = ()
    logs: Sequence[tuple[Tail, LogFormat]] = ()
    listed: Sequence[Sighting] = ()

    def names(self) -> list[str]:
        """How each is called."""
        found = [f"observer {one.interface}" for one in self.observers]
        found += [f"{kind.name} {tail.path}" for tail, kind in self.logs]
        return [*found, *([f"list of {len(self.listed)}"] if self.listed else []), "frontend"]

    def close(self) -> None:
        """Stop all."""
        for observer in self.observers:
            observer.close()
        for tail, _ in self.logs:
            tail.close()


@dataclass
class Result:
    """How a session went."""

    reason: str = ""
    failed: list[str] = field(default_factory=list)


class Session:
    """One run. ``run`` returns when it is over.

    Args:
        replaces: the host whose machine is replaced by the next one that is taken.
        is_static: the operator is asked for every address.
        restarts: whether plugins' ``restart`` is called; ``batch``: only at the end.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        ethers: Ethers,
        registrar: Registrar,
        plugins: Plugins,
        database: Database,
        sources: Sources,
        view: View,
        until: Until,
        clock: Callable[[], float],
        replaces: str | None = None,
        is_static: bool = False,
        restarts: bool = True,
        is_batch: bool = False,
    ) -> None:
        self.ethers = ethers
        self.registrar = registrar
        self._plugins = plugins
        self._database = database
        self._sources = sources
        self._view = view
        self._until = until
        self._clock = clock
        self._replaces = replaces
        self._is_static = is_static
        self._restarts = restarts
        self._is_batch = is_batch
        self._sql = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._hooks = ThreadPoolExecutor(1, thread_name_prefix="plugins")
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._noted: list[tuple[Sighting, Verdict]] = []
        self._to_tell: asyncio.Queue[Mapping[str, str] | None] = asyncio.Queue()
        self._listed = {str(seen.mac) for seen in sources.listed}
        self._refused: dict[str, str] = {}
        self._was_away = False
        self.result = Result()

    def __repr__(self) -> str:
        return f"<Session {self.ethers!r}>"

    # --- the run ---

    async def run(self) -> Result:
        """Run until it is over, and leave nothing half done.

        Raises:
            DatabaseUnavailable: the database was away from the beginning.
            ConfigError: a source cannot be read.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop, f"ended by {number.name}")
        self._last_event, self._last_serial, untold = await self._database_work(self._begin)
        self.ethers.know(await self._in(self._sql, self.registrar.known))
        self._view.started(self._facts())
        telling = asyncio.create_task(self._tell_plugins(), name="plugins")
        for name in untold:
            self._view.note(self._clock(), f"{name} was registered by a run that was ended: plugins are told now")
            self._to_tell.put_nowait({"host": name})
        tasks = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                ("registration", self._register()),
                ("progress", self._look()),
                *((f"log {tail.path}", self._follow(tail, kind)) for tail, kind in self._sources.logs),
            )
        ]
        try:
            for observer in self._sources.observers:
                loop.add_reader(observer.fileno(), self._read, observer)
            for seen in self._sources.listed:
                self.take(seen)
            await self._over(tasks)
        finally:
            for observer in self._sources.observers:
                loop.remove_reader(observer.fileno())
            self._stop.set()
            self._wake.set()
            # A registration that is under way is finished; whoever waits asks again in the next run.
            await asyncio.gather(*tasks, return_exceptions=True)
            self._to_tell.put_nowait(None)
            await telling
            with suppress(DatabaseUnavailable):
                await self._store_sightings()
            self._hooks.shutdown()
            self._sql.shutdown()
            self._sources.close()
        self._view.ended(
            {
                "at": self._clock(),
                "registered": len(self.ethers.hosts),
                "missing": self.ethers.missing,
                "failed": self.result.failed,
                "reason": self.result.reason,
            }
        )
        return self.result

    def stop(self, reason: str) -> None:
        """End the run."""
        self.result.reason = self.result.reason or reason
        self._stop.set()

    def take(self, seen: Sighting) -> None:
        """Judge a sighting, show it, and remember strangers."""
        verdict = self.ethers.see(seen)
        self._view.packet(seen, verdict)
        if verdict.code in _STRANGE and len(self._noted) < MAX_NOTED and seen.mac is not None:
            self._noted.append((seen, verdict))
        if verdict.is_taken:
            self._wake.set()
        elif seen.source == "list":
            # Who is a host already is what a list wants: a second run of it heals the first.
            if verdict.code not in ("known", "recorded", "pending"):
                self._refused[str(seen.mac)] = verdict.text
            self._listed.discard(str(seen.mac))

    def press(self, key: str) -> None:
        """Do what the operator's key says."""
        if key in ("f8", "q"):
            missing = self.ethers.missing
            if missing:
                names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
                self._view.note(self._clock(), f"not kickstarted, please wait: {names} (F9 or Q ends anyway)")
            else:
                self.stop("ended by the operator")
        elif key in ("f9", "Q", "ctrl-c"):
            self.stop("ended by the operator")
        elif key == "r":
            rack = self.registrar.next_rack()
            self._view.note(self._clock(), f"new hosts go to rack {rack}")
        elif said := self.ethers.press(key):
            self._view.note(self._clock(), said)
        self._wake.set()

    # --- sources ---

    def _read(self, observer: Observer) -> None:
        try:
            for seen in observer.read(self._clock()):
                self.take(seen)
            if lost := observer.lost():
                self._view.note(self._clock(), f"{lost} packets on {observer.interface} came too fast to be seen")
        except ObserverStopped as error:
            self._view.note(self._clock(), f"{error}: waiting for it")
            loop = asyncio.get_running_loop()
            loop.remove_reader(observer.fileno())
            loop.call_later(RETRY_SECONDS[1], self._resume, observer)

    def _resume(self, observer: Observer) -> None:
        if not self._stop.is_set():
            asyncio.get_running_loop().add_reader(observer.fileno(), self._read, observer)

    async def _follow(self, tail: Tail, kind: LogFormat) -> None:
        while not self._stop.is_set():
            for line in tail.lines():
                seen = kind.parse(line, self._clock())
                if seen is not None:
                    self.take(seen)
            await self._pause(TAIL_SECONDS)

    # --- registration ---

    async def _register(self) -> None:
        pause = RETRY_SECONDS[0]
        while not self._stop.is_set():
            self._wake.clear()
            todo = self.ethers.candidates(1 if self._replaces or self._is_static else AT_ONCE)
            if not todo:
                await self._wake.wait()
                continue
            try:
                outcomes = await self._make_hosts(todo)
            except DatabaseUnavailable as error:
                self.ethers.postponed()
                self._away(error)
                await self._pause(pause)
                pause = min(2 * pause, RETRY_SECONDS[1])
                continue
            pause = RETRY_SECONDS[0]
            self._back()
            for seen, outcome in zip(todo, outcomes, strict=True):
                self._outcome(seen, outcome)

    async def _make_hosts(self, todo: Sequence[Sighting]) -> Sequence[Outcome]:
        now = self._clock()
        if self._replaces is not None:
            name = self._replaces
            return [await self._in(self._sql, lambda: self._replaced(name, todo[0], now))]
        address = None
        if self._is_static:
            address = await self._asked(todo[0])
            if address is None:
                return [ClusterError("passed over by the operator")]
        return await self._in(self._sql, lambda: self.registrar.register(todo, now=now, address=address))

    def _replaced(self, name: str, seen: Sighting, now: float) -> Outcome:
        try:
            return self.registrar.replace(name, seen, now=now)
        except ClusterError as error:
            return error

    async def _asked(self, seen: Sighting) -> str | None:
        while answer := (await self._view.ask_address(seen)).strip():
            try:
                return parse_ip(answer)
            except AvalancheError as error:
                self._view.note(self._clock(), str(error))
        return None

    def _outcome(self, seen: Sighting, outcome: Outcome) -> None:
        mac = str(seen.mac)
        self._listed.discard(mac)
        if isinstance(outcome, NewHost):
            self._refused.pop(mac, None)
            self.ethers.registered(outcome)
            self._view.registered(outcome)
            self._to_tell.put_nowait(_told(outcome))
            return
        self.ethers.refused(mac)
        self._refused[mac] = str(outcome)
        self._view.refused(self._clock(), mac, str(outcome))
        self._noted.append((seen, Verdict("refused", str(outcome))))

    # --- what the frontend and others do ---

    def _begin(self, transaction: Transaction) -> tuple[int, int, list[str]]:
        untold = untold_hosts(transaction) if self._plugins.names() else []
        return last_event(transaction), last_serial(transaction), untold

    async def _look(self) -> None:
        revision = -1
        while not self._stop.is_set():
            try:
                now_at = await self._database_work(lambda transaction: transaction.revision())
                if now_at != revision:
                    self.ethers.know(await self._in(self._sql, self.registrar.known))
                    revision = now_at
                await self._see_progress()
                await self._see_requests()
                await self._store_sightings()
                self._back()
            except DatabaseUnavailable as error:
                self._away(error)
            await self._pause(LOOK_SECONDS)

    async def _see_progress(self) -> None:
        last = self._last_event
        found = await self._database_work(lambda transaction: events_after(transaction, last))
        self._last_event = found.last
        for event in found.events:
            if event.stage in ("dhcp", "register", "plugins"):
                continue  # our own
            status = event.data.get("status")
            known = self.ethers.progress(
                event.host,
                stage=event.stage,
                outcome=event.status,
                text=event.text,
                status=status if isinstance(status, int) else None,
            )
            if known:
                self._view.progress(self.ethers.hosts[event.host], event.at, event.text)
                self._wake.set()

    async def _see_requests(self) -> None:
        """Kickstart requests of unknown machines, as the frontend noted them."""
        last = self._last_serial
        found = await self._database_work(lambda transaction: strangers(transaction, after=last))
        for stranger in found:
            self._last_serial = max(self._last_serial, stranger.serial)
            if stranger.seen.source == "frontend":
                self.take(stranger.seen)

    async def _store_sightings(self) -> None:
        noted, self._noted = self._noted, []
        if not noted:
            return
        # What the frontend told, it noted itself; who became a host meanwhile is no stranger any more.
        fresh = [(seen, verdict) for seen, verdict in noted if seen.source != "frontend" and not self._is_host(seen)]
        try:
            await self._database_work(lambda transaction: note_sightings(transaction, fresh), writes=True)
        except DatabaseUnavailable:
            self._noted = (noted + self._noted)[:MAX_NOTED]
            raise

    def _is_host(self, seen: Sighting) -> bool:
        return seen.mac is not None and self.ethers.knows(seen.mac)

    # --- plugins ---

    async def _tell_plugins(self) -> None:
        """Call plugins, in order: ``added`` for each new host, ``restart`` for groups of them, ``done`` at the end."""
        since: float | None = None
        loop = asyncio.get_running_loop()
        changed = False
        while True:
            waits = None
            if since is not None and self._restarts and not self._is_batch:
                waits = max(0.0, min(QUIET_SECONDS, since + RESTART_SECONDS - loop.time()))
            try:
                told = await asyncio.wait_for(self._to_tell.get(), waits)
            except TimeoutError:
                await self._hook("restart")
                since = None
                continue
            if told is None:
                break
            changed = True
            since = loop.time() if since is None else since
            await self._added(told)
        if changed and self._restarts and (since is not None or self._is_batch):
            await self._hook("restart")
        await self._hook("done")
        await self._in(self._hooks, self._plugins.close)

    async def _added(self, told: Mapping[str, str]) -> None:
        if not self._plugins.names():
            return
        name = told["host"]
        if set(told) == {"host"}:
            try:
                found = await self._database_work(lambda transaction: transaction.hosts([name]).get(name))
            except DatabaseUnavailable:
                return  # the next run finds it untold again
            if found is None:
                return
            told = facts_of(found)
        problems = await self._hook("added", told)
        status, text = ("failed", "; ".join(problems)) if problems else ("ok", "plugins told")
        event = TimelineEvent(name, self._clock(), "plugins", status, text)
        with suppress(DatabaseUnavailable):
            await self._database_work(lambda transaction: orderbook.add_events(transaction, [event]), writes=True)

    async def _hook(self, event: str, host: Mapping[str, str] | None = None) -> list[str]:
        calls = await self._in(self._hooks, lambda: list(self._plugins.call(event, host)))
        for call in calls:
            self._view.plugin(call)
        return [f"{call.plugin}: {call.problem}" for call in calls if call.problem]

    # --- ends ---

    async def _over(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until the run is over, for whatever reason."""
        loop = asyncio.get_running_loop()
        deadline = None if self._until.seconds is None else loop.time() + self._until.seconds
        while not self._stop.is_set():
            for task in tasks:
                if task.done():
                    task.result()  # a task that ended failed
            if self._is_satisfied():
                self.stop("done")
            elif deadline is not None and loop.time() >= deadline:
                self.result.failed.append(self._lacking())
                self.stop("the time is over")
            await self._pause(0.05)
        if self._sources.listed and self._refused:
            # Another program may have registered it in the same moment.
            self.ethers.know(await self._in(self._sql, self.registrar.known))
            self.result.failed += [f"{mac}: {why}" for mac, why in self._refused.items() if not self.ethers.knows(mac)]
        if self._until.stage == "done":
            failed = [host for host in self.ethers.hosts.values() if host.outcome == "failed" and host.stage == "done"]
            self.result.failed += [f"{host.name}: {host.why}" for host in failed]

    def _is_satisfied(self) -> bool:
        stage = self._until.stage
        if stage is None or self._listed:
            return False
        if not self._sources.listed and not self.ethers.is_full:
            return False
        if stage == "kickstart":
            return not self.ethers.missing
        if stage == "done":
            return all(host.order is None or host.stage == "done" for host in self.ethers.hosts.values())
        return True

    def _lacking(self) -> str:
        wanted, there = self.ethers.policy.count, len(self.ethers.hosts)
        if wanted is not None and there < wanted:
            return f"{there} of {wanted} hosts came"
        if self._listed:
            return f"{len(self._listed)} machines of the list are not registered"
        late = [host.name for host in self.ethers.hosts.values() if host.order and host.stage != "done"]
        return f"not yet {self._until.stage}: {', '.join(late[:5])}"

    def _facts(self) -> dict[str, Any]:
        wanted = self.registrar.wanted
        return {
            "at": self._clock(),
            "mode": self.ethers.policy.mode,
            "membership": wanted.membership,
            "network": str(wanted.network) if wanted.network else None,
            "rack": wanted.rack,
            "next": self._replaces or self.registrar.peek(),
            "count": self.ethers.policy.count,
            "sources": self._sources.names(),
        }

    # --- threads ---

    async def _database_work(self, work: Callable[[Transaction], T], *, writes: bool = False) -> T:
        return await self._in(self._sql, lambda: self._database.run(work, writes=writes))

    def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, work)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _away(self, error: DatabaseUnavailable) -> None:
        if not self._was_away:
            self._view.note(self._clock(), f"{error}; nothing is lost, trying again")
        self._was_away = True

    def _back(self) -> None:
        if self._was_away:
            self._view.note(self._clock(), "the database is back")
        self._was_away = False


def facts_of(host: Host) -> dict[str, str]:
    """What plugins are told of a host."""
    return {
        "host": host.name,
        "mac": host.mac or "",
        "ip": host.address or "",
        "rack": str(host.rack),
        "rank": str(host.rank),
        "membership": host.membership,
    }


def _told(host: NewHost) -> dict[str, str]:
    return {
        "host": host.name,
        "mac": host.mac,
        "ip": host.address or "",
        "rack": str(host.rack),
        "rank": str(host.rank),
        "membership": host.membership,
    }


def parse_list(text: str, *, file: str, at: float) -> list[Sighting]:
    """Read a list of machines: one MAC per line, ``#`` begins a comment.

    Raises:
        ConfigError: a line is no MAC; names file and line.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found.append(Sighting(at, "list", "LISTED", parse_mac(word)))
        except AvalancheError as error:
            raise ConfigError(f"{file}:{number}: {error}") from None
    if not found:
        raise ConfigError(f"{file}: no MAC in it; write one per line")
    return found
