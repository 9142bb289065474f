"""The gate in front of answers with packages or pieces: who may send, and when (`avalanche.egress` decides)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from avalanche.egress import Busy, Caps, Egress, State, Stream


class Gate:
    """Lets streams through as the caps permit.

    Args:
        chance: a random number in [0, 1).
    """

    def __init__(self, caps: Caps, *, chance: Callable[[], float] = random.random) -> None:
        self.caps = caps
        self._chance = chance
        self._egress: Egress | None = None
        self._turns: dict[Stream, asyncio.Future[None]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self.on_refused: Callable[[], None] = lambda: None
        """Called for every answer that is told to come back."""

    def __repr__(self) -> str:
        return f"<Gate {self._egress!r}>"

    @property
    def running(self) -> int:
        """Answers that run."""
        return 0 if self._egress is None else self._egress.running

    @property
    def waiting(self) -> int:
        """Answers that wait to be admitted."""
        return 0 if self._egress is None else self._egress.waiting

    @asynccontextmanager
    async def stream(self, host: str) -> AsyncIterator[Passage]:
        """Let one answer to ``host`` through, as long as the context lasts.

        Raises:
            Busy: it is not admitted.
        """
        loop = asyncio.get_running_loop()
        if self._egress is None:
            self._egress = Egress(self.caps, now=loop.time())
        egress = self._egress
        try:
            stream = egress.enter(host, now=loop.time(), chance=self._chance())
        except Busy:
            self.on_refused()
            raise
        try:
            await self._turn(stream)
            if stream.state is State.REFUSED:
                self.on_refused()
                raise Busy(egress.retry_after(self._chance()))
            yield Passage(self, egress, stream)
        finally:
            egress.leave(stream)
            self._pump()

    async def _turn(self, stream: Stream) -> None:
        """Wait until the stream may go on."""
        before = stream.state
        self._pump()
        while stream.state is before:
            turn = self._turns[stream] = asyncio.get_running_loop().create_future()
            try:
                await turn
            finally:
                self._turns.pop(stream, None)

    def _pump(self) -> None:
        egress, loop = self._egress, asyncio.get_running_loop()
        assert egress is not None
        for stream in egress.decide(loop.time()):
            turn = self._turns.get(stream)
            if turn is not None and not turn.done():
                turn.set_result(None)
        if self._alarm is not None:
            self._alarm.cancel()
        pause = egress.pause(loop.time())
        # The clock of the loop may be a hair early.
        self._alarm = None if pause is None else loop.call_later(pause + 0.0005, self._pump)


class Passage:
    """An admitted answer."""

    def __init__(self, gate: Gate, egress: Egress, stream: Stream) -> None:
        self._gate = gate
        self._egress = egress
        self._stream = stream

    def __repr__(self) -> str:
        return f"<Passage {self._stream!r}>"

    @property
    def slice(self) -> int:
        """Bytes that may be sent at once, at most."""
        return self._egress.caps.slice

    @asynccontextmanager
    async def sending(self, count: int) -> AsyncIterator[None]:
        """Wait for the leave to send ``count`` bytes, at most a slice; they are sent within."""
        self._egress.ask(self._stream, count)
        await self._gate._turn(self._stream)
        try:
            yield
        finally:
            self._egress.sent(self._stream)
