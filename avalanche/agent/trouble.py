"""What follows from a failure of one object: wait and try again, or give up with a reason. Decides; fetches nothing."""

from __future__ import annotations

import logging
import random
from typing import Callable, Optional

from avalanche.agent.events import Events
from avalanche.agent.source import Refused, Source
from avalanche.agent.transfer import DiskFull
from avalanche.errors import AvalancheError, SourceUnavailable, StoreFull, TransferError, VerificationFailed
from avalanche.manifest import Entry
from avalanche.messages import retry_delay

MISMATCHES = 5
"""So many wrong pieces are fetched again before the object fails."""
REFUSALS = 2
"""So many times every source may refuse an object before it fails."""
FULL_SECONDS = 60
"""So long an object that the installer waits for may find the disk full before it fails."""

Delay = Callable[[int, Optional[float]], float]
"""Seconds to wait after the n-th failure, given what the other side asked for."""

log = logging.getLogger(__name__)


def jittered_delay(tries: int, retry_after: Optional[float]) -> float:
    """The protocol's wait (docs/protocol.md, section 1)."""
    return retry_delay(tries, chance=random.random(), retry_after=retry_after)  # noqa: S311 - jitter, not a secret


class Trouble:
    """The failures of one object so far.

    Args:
        sources: how many sources there are; all of them are tried before any waiting.
        is_live: may an unreachable source still be waited for?
    """

    def __init__(
        self, entry: Entry, events: Events, *, sources: int, is_live: Callable[[], bool], delay: Delay
    ) -> None:
        self._entry = entry
        self._events = events
        self._sources = sources
        self._is_live = is_live
        self._delay = delay
        self._tries = 0
        self._mismatches = 0
        self._refusals = 0
        self._full = 0
        self._was_woken = False

    def __repr__(self) -> str:
        return f"<Trouble {self._entry.path} tries={self._tries} mismatches={self._mismatches}>"

    def judge_peer(self, source: Source, error: AvalancheError) -> None:
        """Tell of a host that did not deliver; somebody else is asked at once, so it never is the end."""
        # A parent that dies takes hundreds of objects along; its link tells of it once.
        log.debug("asked elsewhere peer=%s path=%s reason=%s", source, self._entry.path, error)
        if isinstance(error, VerificationFailed):
            log.warning("wrong bytes peer=%s path=%s reason=%s", source, self._entry.path, error)
            self._report(f"{error} (from {source}); fetched again from elsewhere", key=self._entry.path)

    def judge(self, source: Source, error: AvalancheError) -> float:
        """Say how many seconds to wait before the next try.

        Raises:
            AvalancheError: there shall be no next try, and why.
        """
        self._tries += 1
        if isinstance(error, VerificationFailed):
            self._judge_mismatch(source, error)
        elif isinstance(error, Refused):
            self._refusals += 1
            if self._refusals >= REFUSALS * self._sources:
                raise error
        elif not self._is_live():
            raise SourceUnavailable(f"{error}; the frontend has ended the order, so nobody waits for it")
        rounds, position = divmod(self._tries, self._sources)
        if position:
            return 0.0
        if rounds == 2 or rounds % 10 == 0:
            self._report(f"waiting for {self._entry.path}, {self._tries} tries: {error}", key="waiting")
        asked = error.retry_after if isinstance(error, SourceUnavailable) else None
        return self._delay(rounds, asked)

    def may_be_woken(self, error: AvalancheError) -> bool:
        """May it be tried again before its time, when a frontend answers something else?

        Not after a final answer, nor one that says when to come back; nor after it was woken in vain: what fails for a
        reason of its own keeps its pace.
        """
        is_told = isinstance(error, Refused) or getattr(error, "retry_after", None) is not None
        was_woken, self._was_woken = self._was_woken, False
        return isinstance(error, TransferError) and not is_told and not was_woken

    def woken(self) -> None:
        """It is tried again before its time."""
        self._was_woken = True

    def judge_full_disk(self, error: DiskFull, *, is_demanded: bool) -> float:
        """Say how many seconds to wait for room. A prefetch waits for ever, the installer does not.

        Raises:
            StoreFull: the installer has waited long enough.
        """
        if self._full == 0:
            self._report(f"the disk of the package cache is full: {error}", key="full")
        self._full += is_demanded
        if self._full > FULL_SECONDS:
            raise StoreFull(f"no room for {self._entry.path} ({self._entry.size} bytes): {error}")
        return 1.0

    def _judge_mismatch(self, source: Source, error: VerificationFailed) -> None:
        self._mismatches += 1
        text = f"{error} (from {source}, {self._mismatches} times)"
        log.warning("verification failed %s", text)
        if self._mismatches > MISMATCHES:
            raise VerificationFailed(text, path=error.path, piece=error.piece)
        self._report(f"{text}; fetched again", key=self._entry.path)

    def _report(self, text: str, *, key: str) -> None:
        self._events.report("packages", "progress", text, key=key)
