"""The parameters of the chain rule (`chains`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tracker.standing import Patience


@dataclass(frozen=True, slots=True)
class Policy:
    """The parameters of the chain rule; times in seconds. Why they are what they are: decision 0051.

    Attributes:
        cohort: hosts that come within this time of each other are lined up by rack; later ones go behind them. The
            first of a rack, and who is known to be slow, waits so long for those it is to stand behind.
        settle: after a restart nobody gets a parent so long: others are about to say what they hold. Few hosts ask
            again within 0.375 s (docs/protocol.md, 10.1)...
        lull: ...and while many come back, nobody gets one until none has come for so long.
        recall: after a restart hosts may take their former places so long.
        starved: a child that still starves so long after it said so is moved, unless its parent starves too.
        lateness: who is not heard for so long after its time gets no child that has just lost another parent.
        pace: lookups per second over all hosts that the tracker aims at.
        next_range: shortest and longest time between lookups of one host.
    """

    cohort: float = 0.5
    settle: float = 0.4
    lull: float = 0.2
    recall: float = 10.0
    starved: float = 0.9
    lateness: float = 0.5
    pace: float = 40.0
    next_range: tuple[float, float] = (0.5, 5.0)
    patience: Patience = field(default_factory=Patience)
