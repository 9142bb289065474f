"""The agent: wires the parts together and lives from the stub's ``%pre`` to the installer's *done*."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from avalanche import __version__
from avalanche.agent.connection import Address
from avalanche.agent.control import Control
from avalanche.agent.deadline import within
from avalanche.agent.done import FLUSH_SECONDS, outcome, post_done
from avalanche.agent.events import Events
from avalanche.agent.feed import Feed
from avalanche.agent.frontend import Frontend
from avalanche.agent.keeper import CRASHED
from avalanche.agent.log import open_log
from avalanche.agent.preparation import Plan, Preparation, StageFailed
from avalanche.agent.progress import Progress
from avalanche.agent.rundir import AlreadyRunning, RunDirectory
from avalanche.agent.settings import Settings, load_settings
from avalanche.errors import AvalancheError
from avalanche.messages import DONE_STATUSES

CLOCK_TOLERANCE = 300.0
"""Seconds by which the clocks of host and frontend may differ before it is worth an event."""
LAST_SECONDS = 60.0
"""So long an agent that failed tries to tell the frontend why."""

_USAGE = "agent.pyz agent --run RUN [--listener DESCRIPTOR] [--again REASON]"
log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run ``agent``, as a keeper starts it; return its status: 0 after *done* or SIGTERM, 1 failed, 2 wrong usage."""
    options = dict(zip(words[1::2], words[2::2]))
    listener = options.get("--listener")
    if len(words) != 1 + 2 * len(options) or not {"--run"} <= set(options) <= {"--run", "--listener", "--again"}:
        print(f"usage: {_USAGE}", file=sys.stderr)
        return 2
    run = RunDirectory(Path(options["--run"]))
    open_log(run.log)

    async def work() -> int:
        descriptor = None if listener is None else int(listener)
        return await Agent(run, listener=descriptor, again=options.get("--again", "")).work()

    try:
        return asyncio.run(work())
    except AlreadyRunning as error:
        log.error("%s", error)
    except AvalancheError as error:
        log.error("%s", error)
        run.say_failed(str(error))
    except Exception as error:
        log.exception("the agent crashed")
        run.say_failed(f"the agent crashed ({type(error).__name__}: {error}); see {run.log}")
        return CRASHED
    return 1


class Agent:
    """One install order on this host.

    Args:
        listener: descriptor of a socket on which the proxy listens; a keeper has a copy of it.
        again: why the agent was started again, when it was: it goes on with the plan it had.

    Raises:
        AvalancheError: the run directory holds no usable order, or another agent runs there.
    """

    def __init__(self, run: RunDirectory, *, listener: Optional[int] = None, again: str = "") -> None:
        self._run = run
        self._listener = None if listener is None else socket.socket(fileno=listener)
        self._again = again
        self._lock = run.lock()
        self._settings: Settings = load_settings(run.path)
        self._order = run.order()
        self._attempt = run.attempt()
        self._frontend = Frontend(self._order, self._attempt)
        self._events = Events(self._frontend, attempt=self._attempt, run=run)
        self._progress: Optional[Progress] = None
        self._state = "starting"
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._installing: Optional[asyncio.Task[None]] = None
        self._is_withdrawing = False

    def __repr__(self) -> str:
        return f"<Agent {self._order.host} order={self._order.order} {self._state}>"

    async def work(self) -> int:
        """Do everything, and return the exit status: 0 after *done* or SIGTERM, 1 after a failure.

        Raises:
            Exception: a fault of the agent itself, wherever it happened.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log_fault)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, 0)
        log.info("agent started version=%s host=%s order=%s", __version__, self._order.host, self._order.order)
        control = Control(self._run.socket, self._command)
        await control.open()
        try:
            self._own(self._events.run())
            self._installing = self._own(self._install())
            return await self._end
        finally:
            self._begin_to_withdraw()
            await self._has_withdrawn()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._frontend.close()
            # The answer to *done* leaves before the agent does.
            await control.close()
            log.info("agent ended state=%s", self._state)

    async def _install(self) -> None:
        try:
            await self._feed(self._resume() if self._again else await self._prepare())
        except StageFailed as failure:
            await self._give_up(failure)
        except AvalancheError as error:
            await self._give_up(StageFailed("packages", error))

    async def _prepare(self) -> Plan:
        self._events.report("stub", "ok", f"agent {__version__} on Python {sys.version.split()[0]}")
        async with Preparation(self._frontend, self._run, self._events) as preparation:
            plan = await preparation.fetch_plan()
            self._report_clock()
            await preparation.make_kickstart()
        self._run.keep_plan(plan.to_row(), plan.manifest.to_bytes())
        return plan

    def _resume(self) -> Plan:
        """The plan that an earlier agent made: the installer reads its kickstart already."""
        self._events.report("packages", "progress", f"the agent {self._again}", key="again")
        return Plan.from_row(*self._run.plan())

    def _report_clock(self) -> None:
        offset = self._frontend.clock_offset or 0.0
        if abs(offset) > CLOCK_TOLERANCE:
            way = "behind" if offset > 0 else "ahead of"
            text = f"this host's clock is {abs(offset):.0f} s {way} the frontend's; times in its events are its own"
            self._events.report("profile", "progress", text, {"clock_offset": round(offset)})

    async def _feed(self, plan: Plan) -> None:
        """Serve packages until the agent ends."""
        feed = Feed(
            plan.manifest,
            self._order,
            frontend=self._frontend,
            addresses=[Address.parse(url) for url in self._order.http],
            settings=self._settings,
            events=self._events,
            membership=plan.membership,
            attempt=secrets.token_hex(8),
            bundle=self._run.bundle,
            plane=plan.plane,
        )
        self._progress = Progress(plan.manifest, feed.downloader, self._events, self._run)
        try:
            await feed.open(self._listener)
            self._state = "ready"
            self._run.say_ready()
            await asyncio.gather(self._progress.run(), feed.broken)
        finally:
            await feed.close()

    # --- ends ---

    async def _command(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if row.get("command") == "status":
            facts = {} if self._progress is None else self._progress.facts()
            return {"order": self._order.order, "state": self._state, "facts": facts}
        status, text = row.get("status"), row.get("text")
        if row.get("command") != "done" or status not in DONE_STATUSES or not isinstance(text, str):
            return {"error": "unknown command"}
        if self._state != "failed":  # an agent that failed has withdrawn, and tells the frontend why
            self._begin_to_withdraw()
        answer = {"confirmed": True, "text": f"install {status}, confirmed by the frontend"}
        try:
            await self._finish(str(status), text)
        except AvalancheError as error:
            answer = {"confirmed": False, "text": f"install {status}, and the frontend has not confirmed it: {error}"}
        finally:
            # A host that is installed is never contacted: who hears the answer finds no port open and no file left.
            await self._has_withdrawn()
            self._stop(0)
        return answer

    def _begin_to_withdraw(self) -> None:
        # Once: a second cancellation would stop the clearing up.
        if self._installing is not None and not self._is_withdrawing:
            self._is_withdrawing = True
            self._installing.cancel()

    async def _has_withdrawn(self) -> None:
        if self._installing is not None:
            await asyncio.wait({self._installing})

    async def _finish(self, status: str, text: str) -> None:
        await self._events.flush(FLUSH_SECONDS)
        summary = {} if self._progress is None else self._progress.facts()
        await post_done(self._frontend, self._run, outcome(self._attempt, status, text, summary))
        self._state = "done"
        log.info("install ended status=%s text=%s", status, text)

    async def _give_up(self, failure: StageFailed) -> None:
        self._state = "failed"
        self._run.say_failed(str(failure))
        self._events.report(failure.stage, "failed", str(failure))
        with contextlib.suppress(AvalancheError, asyncio.TimeoutError):
            await within(LAST_SECONDS, self._finish("failed", f"{failure.stage}: {failure}"))
        self._stop(1)

    def _stop(self, status: int) -> None:
        if not self._end.done():
            self._end.set_result(status)

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    def _log_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault in a callback or in one client's task: what else is under way goes on."""
        log.error("fault %s", context.get("message"), exc_info=context.get("exception"))
