"""A snapshot that is renewed equals one that is read anew, with all that finds a host in it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from avalanche.cluster import Appliance, Cluster, Host, Interface, Setting
from avalanche.renewal import Renewal, renewed

NAMES = ("a", "b", "c", "d")
Content = tuple[dict[str, Host], dict[tuple[str, str, str], Setting]]


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Hosts whose cards and aliases wander from one to another, and attributes."""
    names = draw(st.sets(st.sampled_from(NAMES)))
    cards = draw(st.permutations(range(4)))
    hosts = {}
    for name, number in zip(sorted(names), cards, strict=False):
        rack, rank = draw(st.integers(0, 1)), draw(st.integers(0, 1))
        card = Interface(f"52:54:00:00:00:0{number}", f"10.1.1.{number}") if draw(st.booleans()) else None
        aliases = (f"alias{number}",) if draw(st.booleans()) else ()
        hosts[name] = Host(name, "compute", rack, rank, (card,) if card else (), aliases=aliases)
    settings = {}
    for scope, owner in draw(st.sets(st.sampled_from([("global", ""), ("rack", "1"), *(("host", n) for n in NAMES)]))):
        for name in draw(st.sets(st.sampled_from(("x", "y")), min_size=1)):
            settings[scope, owner, name] = Setting(scope, owner, name, draw(st.sampled_from(("1", "2"))))
    return hosts, settings


def whole(revision: int, content: Content) -> Cluster:
    hosts, settings = content
    placed = sorted(hosts.values(), key=lambda host: (host.rack, host.rank, host.name))
    return Cluster(
        revision,
        {"compute": Appliance("compute", "compute")},
        {host.name: host for host in placed},
        tuple(settings[key] for key in sorted(settings)),
    )


def indexes(cluster: Cluster) -> list[object]:
    return [cluster._by_alias, cluster._by_mac, cluster._by_ip, {k: v for k, v in cluster._settings.items() if v}]


@given(before=contents(), after=contents(), used=st.booleans())
def test_what_is_renewed_is_what_would_be_read(before: Content, after: Content, used: bool) -> None:
    old, new = whole(1, before), whole(2, after)
    if used:
        indexes(old)
    hosts = {name: host for name, host in new.hosts.items() if old.hosts.get(name) != host}
    changed = dict(before[1].items() ^ after[1].items())
    owners = {(scope, owner) for scope, owner, _ in changed}
    settings = [setting for setting in new.settings if (setting.scope, setting.owner) in owners]
    found = renewed(old, Renewal(2, hosts, old.hosts.keys() - new.hosts.keys(), settings, owners, {}))
    assert found == new
    assert list(found.hosts) == list(new.hosts)
    assert indexes(found) == indexes(new)
    assert old == whole(1, before)
    assert indexes(old) == indexes(whole(1, before))


def test_kinds_are_replaced_as_a_whole() -> None:
    old = whole(1, ({}, {}))
    kinds = {"appliances": {"login": Appliance("login", "login")}}
    assert renewed(old, Renewal(2, {}, (), (), (), kinds)) == replace(old, revision=2, **kinds)
