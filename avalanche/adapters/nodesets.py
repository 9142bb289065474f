"""ClusterShell's node sets: ``compute-0-[0-31]``, ``@rack1``, ``@compute&@rack2``; groups come from the inventory.

What a machine has configured for ClusterShell itself (``/etc/clustershell``) has no say: the same words mean the same
hosts everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.NodeUtils import GroupResolver, GroupResolverError, GroupSource, GroupSourceError

from avalanche.cluster import Cluster, Host
from avalanche.errors import ClusterError, UnknownHost
from avalanche.groups import group_names, membership_group

MAX_NAMES = 100_000
"""The most names that one node set may stand for."""

_RANGES = re.compile(r"\[([0-9,/-]*)\]")
_RACK = re.compile(r"rack[0-9]+")
_OPERATORS = set("[]@,!&^*?% \t\n")


def expand_names(text: str) -> list[str]:
    """Return the names that a set without groups stands for; they need not exist.

    Raises:
        ClusterError: it is no node set, or too large.
    """
    if "@" in text:
        raise ClusterError(f"{text!r}: a group cannot name hosts that are new")
    _check_size(text)
    try:
        return [str(name) for name in NodeSet(text, resolver=RESOLVER_NOGROUP)]
    except NodeSetException as error:
        raise _wrong(text, error) from None


def select_hosts(cluster: Cluster, texts: Sequence[str]) -> list[Host]:
    """Return the hosts that texts mean, each once: names, aliases, MACs, addresses, ``rackN``, appliances, node sets.

    They come in the order of the texts, and those of one text in that of the inventory: rack by rack.

    Raises:
        UnknownHost: a name is nobody's; names the closest ones.
        ClusterError: a text is no node set, is too large, or names a group there is not.
    """
    found: dict[str, Host] = {}
    for text in texts:
        for host in _select(cluster, text):
            found[host.name] = host
    return list(found.values())


def groups_of(cluster: Cluster) -> dict[str, list[str]]:
    """The groups that sets may name, and their hosts: ``all``, ``rackN``, appliances, memberships.

    A space in a membership's name is written ``_``. Where an appliance and a membership share a name, so do their
    hosts: the group is both.
    """
    found: dict[str, list[str]] = {"all": list(cluster.hosts)}
    for appliance in cluster.appliances:
        found.setdefault(appliance, [])
    for membership in cluster.memberships:
        found.setdefault(membership_group(membership), [])
    for host in cluster.hosts.values():
        for group in group_names(host):
            found.setdefault(group, []).append(host.name)
    return found


class _Inventory(GroupSource):  # type: ignore[misc]
    """Answers ClusterShell's questions about groups."""

    def __init__(self, groups: Callable[[], dict[str, list[str]]]) -> None:
        super().__init__("avalanche")
        self._groups = groups

    def resolv_map(self, group: str) -> str:
        groups = self._groups()
        if group not in groups:
            if _RACK.fullmatch(group):
                return ""
            close = ", ".join(f"@{name}" for name in sorted(groups))
            raise ClusterError(f"there is no group @{group}; groups are: {close}")
        return ",".join(groups[group])

    def resolv_list(self) -> list[str]:
        return sorted(self._groups())

    def resolv_all(self) -> str:
        return ",".join(self._groups()["all"])

    def resolv_reverse(self, node: str) -> list[str]:
        return [group for group, hosts in self._groups().items() if node in hosts]


def _select(cluster: Cluster, text: str) -> Iterable[Host]:
    if not _OPERATORS & set(text):
        try:
            return [cluster.find(text)]
        except UnknownHost:
            if not _RACK.fullmatch(text) and text not in cluster.appliances:
                raise
            text = f"@{text}"
    _check_size(text)
    known: dict[str, list[str]] = {}

    def groups() -> dict[str, list[str]]:
        if not known:
            known.update(groups_of(cluster))
        return known

    try:
        # SQL's pattern, which Rocks' commands took, is the shell's with another sign.
        names = NodeSet(text.replace("%", "*"), resolver=GroupResolver(_Inventory(groups), illegal_chars=set("@,!&^*")))
        hosts = [cluster.find(str(name)) for name in names]
        return sorted(hosts, key=lambda host: (host.rack, host.rank, host.name))
    except (NodeSetException, GroupResolverError, GroupSourceError) as error:
        raise _wrong(text, error) from None


def _check_size(text: str) -> None:
    """ClusterShell writes every number of a range down, however many there are."""
    for piece in text.split(","):
        if len(piece) > MAX_NAMES:
            raise ClusterError(f"{text[:40]!r}...: too long for a node set")
    size = 1
    for ranges in _RANGES.findall(text):
        width = 0
        for part in ranges.split(","):
            first, _, last = part.partition("/")[0].partition("-")
            if first.isdigit() and (last.isdigit() or not last):
                width += abs(int(last or first) - int(first)) + 1
        size *= max(width, 1)
    if size > MAX_NAMES:
        raise ClusterError(f"{text[:80]!r} stands for {size} hosts; at most {MAX_NAMES} are allowed")


def _wrong(text: str, error: Exception) -> ClusterError:
    reason = " ".join(str(error).split())
    return ClusterError(f"{text[:80]!r} is no node set: {reason}; write one like compute-0-[0-31] or @rack1&@compute")
