"""``FAULTS=kill:2@40%,slow:1@25%,stop:1:5s@30%,frontend-stop:5s@50%``: what goes wrong in a demo, and when. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from avalanche.errors import ConfigError

HOST_FAULTS = ("kill", "slow", "slow-up", "join")
STOP = "stop"
SERVER_FAULTS = ("frontend-stop", "frontend-freeze", "frontend-kill", "tracker-stop")
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_FAULT = re.compile(
    rf"(?P<kind>[a-z-]+):(?:(?P<hosts>{_NUMBER})(?::(?P<pause>{_NUMBER})s)?|(?P<seconds>{_NUMBER})s)@(?P<percent>[0-9]{{1,3}})%"
)
_FORMS = ", ".join(
    [*(f"{kind}:N@P%" for kind in HOST_FAULTS), f"{STOP}:N:Ss@P%", *(f"{kind}:Ss@P%" for kind in SERVER_FAULTS)]
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: ``kill`` (power is cut), ``slow`` (links run at ``percent`` of the rate, from the start), ``slow-up`` (the
            ways out of them do), ``join`` (hosts start late), ``stop`` (SIGSTOP, SIGCONT later), ``frontend-stop``
            (SIGTERM, started again later), ``frontend-freeze`` (SIGSTOP, SIGCONT later), ``frontend-kill`` (SIGKILL,
            started again later), ``tracker-stop`` (SIGKILL, started again later, empty; the tracker is a process of its
            own then).
        amount: how many hosts; seconds for faults of the frontend and the tracker.
        percent: when: the share of all packages' bytes that has arrived; for slow links, how slow.
        seconds: for ``stop``, how long.
    """

    kind: str
    amount: float
    percent: int
    seconds: float = 0.0

    @property
    def hosts(self) -> int:
        """How many hosts it hits."""
        return 0 if self.kind in SERVER_FAULTS else int(self.amount)

    @property
    def is_from_start(self) -> bool:
        """Is it there before the barrier is lifted?"""
        return self.kind in ("slow", "slow-up")

    def __str__(self) -> str:
        unit = "s" if self.kind in SERVER_FAULTS else f":{self.seconds:g}s" if self.kind == STOP else ""
        return f"{self.kind}:{self.amount:g}{unit}@{self.percent}%"


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read a list of faults, separated by commas.

    Raises:
        ConfigError: says which one is not understood, and the forms there are.
    """
    return tuple(_parse(word.strip()) for word in text.split(",") if word.strip())


def _parse(word: str) -> Fault:
    match = _FAULT.fullmatch(word)
    if match is None or match["kind"] not in (*HOST_FAULTS, STOP, *SERVER_FAULTS):
        raise ConfigError(f"FAULTS: {word!r} is not one of {_FORMS}")
    kind, pause = match["kind"], match["pause"]
    if (match["seconds"] is not None) != (kind in SERVER_FAULTS) or (pause is not None) != (kind == STOP):
        raise ConfigError(f"FAULTS: {word!r}: hosts are whole numbers, times end in s: {_FORMS}")
    fault = Fault(kind, float(match["seconds"] or match["hosts"]), int(match["percent"]), float(pause or 0))
    if match["hosts"] is not None and not fault.amount.is_integer():
        raise ConfigError(f"FAULTS: {word!r}: hosts are whole numbers, times end in s: {_FORMS}")
    if fault.percent > 100 or (fault.is_from_start and fault.percent == 0):
        raise ConfigError(f"FAULTS: {word!r}: a share lies between 0 % and 100 %, that of a slow link is above 0 %")
    return fault
