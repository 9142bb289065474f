"""Events: numbered once, never lost when they matter, never in the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

from avalanche.agent.events import PENDING_PROGRESS, Events
from avalanche.agent.frontend import Frontend
from avalanche.agent.rundir import RunDirectory
from avalanche.messages import MAX_BODY, MAX_TEXT
from tests.agent.faulty import Fault, FaultyFrontend
from tests.agent.rig import ATTEMPT


class Sender:
    """Events of one attempt, being sent."""

    def __init__(self, frontend: FaultyFrontend, folder: Path) -> None:
        (folder / "run").mkdir(exist_ok=True)
        self.client = Frontend(frontend.document(), ATTEMPT)
        self.events = Events(self.client, attempt=ATTEMPT, run=RunDirectory(folder / "run"))
        self.task: asyncio.Task[None]

    async def __aenter__(self) -> Events:
        self.task = asyncio.ensure_future(self.events.run())
        return self.events

    async def __aexit__(self, *reason: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.client.close()


async def test_events_arrive_in_order_with_their_numbers(frontend: FaultyFrontend, folder: Path) -> None:
    async with Sender(frontend, folder) as events:
        for number in range(120):
            events.report("pre", "ok", f"script {number}")
        assert await events.flush(5)
    assert [(event["seq"], event["text"]) for event in frontend.events] == [
        (number + 1, f"script {number}") for number in range(120)
    ]


async def test_a_frontend_that_is_away_costs_no_outcome(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults["/install/events"].extend([Fault(status=503), Fault(status=500), Fault(status=502)])
    async with Sender(frontend, folder) as events:
        events.report("profile", "ok", "first")
        assert await events.flush(10)
    assert [event["text"] for event in frontend.events] == ["first"]


async def test_waiting_progress_gives_way_to_newer_and_outcomes_stay(frontend: FaultyFrontend, folder: Path) -> None:
    sender = Sender(frontend, folder)
    for number in range(5000):
        sender.events.report("packages", "progress", f"{number} of 5000")
        sender.events.report("packages", "progress", "wrong piece", key=f"object {number}")
    for number in range(300):
        sender.events.report("packages", "failed", f"object {number}")
    async with sender as events:
        assert await events.flush(10)
    texts = [event["text"] for event in frontend.events]
    assert texts.count("wrong piece") <= PENDING_PROGRESS
    assert [text for text in texts if " of 5000" in text] == ["4999 of 5000"]
    assert [event["text"] for event in frontend.events if event["status"] == "failed"] == [
        f"object {number}" for number in range(300)
    ]


async def test_numbers_go_on_after_a_restart(frontend: FaultyFrontend, folder: Path) -> None:
    for text in ("before", "after"):
        async with Sender(frontend, folder) as events:
            events.report("stub", "ok", text)
            assert await events.flush(5)
    assert [(event["seq"], event["text"]) for event in frontend.events] == [(1, "before"), (2, "after")]


async def test_long_and_broken_texts_are_made_to_fit(frontend: FaultyFrontend, folder: Path) -> None:
    async with Sender(frontend, folder) as events:
        for _ in range(40):
            events.report("pre", "failed", "\U0001f4a5" * 5000 + "the end \udcff")
        assert await events.flush(10)
    assert len(frontend.events) == 40
    assert {len(event["text"]) for event in frontend.events} == {MAX_TEXT}
    assert all(event["text"].endswith("the end ?") for event in frontend.events)
    bodies = [int(headers["content-length"]) for _, target, headers in frontend.requests if target.endswith("events")]
    assert max(bodies) <= MAX_BODY


async def test_a_refused_order_ends_the_reports(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.always["/install/events"] = Fault(status=403)
    async with Sender(frontend, folder) as events:
        events.report("stub", "ok", "hello")
        assert await events.flush(5)
        assert str(events.refused) == "told to fail"
        events.report("stub", "ok", "nobody hears this")
    assert len([target for _, target, _ in frontend.requests if target == "/install/events"]) == 1


async def test_a_batch_nobody_understands_is_given_up(frontend: FaultyFrontend, folder: Path) -> None:
    frontend.faults["/install/events"].append(Fault(status=400))
    async with Sender(frontend, folder) as events:
        events.report("stub", "ok", "odd")
        await events.flush(5)
        events.report("stub", "ok", "fine")
        assert await events.flush(5)
    assert [event["text"] for event in frontend.events] == ["fine"]
