"""Groups of hosts as ClusterShell reads them: sources, each with groups, each with its hosts.

The source ``avalanche`` has what commands of ours take too: ``all``, ``rack0``, an appliance, a membership with ``_``
for its spaces; what is called the same is one group. ``rack``, ``appliance`` and ``membership`` are sources of their
own, where nothing is mixed: ``@membership:Compute``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from avalanche.roster import Entry, Roster

Groups = dict[str, str]


class Grouped(Protocol):
    """What decides about a host's groups."""

    @property
    def rack(self) -> int: ...
    @property
    def appliance(self) -> str: ...
    @property
    def membership(self) -> str: ...


def group_names(host: Grouped) -> tuple[str, ...]:
    """Name the groups of a host, apart from ``all``: each once, for one may be called what another is."""
    names = (f"rack{host.rack}", host.appliance, membership_group(host.membership))
    return tuple(dict.fromkeys(name for name in names if name))


def membership_group(membership: str) -> str:
    """Write a membership's name as a group's, which has no spaces."""
    return membership.replace(" ", "_")


def host_groups(roster: Roster) -> dict[str, Groups]:
    """Group the hosts; a group's hosts are separated by commas."""
    hosts = roster.hosts
    racks = [(str(host.rack), host) for host in hosts]
    appliances = [(host.appliance, host) for host in hosts]
    memberships = [(membership_group(host.membership), host) for host in hosts if host.membership]
    short = [(name, host) for host in hosts for name in ("all", *group_names(host))]
    sources = {"avalanche": short, "rack": racks, "appliance": appliances, "membership": memberships}
    return {source: _grouped(pairs) for source, pairs in sources.items()}


def _grouped(pairs: Iterable[tuple[str, Entry]]) -> Groups:
    found: dict[str, dict[str, None]] = {}
    for group, host in pairs:
        found.setdefault(group, {})[host.name] = None
    return {group: ",".join(found[group]) for group in sorted(found)}
