"""The inventory as a value: who asks, what he is, and how names, MACs and addresses are written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.cluster import (
    FEDORA,
    Appliance,
    Cluster,
    Host,
    Interface,
    Setting,
    free_attributes,
    intrinsic_attributes,
)
from avalanche.errors import ClusterError, IdentityConflict, UnknownHost
from avalanche.judge import HANDLERS
from avalanche.names import check_host_name, check_label, numbers_of, parse_ip, parse_mac

MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]
ONE = Host("compute-0-0", "compute", 0, 0, (Interface(MACS[0], "10.1.1.10"), Interface("52:54:00:00:01:01", None)))
TWO = Host("compute-3-1", "compute", 3, 1, (Interface(MACS[1], "10.1.1.11"),))
INTRINSIC = intrinsic_attributes(release="el9", distribution="default", frontend="10.1.1.1")


def cluster(*settings: Setting) -> Cluster:
    hosts = {host.name: host for host in (ONE, TWO)}
    return Cluster(1, {"compute": Appliance("compute", "compute-root")}, hosts, settings)


def test_a_host_is_known_by_any_of_its_cards_or_its_address() -> None:
    for macs, address in (
        ([MACS[0]], "10.9.9.9"),
        (["52:54:00:00:01:01"], ""),
        ([], "10.1.1.10"),
        (MACS[:1], "10.1.1.10"),
    ):
        assert cluster().identify(macs, address) is ONE


def test_hints_that_contradict_are_a_conflict() -> None:
    for macs, address in ((MACS, ""), (MACS[:1], "10.1.1.11")):
        with pytest.raises(IdentityConflict, match=r"is compute-0-0, .* is compute-3-1"):
            cluster().identify(macs, address)


def test_an_unknown_host_is_told_how_to_register() -> None:
    line = "no host has MAC 52:54:00:00:00:09, address 10.1.1.99; register it: "
    with pytest.raises(UnknownHost, match=line + "avalanche host add NAME --mac 52:54:00:00:00:09 --ip 10.1.1.99"):
        cluster().identify(["52:54:00:00:00:09"], "10.1.1.99")


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UnknownHost, match=r"'compute-0-1' \(close: .*compute-0-0.*\); add it: avalanche host add"):
        cluster().host("compute-0-1")
    with pytest.raises(ClusterError, match="no appliance is called 'computer'"):
        cluster().appliance("computer")


def test_a_stronger_scope_wins_and_the_weaker_one_is_remembered() -> None:
    owners = {"global": "", "os": "linux", "appliance": "compute", "rack": "3", "host": "compute-3-1"}
    found = cluster(*(Setting(scope, owner, "color", scope) for scope, owner in owners.items()))
    attributes = found.attributes(TWO, INTRINSIC)
    assert attributes["color"] == "host"
    assert [weaker.scope for weaker in attributes.overridden("color")] == ["rack", "appliance", "os", "global"]
    assert found.attributes(ONE, INTRINSIC)["color"] == "appliance"


def test_a_host_knows_itself() -> None:
    found = dict(cluster().attributes(TWO, INTRINSIC))
    assert found == {
        "hostname": "compute-3-1",
        "appliance": "compute",
        "root": "compute-root",
        "mac": MACS[1],
        "os_family": "el",
        "os_major": "9",
        "gateway": "10.1.1.1",
        "nameserver": "10.1.1.1",
        "nameserver_list": "10.1.1.1;",
        "rack": "3",
        "rank": "1",
        "os": "linux",
        "arch": "x86_64",
        "release": "el9",
        "distribution": "default",
        "hostaddr": "10.1.1.11",
        "Kickstart_PrivateKickstartHost": "10.1.1.1",
    }


def test_a_secret_stays_one() -> None:
    setting = Setting("global", "", "root_password", "$6$x", secret=True)
    assert cluster(setting).attributes(ONE, INTRINSIC).attribute("root_password").secret
    assert "$6$x" not in repr(setting)


def test_without_a_database_what_is_given_wins() -> None:
    attributes = free_attributes("compute", "el9", {"hostname": "c", "has_gpu": "1"})
    assert (attributes["root"], attributes["hostname"], attributes["has_gpu"]) == ("compute", "c", "1")


def test_without_a_database_the_defaults_of_a_new_one_hold() -> None:
    attributes = free_attributes("compute", "el9", {"Kickstart_Lang": "de_DE.UTF-8"})
    assert (attributes["Kickstart_Lang"], attributes["Kickstart_Keyboard"]) == ("de_DE.UTF-8", "us")


@pytest.mark.parametrize("text", ["52:54:00:AA:bb:01", "52-54-00-aa-bb-01", " 52:54:00:aa:bb:01\n"])
def test_a_mac_has_one_form(text: str) -> None:
    assert parse_mac(text) == "52:54:00:aa:bb:01"


@pytest.mark.parametrize("text", ["", "52:54:00:aa:bb", "52:54:00:aa:bb:01:02", "52:54:00:aa:bb:0g", "525400aabb01"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="write it like"):
        parse_mac(text)


@pytest.mark.parametrize(
    ("text", "address"), [("10.1.1.1", "10.1.1.1"), ("::ffff:10.1.1.1", "10.1.1.1"), ("FD00::0:1", "fd00::1")]
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert parse_ip(text) == address


@settings(deadline=None)
@given(st.text(max_size=30))
def test_whatever_is_typed_is_accepted_or_refused_by_name(text: str) -> None:
    for check in (parse_ip, parse_mac, check_host_name, lambda text: check_label("node", text)):
        try:
            check(text)  # type: ignore[operator]
        except ClusterError as error:
            assert "\n" not in str(error)
    assert numbers_of(text) >= (0, 0)


@pytest.mark.parametrize("name", ["", "-x", "x-", "a..b", "a b", "a/b", "x" * 64, ".".join(["abcdefgh"] * 30), "é"])
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError):
        check_host_name(name)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("compute-3-14", (3, 14)), ("gpu-x-0-2.cluster.org", (0, 2)), ("login", (0, 0)), ("c-5", (0, 0))],
)
def test_rack_and_rank_are_read_from_names_like_rocks_made_them(name: str, numbers: tuple[int, int]) -> None:
    assert numbers_of(name) == numbers


NETWORK = {"hostaddr": "10.1.255.254", "Kickstart_PrivateKickstartHost": "10.1.1.1"}
DERIVED = ("netmask", "prefix", "private_network", "gateway", "nameserver", "nameserver_list")


@pytest.mark.parametrize(
    ("release", "family", "major"),
    [("el8", "el", "8"), ("el9", "el", "9"), ("el10", "el", "10"), ("fedora", "fedora", "43")],
)
def test_a_release_has_a_family_and_a_number(release: str, family: str, major: str) -> None:
    attributes = free_attributes("compute", release, {})
    assert (attributes["os_family"], attributes["os_major"]) == (family, major)


def test_the_number_of_fedora_is_the_judge_s() -> None:
    assert f"F{FEDORA}" == HANDLERS["fedora"]


@pytest.mark.parametrize(
    "given",
    [
        {"Kickstart_PrivateNetmask": "255.255.0.0"},
        {"Kickstart_PrivateNetmaskCIDR": "16"},
        {"Kickstart_PrivateNetwork": "10.1.0.0/16"},
        {"Kickstart_PrivateNetwork": "10.1.0.0", "Kickstart_PrivateNetmask": "255.255.0.0"},
    ],
)
def test_the_private_network_is_told_in_several_ways(given: dict[str, str]) -> None:
    attributes = free_attributes("compute", "el9", {**NETWORK, **given})
    expected = ["255.255.0.0", "16", "10.1.0.0/16", "10.1.1.1", "10.1.1.1", "10.1.1.1;"]
    assert [attributes[name] for name in DERIVED] == expected


def test_gateway_and_name_servers_may_be_others_than_the_frontend() -> None:
    given = {"Kickstart_PrivateGateway": "10.1.0.1", "Kickstart_PrivateDNSServers": "10.1.1.2, 10.1.1.3"}
    attributes = free_attributes("compute", "el9", {**NETWORK, **given})
    assert [attributes[name] for name in DERIVED[3:]] == ["10.1.0.1", "10.1.1.2,10.1.1.3", "10.1.1.2;10.1.1.3;"]


def test_without_a_mask_there_is_no_network() -> None:
    assert not {"netmask", "prefix", "private_network"} & free_attributes("compute", "el9", NETWORK).keys()


def test_what_is_derived_is_weaker_than_what_is_set() -> None:
    given = {**NETWORK, "Kickstart_PrivateNetmaskCIDR": "16", "gateway": "10.1.9.9", "netmask": "255.0.0.0"}
    attributes = free_attributes("compute", "el9", given)
    assert (attributes["gateway"], attributes["netmask"]) == ("10.1.9.9", "255.0.0.0")


@pytest.mark.parametrize("mask", ["255.0.255.0", "33", "wide"])
def test_a_mask_that_is_none_is_refused_in_one_line(mask: str) -> None:
    with pytest.raises(ClusterError) as refused:
        free_attributes("compute", "el9", {**NETWORK, "Kickstart_PrivateNetmask": mask})
    assert mask in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_host_s_network_comes_from_the_settings_that_reach_it() -> None:
    settings = (
        Setting("global", "", "Kickstart_PrivateNetmask", "255.255.255.0"),
        Setting("rack", "3", "Kickstart_PrivateGateway", "10.1.1.254"),
    )
    there = cluster(*settings)
    one, two = (there.attributes(host, INTRINSIC) for host in (ONE, TWO))
    assert (one["mac"], one["private_network"], one["gateway"]) == (MACS[0], "10.1.1.0/24", "10.1.1.1")
    assert two["gateway"] == "10.1.1.254"


@given(
    st.lists(
        st.builds(
            Setting,
            st.sampled_from(("global", "os", "appliance", "rack", "host")),
            st.sampled_from(("", "linux", "sunos", "compute", "0", "1", "compute-0-0")),
            st.sampled_from(("a", "b")),
            st.text("xy", max_size=2),
        ),
        unique_by=lambda setting: (setting.scope, setting.owner, setting.name),
    )
)
def test_the_strongest_value_is_the_one_a_host_has(settings: list[Setting]) -> None:
    host = Host("compute-0-0", "compute", 0, 0)
    found = Cluster(1, {"compute": Appliance("compute", "compute")}, {host.name: host}, tuple(settings))
    attributes = found.attributes(host, {"distribution": ""})
    for name in ("a", "b", "c"):
        assert found.strongest(host, name) == attributes.get(name)
