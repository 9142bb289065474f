"""Groups of hosts as ClusterShell reads them: sources, each with groups, each with its hosts.

The source ``avalanche`` has what commands of ours take too: ``all``, ``rack0``, an appliance, a membership with ``_``
for its spaces; what is called the same is one group. ``rack``, ``appliance`` and ``membership`` are sources of their
own, where nothing is mixed: ``@membership:Compute``.
"""

from __future__ import annotations

from collections.abc import Iterable

from avalanche.roster import Entry, Roster

Groups = dict[str, str]


def host_groups(roster: Roster) -> dict[str, Groups]:
    """Group the hosts; a group's hosts are separated by commas."""
    hosts = roster.hosts
    racks = [(str(host.rack), host) for host in hosts]
    appliances = [(host.appliance, host) for host in hosts]
    memberships = [(host.membership.replace(" ", "_"), host) for host in hosts if host.membership]
    everything = [("all", host) for host in hosts]
    short = [*everything, *((f"rack{rack}", host) for rack, host in racks), *appliances, *memberships]
    sources = {"avalanche": short, "rack": racks, "appliance": appliances, "membership": memberships}
    return {source: _grouped(pairs) for source, pairs in sources.items()}


def _grouped(pairs: Iterable[tuple[str, Entry]]) -> Groups:
    found: dict[str, dict[str, None]] = {}
    for group, host in pairs:
        found.setdefault(group, {})[host.name] = None
    return {group: ",".join(found[group]) for group in sorted(found)}
