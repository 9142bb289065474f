"""Node sets: the same words mean the same hosts everywhere, and nothing takes the machine down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.adapters.nodesets import expand_names, groups_of, select_hosts
from avalanche.cluster import Appliance, Cluster, Host, Interface, Membership
from avalanche.errors import ClusterError, UnknownHost


def make_cluster() -> Cluster:
    hosts = [
        Host(f"compute-{rack}-{rank}", "compute", rack, rank, (), "Compute") for rack in range(4) for rank in range(4)
    ]
    card = Interface("52:54:00:00:00:01", "10.1.1.1")
    hosts.append(Host("nfs-1-0", "nfs", 1, 0, (card,), "NFS Servers", aliases=("home",)))
    return Cluster(
        1,
        {name: Appliance(name, name) for name in ("compute", "nfs", "web")},
        {host.name: host for host in hosts},
        (),
        {"Compute": Membership("Compute", "compute"), "NFS Servers": Membership("NFS Servers", "nfs")},
    )


CLUSTER = make_cluster()


def names(*texts: str) -> set[str]:
    return {host.name for host in select_hosts(CLUSTER, texts)}


RACK1 = {"compute-1-0", "compute-1-1", "compute-1-2", "compute-1-3", "nfs-1-0"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("compute-0-[0-2]", {"compute-0-0", "compute-0-1", "compute-0-2"}),
        ("compute-[0-1]-[2,3]", {"compute-0-2", "compute-0-3", "compute-1-2", "compute-1-3"}),
        ("@rack1", RACK1),
        ("rack1", RACK1),
        ("@compute&@rack1", RACK1 - {"nfs-1-0"}),
        ("@rack1!@compute", {"nfs-1-0"}),
        ("@Compute&@rack2,nfs-1-0", {"compute-2-0", "compute-2-1", "compute-2-2", "compute-2-3", "nfs-1-0"}),
        ("@NFS_Servers", {"nfs-1-0"}),
        ("@all!@compute", {"nfs-1-0"}),
        ("@*!@compute", {"nfs-1-0"}),
        ("compute-3-*", {f"compute-3-{rank}" for rank in range(4)}),
        ("compute-3-%", {f"compute-3-{rank}" for rank in range(4)}),
        ("@compute&@rack[0,3]!*-0", {f"compute-{rack}-{rank}" for rack in (0, 3) for rank in (1, 2, 3)}),
        ("home", {"nfs-1-0"}),
        ("nfs", {"nfs-1-0"}),
        ("10.1.1.1", {"nfs-1-0"}),
        ("52-54-00-00-00-01", {"nfs-1-0"}),
        ("@web", set()),
        ("@rack9", set()),
        ("{{ 7 * 7 }}", set()),
    ],
)
def test_a_set_means_hosts_of_the_inventory(text: str, found: set[str]) -> None:
    assert names(text) == found


def test_a_host_that_several_texts_mean_comes_once() -> None:
    assert [host.name for host in select_hosts(CLUSTER, ["compute-0-1", "compute-0-[0-1]", "compute-0-1"])] == [
        "compute-0-1",
        "compute-0-0",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("compute-0-[0-", "is no node set"),
        ("compute-0-[a-b]", "is no node set"),
        ("compute-0-[0-7]", "no host is called 'compute-0-"),
        ("compute-0-9", r"no host is called 'compute-0-9' \(close: compute-0-"),
        ("@nix", "there is no group @nix; groups are: @Compute, @NFS_Servers, @all"),
        ("@", "there is no group @;"),
        ("@@rack1", "is no node set"),
        ("@foreign:rack1", "is no node set"),
        ("x[0-99999999999]", "stands for 100000000000 hosts; at most 100000"),
        ("x[0-999]-[0-999]", "stands for 1000000 hosts"),
        ("", "no host is called ''"),
        ("'; drop table av_hosts; --", "no host is called"),
        ("$(reboot)", "no host is called"),
    ],
)
def test_what_is_no_set_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ClusterError, match=why) as refused:
        select_hosts(CLUSTER, [text])
    assert "\n" not in str(refused.value)


def test_new_names_come_from_a_set_without_groups() -> None:
    assert expand_names("compute-7-[0-2]") == ["compute-7-0", "compute-7-1", "compute-7-2"]
    assert expand_names("compute-7-[08-10]") == ["compute-7-08", "compute-7-09", "compute-7-10"]
    with pytest.raises(ClusterError, match="a group cannot name hosts that are new"):
        expand_names("@rack1")


GROUPS = st.sampled_from(["@rack0", "@rack1", "@compute", "@nfs", "@all", "compute-[0-3]-1", "nfs-1-0"])


@given(GROUPS, st.lists(st.tuples(st.sampled_from(",&!^"), GROUPS), max_size=4))
def test_a_set_is_what_set_algebra_says_from_left_to_right(first: str, more: list[tuple[str, str]]) -> None:
    expected = set(names(first))
    for operator, text in more:
        right = names(text)
        expected = {",": expected | right, "&": expected & right, "!": expected - right, "^": expected ^ right}[
            operator
        ]
    assert names(first + "".join(operator + text for operator, text in more)) == expected


@given(st.text(alphabet=list("@[]0-9,&!^*?%:;'\"$ abcompute-\\\n\x00"), max_size=30))
def test_whatever_is_typed_names_hosts_or_is_refused(text: str) -> None:
    try:
        assert names(text) <= set(CLUSTER.hosts)
    except UnknownHost as refused:
        assert "no host is called" in str(refused)
    except ClusterError as refused:
        assert "\n" not in str(refused)


def test_the_configuration_of_the_machine_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own groups would be asked for only by a resolver of the library's own making.
    def asked(*_: object) -> None:
        raise AssertionError("the machine's groups were read")

    monkeypatch.setattr("ClusterShell.NodeUtils.GroupResolverConfig._late_init", asked)
    assert names("@rack1") == RACK1
    assert set(groups_of(CLUSTER)) == {
        "all", "compute", "nfs", "web", "Compute", "NFS_Servers", "rack0", "rack1", "rack2", "rack3",
    }  # fmt: skip
