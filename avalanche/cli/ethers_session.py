"""A running insert-ethers: sources in, registrations and plugins out, until enough is done or somebody says stop.

One thread does all SQL and one all plugins; the event loop never waits for either, so packets are read and keys are
answered while a database is away.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from avalanche.adapters.database import Database, DatabaseUnavailable
from avalanche.adapters.following import untold_hosts
from avalanche.adapters.observer import Observer, ObserverStopped
from avalanche.adapters.plugins import Plugins
from avalanche.adapters.registrar import Outcome, Registrar
from avalanche.adapters.tail import Tail
from avalanche.cli.ethers_following import Following
from avalanche.cli.ethers_goal import Goal, Until
from avalanche.cli.ethers_notes import Notes
from avalanche.cli.ethers_sources import Sources
from avalanche.cli.ethers_sql import SqlThread
from avalanche.cli.ethers_telling import Telling
from avalanche.cli.ethers_views import View
from avalanche.dhcplogs import LogFormat
from avalanche.errors import AvalancheError, ClusterError
from avalanche.ethers import Ethers, NewHost, Sighting, Verdict
from avalanche.names import parse_ip

AT_ONCE = 100
"""So many machines at most become hosts in one transaction."""
LOOK_SECONDS = 0.5
TAIL_SECONDS = 0.2
RETRY_SECONDS = (0.5, 5.0)


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
        self._has_plugins = bool(plugins.names())
        self._sources = sources
        self._view = view
        self._until = until
        self._goal = Goal(until, ethers, (str(seen.mac) for seen in sources.listed))
        self._clock = clock
        self._replaces = replaces
        self._is_static = is_static
        self._sql = SqlThread(database, view, clock)
        self._notes = Notes(self._sql, ethers)
        self._telling = Telling(plugins, self._sql, view, restarts=restarts, is_batch=is_batch, clock=clock)
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._following = Following(self._sql, ethers, registrar, view, take=self.take, wake=self._wake.set)
        self._is_cut_short = False
        self._failure: OSError | None = None
        self.result = Result()

    def __repr__(self) -> str:
        return f"<Session {self.ethers!r}>"

    # --- the run ---

    async def run(self) -> Result:
        """Run until it is over, and leave nothing half done.

        Raises:
            DatabaseUnavailable: the database was away from the beginning.
            ConfigError: a source cannot be read.
            OSError: the view cannot be written: its disk is full, or nobody reads it any more.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._cut_short, f"ended by {number.name}")
        await self._following.begin()
        untold = await self._sql.run(untold_hosts) if self._has_plugins else []
        self._view.started(self._facts())
        telling = asyncio.create_task(self._telling.run(), name="plugins")
        for name in untold:
            self._view.note(self._clock(), f"{name} was registered by a run that was ended: plugins are told now")
            self._telling.added_before(name)
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
            self._telling.end()
            await telling
            with suppress(DatabaseUnavailable):
                await self._notes.store()
            self._sql.close()
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

    def _cut_short(self, reason: str) -> None:
        """End the run from outside: who waits for a number of hosts has not got them."""
        self._is_cut_short = self._goal.is_bounded and not self._stop.is_set()
        self.stop(reason)

    def take(self, seen: Sighting) -> None:
        """Judge a sighting, show it, and remember strangers."""
        verdict = self.ethers.see(seen)
        self._view.packet(seen, verdict)
        self._notes.add(seen, verdict)
        if verdict.is_taken:
            self._wake.set()
        elif seen.source == "list":
            # Who is a host already is what a list wants: a second run of it heals the first.
            if verdict.code in ("known", "recorded"):
                self._goal.registered(str(seen.mac))
            elif verdict.code != "pending":
                self._goal.refused(str(seen.mac), verdict.text)

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
        except OSError as error:
            # Who is told nothing any more must not take machines: nobody awaits this call, so the run says it.
            self._failure = error
            self._stop.set()

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
                self._sql.is_away(error, writing=True)
                await self._pause(pause)
                pause = min(2 * pause, RETRY_SECONDS[1])
                continue
            pause = RETRY_SECONDS[0]
            self._sql.is_back(writing=True)
            for seen, outcome in zip(todo, outcomes, strict=True):
                self._outcome(seen, outcome)

    async def _make_hosts(self, todo: Sequence[Sighting]) -> Sequence[Outcome]:
        now = self._clock()
        if self._replaces is not None:
            name = self._replaces
            return [await self._sql.call(lambda: self._replaced(name, todo[0], now))]
        address = None
        if self._is_static:
            address = await self._asked(todo[0])
            if address is None:
                return [ClusterError("passed over by the operator")]
        return await self._sql.call(lambda: self.registrar.register(todo, now=now, address=address))

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
        if isinstance(outcome, NewHost):
            self._goal.registered(mac)
            self.ethers.registered(outcome)
            self._view.registered(outcome)
            self._telling.added(outcome)
            return
        self._goal.refused(mac, str(outcome))
        self.ethers.refused(mac)
        self._view.refused(self._clock(), mac, str(outcome))
        self._notes.add(seen, Verdict("refused", str(outcome)))

    # --- what the frontend and others do ---

    async def _look(self) -> None:
        while not self._stop.is_set():
            stores = False
            try:
                await self._following.look()
                self._sql.is_back(writing=False)
                stores = True
                self._sql.is_back(writing=await self._notes.store())
            except DatabaseUnavailable as error:
                self._sql.is_away(error, writing=stores)
            await self._pause(LOOK_SECONDS)

    # --- ends ---

    async def _over(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until the run is over, for whatever reason."""
        loop = asyncio.get_running_loop()
        deadline = None if self._until.seconds is None else loop.time() + self._until.seconds
        while not self._stop.is_set():
            for task in tasks:
                if task.done():
                    task.result()  # a task that ended failed
            if self._goal.is_reached:
                self.stop("done")
            elif deadline is not None and loop.time() >= deadline:
                self.result.failed.append(self._goal.lacking)
                self.stop("the time is over")
            await self._pause(0.05)
        if self._failure is not None:
            raise self._failure
        if self._is_cut_short and not self._goal.is_reached:
            self.result.failed.append(f"{self._goal.lacking}; {self.result.reason}")
        if self._goal.has_refusals:
            # Another program may have registered it in the same moment.
            await self._following.know()
        self.result.failed += self._goal.failures()

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

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
