"""The next snapshot of an inventory, made of the one before and of what changed.

It costs what changed, and a copy of a few dictionaries, however many hosts there are; and it equals the snapshot that
reading everything would give.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avalanche.cluster import Cluster, Host, Setting

Owner = tuple[str, str]
"""Whose attributes: scope, and who it is there."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is new in an inventory.

    Attributes:
        hosts: those that were added or changed, as they are now.
        gone: the names that no host has any more.
        settings: all attributes of ``owners``, the only ones whose attributes may have changed.
        kinds: everything but hosts and attributes, where that changed: fields of ``Cluster``.
    """

    revision: int
    hosts: Mapping[str, Host]
    gone: Collection[str]
    settings: Sequence[Setting]
    owners: Collection[Owner]
    kinds: Mapping[str, Any]


def renewed(before: Cluster, news: Renewal) -> Cluster:
    """Return the inventory as it is after what is new."""
    names = [*news.gone, *news.hosts]
    old = [before.hosts[name] for name in names if name in before.hosts]
    settings = _settings(before.settings, news)
    found = replace(before, revision=news.revision, hosts=_hosts(before.hosts, news), settings=settings, **news.kinds)
    # What tells hosts apart, and whose attributes are whose, is renewed too: making it anew costs more than the rest.
    new = news.hosts.values()
    found.__dict__["_by_alias"] = _index(before._by_alias, _aliases(old), _aliases(new))
    found.__dict__["_by_mac"] = _index(before._by_mac, _cards(old, "mac"), _cards(new, "mac"))
    found.__dict__["_by_ip"] = _index(before._by_ip, _cards(old, "ip"), _cards(new, "ip"))
    own: dict[Owner, list[Setting]] = {}
    for setting in news.settings:
        own.setdefault((setting.scope, setting.owner), []).append(setting)
    found.__dict__["_settings"] = _index(before._settings, dict.fromkeys(news.owners), own)
    return found


def _hosts(before: Mapping[str, Host], news: Renewal) -> dict[str, Host]:
    found = dict(before)
    for name in news.gone:
        found.pop(name, None)
    stays = all(name in before and _place(before[name]) == _place(host) for name, host in news.hosts.items())
    found.update(news.hosts)
    return found if stays else {host.name: host for host in sorted(found.values(), key=_place)}


def _place(host: Host) -> tuple[int, int, str]:
    return host.rack, host.rank, host.name


def _settings(before: tuple[Setting, ...], news: Renewal) -> tuple[Setting, ...]:
    found = list(before)
    for owner in news.owners:
        low, high = bisect_left(found, owner, key=_owner), bisect_right(found, owner, key=_owner)
        mine = [setting for setting in news.settings if _owner(setting) == owner] if news.settings else []
        if mine or low < high:
            found[low:high] = sorted(mine, key=lambda setting: setting.name)
    return tuple(found)


def _owner(setting: Setting) -> Owner:
    return setting.scope, setting.owner


def _aliases(hosts: Collection[Host]) -> dict[str, str]:
    return {alias: host.name for host in hosts for alias in host.aliases}


def _cards(hosts: Collection[Host], field: str) -> dict[str, str]:
    return {getattr(card, field): host.name for host in hosts for card in host.interfaces if getattr(card, field)}


def _index(before: Mapping[Any, Any], old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    found = dict(before)
    for key in old:
        found.pop(key, None)
    found.update(new)
    return found
