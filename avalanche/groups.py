"""Groups of hosts as ClusterShell reads them: sources, each with groups, each with its hosts.

The source ``avalanche`` has everything under short names: ``all``, ``rack0``, an appliance, a membership; when two of
them are called the same, the earlier in this list has the name. ``rack``, ``appliance`` and ``membership`` are sources
of their own, where nothing is in anything's way: ``@membership:Compute``.
"""

from __future__ import annotations

from collections.abc import Iterable

from avalanche.errors import ClusterError
from avalanche.roster import Entry, Roster

Groups = dict[str, str]


def host_groups(roster: Roster) -> dict[str, Groups]:
    """Group the hosts; a group's hosts are separated by commas.

    Raises:
        ClusterError: two memberships would be one group.
    """
    racks = _grouped((str(host.rack), host) for host in roster.hosts)
    appliances = _grouped((host.appliance, host) for host in roster.hosts)
    memberships = _memberships(roster)
    everything = {"all": ",".join(host.name for host in roster.hosts)} if roster.hosts else {}
    short = {**memberships, **appliances, **{f"rack{rack}": hosts for rack, hosts in racks.items()}, **everything}
    found = {"avalanche": short, "rack": racks, "appliance": appliances, "membership": memberships}
    return {source: dict(sorted(groups.items())) for source, groups in found.items()}


def _memberships(roster: Roster) -> Groups:
    titles = sorted({host.membership for host in roster.hosts if host.membership})
    names = {title: title.replace(" ", "_") for title in titles}  # ClusterShell's names have no blanks
    for title, name in names.items():
        if title != name and name in titles:
            raise ClusterError(f"memberships {title!r} and {name!r} are one group for ClusterShell; rename one")
    return _grouped((names[host.membership], host) for host in roster.hosts if host.membership)


def _grouped(pairs: Iterable[tuple[str, Entry]]) -> Groups:
    found: dict[str, list[str]] = {}
    for name, host in pairs:
        found.setdefault(name, []).append(host.name)
    return {name: ",".join(hosts) for name, hosts in found.items()}
