"""When a run of insert-ethers has done what it was asked for, and what it failed to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from avalanche.ethers import Ethers


@dataclass(frozen=True)
class Until:
    """When a session ends by itself: ``stage`` is registered, kickstart or done; None: never."""

    stage: str | None = None
    seconds: float | None = None


class Goal:
    """What a run is to reach.

    Args:
        listed: the MACs of a list, all of which are to be registered.
    """

    def __init__(self, until: Until, ethers: Ethers, listed: Iterable[str]) -> None:
        self._stage = until.stage
        self._ethers = ethers
        self._open = set(listed)
        self._has_list = bool(self._open)
        self._refused: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Goal {self._stage}, {len(self._open)} open, {len(self._refused)} refused>"

    def registered(self, mac: str) -> None:
        """A machine is a host, or need not become one."""
        self._open.discard(mac)
        self._refused.pop(mac, None)

    def refused(self, mac: str, why: str) -> None:
        """A machine cannot become a host."""
        self._open.discard(mac)
        self._refused[mac] = why

    @property
    def is_bounded(self) -> bool:
        """Whether it can be reached at all: some stage, of a number of machines or of a list."""
        return self._stage is not None and (self._has_list or self._ethers.policy.count is not None)

    @property
    def is_reached(self) -> bool:
        """Whether everybody who is waited for is so far."""
        ethers = self._ethers
        if self._stage is None or self._open:
            return False
        if not self._has_list and not ethers.is_full:
            return False
        if self._stage == "kickstart":
            return not ethers.missing
        if self._stage == "done":
            return all(host.order is None or host.stage == "done" for host in ethers.hosts.values())
        return True

    @property
    def lacking(self) -> str:
        """What is missing, for a person."""
        wanted, hosts = self._ethers.policy.count, self._ethers.hosts
        if wanted is not None and len(hosts) < wanted:
            return f"{len(hosts)} of {wanted} hosts came"
        if self._open:
            return f"{len(self._open)} machines of the list are not registered"
        late = [host.name for host in hosts.values() if host.order and host.stage != "done"]
        return f"not yet {self._stage}: {', '.join(late[:5])}"

    @property
    def has_refusals(self) -> bool:
        """Whether a machine of a list was refused."""
        return self._has_list and bool(self._refused)

    def failures(self) -> list[str]:
        """Who of a list is no host, and whose install failed: one line each."""
        refused = self._refused.items() if self._has_list else ()
        lines = [f"{mac}: {why}" for mac, why in refused if not self._ethers.knows(mac)]
        if self._stage == "done":
            hosts = self._ethers.hosts.values()
            lines += [f"{host.name}: {host.why}" for host in hosts if (host.outcome, host.stage) == ("failed", "done")]
        return lines
