"""The roster has what the inventory says, and refuses what no service's file can carry."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.cluster import Appliance, Cluster, Host, Interface, Setting
from avalanche.config import DhcpConfig
from avalanche.errors import ClusterError
from avalanche.network import Network
from avalanche.roster import Card, Entry, Rosters, roster_of
from tests.rosters import entry, roster

MAC = "52:54:00:00:00:01"
NETWORK = Network("private", ipaddress.ip_network("10.1.0.0/16"), "local")


def cluster(*settings: Setting, interfaces: tuple[Interface, ...] = (Interface(MAC, "10.1.0.9"),)) -> Cluster:
    host = Host("compute-0-0", "compute", 0, 0, interfaces)
    networks = {"private": NETWORK, "wide": Network("wide", ipaddress.ip_network("10.0.0.0/8"))}
    return Cluster(1, {"compute": Appliance("compute", "compute")}, {host.name: host}, settings, networks=networks)


def test_a_card_without_a_network_is_in_the_smallest_that_has_its_address() -> None:
    (host,) = roster_of(cluster(), DhcpConfig()).hosts
    assert host.cards[0].segment == "private"


def test_only_networks_that_are_declared_have_dhcp() -> None:
    assert [one.name for one in roster_of(cluster(), DhcpConfig()).served] == ["private"]
    assert not roster_of(cluster(), DhcpConfig(networks=("other",))).reservations


def test_any_card_of_a_host_gets_its_address() -> None:
    loose, wide = Interface("52:54:00:00:00:02"), Interface("52:54:00:00:00:03", network="wide")
    infiniband = Interface("80:00:00:48:fe:80" + ":00" * 14)
    found = roster_of(cluster(interfaces=(Interface(MAC, "10.1.0.9"), loose, wide, infiniband)), DhcpConfig())
    (one,) = found.reservations
    assert (one.ip, one.macs) == ("10.1.0.9", (MAC, "52:54:00:00:00:02"))


def test_a_gateway_is_told_in_its_own_network() -> None:
    gateway = Setting("global", "", "Kickstart_PrivateGateway", "10.1.1.1")
    servers = Setting("global", "", "Kickstart_PrivateDNSServers", "10.1.1.1, 10.2.2.2")
    found = roster_of(cluster(gateway, servers), DhcpConfig()).by_name
    assert found["private"].routers == ("10.1.1.1",)
    assert found["private"].servers == ("10.1.1.1", "10.2.2.2")


def test_attributes_say_what_a_host_boots() -> None:
    settings = (
        Setting("appliance", "compute", "dhcp_filename", "grub.efi"),
        Setting("host", "compute-0-0", "dhcp_nextserver", "10.1.1.7"),
    )
    (host,) = roster_of(cluster(*settings), DhcpConfig()).hosts
    assert (host.boots, host.filename, host.next_server) == (True, "grub.efi", "10.1.1.7")
    (host,) = roster_of(cluster(Setting("rack", "0", "kickstartable", "False")), DhcpConfig()).hosts
    assert not host.boots


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("dhcp_filename", 'x"; } evil', "attribute dhcp_filename"),
        ("dhcp_filename", "a,b", "attribute dhcp_filename"),
        ("dhcp_filename", "x\n", "attribute dhcp_filename"),
        ("dhcp_nextserver", "head", "attribute dhcp_nextserver 'head' is not an IPv4 address"),
        ("Kickstart_PrivateGateway", "10.1.1.1;", "attribute Kickstart_PrivateGateway"),
        ("Kickstart_PrivateDNSServers", "10.1.1.1 ::1", "attribute Kickstart_PrivateDNSServers"),
    ],
)
def test_a_value_that_would_break_out_is_one_clear_line(name: str, value: str, why: str) -> None:
    with pytest.raises(ClusterError) as caught:
        roster_of(cluster(Setting("global", "", name, value)), DhcpConfig())
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"avalanche attr set {name}" in str(caught.value)


@pytest.mark.parametrize(
    "pool", ["10.9.0.1-10.9.0.2", "10.1.255.1-10.2.0.1", "10.0.255.255-10.1.0.1", "11.0.0.1-11.0.0.2"]
)
def test_a_pool_outside_of_the_network_is_refused(pool: str) -> None:
    with pytest.raises(ClusterError, match=r"dhcp.pools: .* is not within"):
        roster_of(cluster(), DhcpConfig(pools=(pool,)))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a b"},
        {"name": "a\nb"},
        {"name": "ok", "mac": "52:54:00:00:00:0X"},
        {"name": "ok", "mac": "52:54:00:00:00:0A"},
        {"name": "ok", "ip": "10.1.1.1 evil"},
        {"name": "ok", "ip": "fe80::1%eth0\nevil"},
        {"name": "ok", "ip": "010.1.1.1"},
    ],
)
def test_a_card_that_no_file_can_carry_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ClusterError):
        Card(**fields)


hostile = st.text(max_size=40)


@given(
    name=hostile, appliance=hostile, membership=hostile, alias=hostile, filename=hostile, server=hostile, key=hostile
)
def test_whatever_an_entry_takes_is_one_word_of_every_format(**values: str) -> None:
    # Each field alone, so that one which is refused hides no other.
    for field, value in values.items():
        fields: dict[str, Any] = {"name": "ok", "appliance": "ok", "rack": 0, "rank": 0}
        fields |= {
            "alias": {"aliases": (value,)},
            "key": {"keys": (f"ssh-rsa {value}",)},
            "server": {"next_server": value},
        }.get(field, {field: value})
        try:
            Entry(**fields)
        except ClusterError as error:
            assert "\n" not in str(error)
        else:
            assert value == "" or value.isprintable()
            assert not set(value) & set("\"'\\,;{}#\n\t$`|<>()[]*")
            assert field == "membership" or " " not in value


def test_hosts_that_boot_the_same_share_a_tag() -> None:
    first, second, other = (entry(n, filename=name) for n, name in enumerate(("a", "a", "b")))
    assert first.tag == second.tag != other.tag
    assert len(roster(first, second, other).own_boots) == 2


@st.composite
def changes(draw: st.DrawFn) -> list[Cluster]:
    """An inventory, and what becomes of it step by step."""
    now, found = cluster(), []
    for revision in range(2, 2 + draw(st.integers(1, 6))):
        what = draw(st.sampled_from(("host", "gone", "settings", "networks", "nothing")))
        rank = draw(st.integers(0, 2))
        name = f"compute-0-{rank}"
        hosts, networks, settings = dict(now.hosts), dict(now.networks), list(now.settings)
        if what == "host":
            card = Interface(f"52:54:00:00:00:0{rank}", f"10.{draw(st.integers(1, 2))}.0.{rank}")
            hosts[name] = Host(name, "compute", 0, rank, (card,), aliases=draw(st.sampled_from(((), (f"c{rank}",)))))
        elif what == "gone":
            hosts.pop(name, None)
        elif what == "settings":
            scope, owner = draw(st.sampled_from((("global", ""), ("appliance", "compute"), ("host", name))))
            value = draw(st.sampled_from(("a.efi", "b.efi")))
            kind = draw(st.sampled_from(("dhcp_filename", "color")))
            settings = [one for one in settings if (one.scope, one.owner, one.name) != (scope, owner, kind)]
            settings.append(Setting(scope, owner, kind, value))
        elif what == "networks":
            networks = {"wide": networks["wide"], **({} if "private" in networks else {"private": NETWORK})}
        now = Cluster(revision, now.appliances, hosts, tuple(settings), networks=networks)
        found.append(now)
    return found


@given(changes())
def test_a_roster_made_of_what_changed_is_the_one_that_is_made_anew(steps: list[Cluster]) -> None:
    rosters = Rosters(DhcpConfig())
    for step in steps:
        assert rosters.of(step) == roster_of(step, DhcpConfig())


def test_of_a_host_that_stays_nothing_is_made_again() -> None:
    rosters = Rosters(DhcpConfig())
    before = cluster()
    other = Host("compute-0-1", "compute", 0, 1, (Interface("52:54:00:00:00:02", "10.1.0.8"),))
    after = replace(before, revision=2, hosts={**before.hosts, other.name: other})
    (first,) = rosters.of(before).hosts
    assert rosters.of(after).hosts[0] is first
    # But its boot file comes from elsewhere.
    set_for_all = Setting("appliance", "compute", "dhcp_filename", "grub.efi")
    assert rosters.of(replace(after, revision=3, settings=(set_for_all,))).hosts[0].filename == "grub.efi"
