"""``FAULTS=kill:2@40%,slow:1@25%,frontend-stop:5s@50%``: what goes wrong in a demo, and when. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from avalanche.errors import ConfigError

_HOST_FAULTS = ("kill", "slow")
_SERVER_FAULTS = ("frontend-stop", "frontend-freeze", "frontend-kill", "tracker-stop")
_FAULT = re.compile(r"(?P<kind>[a-z-]+):(?P<amount>[0-9]+(?:\.[0-9]+)?)(?P<unit>s?)@(?P<percent>[0-9]{1,3})%")
_FORMS = "kill:N@P%, slow:N@P%, frontend-stop:Ss@P%, frontend-freeze:Ss@P%, frontend-kill:Ss@P%, tracker-stop:Ss@P%"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: ``kill`` (power is cut), ``slow`` (links run at ``percent`` of the rate, from the start),
            ``frontend-stop`` (SIGTERM, started again later), ``frontend-freeze`` (SIGSTOP, SIGCONT later),
            ``frontend-kill`` (SIGKILL, started again later), ``tracker-stop`` (SIGKILL, started again later, empty; the
            tracker is a process of its own then).
        amount: hosts for ``kill`` and ``slow``; seconds for the others.
        percent: when: the share of all packages' bytes that has arrived; for ``slow``, how slow.
    """

    kind: str
    amount: float
    percent: int

    @property
    def is_on_hosts(self) -> bool:
        return self.kind in _HOST_FAULTS

    def __str__(self) -> str:
        unit = "" if self.is_on_hosts else "s"
        return f"{self.kind}:{self.amount:g}{unit}@{self.percent}%"


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read a list of faults, separated by commas.

    Raises:
        ConfigError: says which one is not understood, and the forms there are.
    """
    return tuple(_parse(word.strip()) for word in text.split(",") if word.strip())


def _parse(word: str) -> Fault:
    match = _FAULT.fullmatch(word)
    if match is None or match["kind"] not in (*_HOST_FAULTS, *_SERVER_FAULTS):
        raise ConfigError(f"FAULTS: {word!r} is not one of {_FORMS}")
    fault = Fault(match["kind"], float(match["amount"]), int(match["percent"]))
    if fault.is_on_hosts == bool(match["unit"]) or (fault.is_on_hosts and not fault.amount.is_integer()):
        raise ConfigError(f"FAULTS: {word!r}: hosts are whole numbers, times end in s: {_FORMS}")
    if fault.percent > 100 or (fault.kind == "slow" and fault.percent == 0):
        raise ConfigError(f"FAULTS: {word!r}: a share lies between 0 % and 100 %, that of a slow link is above 0 %")
    return fault
