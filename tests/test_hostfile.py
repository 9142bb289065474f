"""Files of hosts: CSV and YAML say the same, errors name their line, and an import repeated changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.cluster import Appliance, Cluster, Host, Interface, Membership
from avalanche.errors import DefinitionError
from avalanche.hostfile import Entry, HostFileError, Plan, parse_hosts, plan_import
from avalanche.network import Network, parse_addresses

PAGE = (Path(__file__).parents[1] / "docs" / "database.md").read_text()
CLUSTER = Cluster(
    1,
    {"compute": Appliance("compute", "compute")},
    {},
    (),
    {"Compute": Membership("Compute", "compute")},
    {
        name: Network(name, parse_addresses(subnet))
        for name, subnet in (("private", "10.1.0.0/16"), ("ib", "10.2.0.0/16"))
    },
)


def with_hosts(*hosts: Host) -> Cluster:
    return Cluster(
        1, CLUSTER.appliances, {host.name: host for host in hosts}, (), CLUSTER.memberships, CLUSTER.networks
    )


def example(kind: str) -> bytes:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1].encode()


def plan(data: bytes | str, file: str = "hosts.csv", cluster: Cluster = CLUSTER) -> Plan:
    data = data.encode() if isinstance(data, str) else data
    return plan_import(cluster, parse_hosts(data, file=file), file=file)


def test_the_examples_of_the_documentation_are_read() -> None:
    first, second = plan(example("csv")).added
    assert first.interfaces == (
        Interface("52:54:00:00:00:01", "10.1.255.254", "eno1", "private"),
        Interface(None, "10.2.255.254", "ib0", "ib"),
    )
    assert (first.comment, second.rank) == ("first, of many", 1)
    same, other = plan(example("yaml"), "hosts.yaml").added
    assert (same.interfaces, same.aliases) == (first.interfaces, ("c0",))
    assert (other.mac, other.address) == (second.mac, second.address)


def test_an_import_that_is_repeated_changes_nothing() -> None:
    for kind in ("csv", "yaml"):
        first = plan(example(kind), f"hosts.{kind}")
        again = plan(example(kind), f"hosts.{kind}", with_hosts(*first.added))
        assert (again.added, again.changed, again.same) == ((), (), 2)


def test_hosts_may_exchange_their_addresses() -> None:
    one, two = plan("host,ip\na,10.1.0.1\nb,10.1.0.2\n").added
    changed = plan("host,ip\na,10.1.0.2\nb,10.1.0.1\n", cluster=with_hosts(one, two)).changed
    assert [after.address for _, after in changed] == ["10.1.0.2", "10.1.0.1"]


ENO1 = Interface("52:54:00:00:00:01", "10.1.0.1", "eno1", "private", module="e1000e")
IB0 = Interface(None, "10.2.0.1", "ib0", "ib")


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("mac,ip\na,52:54:00:00:00:01,10.1.0.9\n", (replace(ENO1, ip="10.1.0.9"), IB0)),
        ("device,mac\na,eno1,52:54:00:00:00:09\n", (replace(ENO1, mac="52:54:00:00:00:09"), IB0)),
        ("ip,mac\na,10.2.0.1,52:54:00:00:00:09\n", (ENO1, replace(IB0, mac="52:54:00:00:00:09"))),
        ("ip\na,10.1.0.9\n", (replace(ENO1, ip="10.1.0.9"), IB0)),
        ("ip,network\na,10.2.0.9,ib\n", (ENO1, replace(IB0, ip="10.2.0.9"))),
        ("device,ip\na,ib0,10.2.0.9\na,eno2,10.1.0.2\n",
         (ENO1, replace(IB0, ip="10.2.0.9"), Interface(None, "10.1.0.2", "eno2"))),
        ("mac\na,52:54:00:00:00:09\n", (ENO1, IB0, Interface("52:54:00:00:00:09"))),
    ],
)  # fmt: skip
def test_a_card_keeps_what_a_file_leaves_out_and_cards_that_it_does_not_name_stay(
    text: str, cards: tuple[Interface, ...]
) -> None:
    before = with_hosts(Host("a", "compute", 0, 0, (ENO1, IB0), membership="Compute"))
    (_, after), = plan(f"host,{text}", cluster=before).changed  # fmt: skip
    assert after.interfaces == cards
    assert plan(f"host,{text}", cluster=with_hosts(after)).same == 1


def test_a_list_of_no_cards_takes_them_all_away() -> None:
    before = with_hosts(Host("a", "compute", 0, 0, (ENO1, IB0), membership="Compute"))
    (_, after), = plan("hosts: {a: {interfaces: []}}\n", "hosts.yaml", before).changed  # fmt: skip
    assert after.interfaces == ()


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", None, "empty; write hosts:"),
        ("- a\n", 1, "the file is no mapping"),
        ("host: {}\n", 1, "unknown key 'host'; did you mean 'hosts'?"),
        ("hosts:\n  a: {rack: 1}\n  a: {rack: 2}\n", 3, "'a' stands on line 2 already"),
        ("hosts:\n  a:\n    rack: one\n", 3, "rack 'one' is not a number"),
        ("hosts:\n  a:\n    interfaces:\n      - {mac: nonsense}\n", 4, "'nonsense' is not a MAC"),
        ("hosts:\n  a:\n    interfaces: {mac: x}\n", 3, "interfaces of a is no list"),
        ("hosts:\n  a:\n    mac: 52:54:00:00:00:01\n    interfaces: []\n", 4, "interfaces stand in the list"),
        ("hosts:\n  a: {comment: [1]}\n", 2, "expected one value here"),
        ("hosts:\n  a: {<<: {rack: 1}}\n", 2, "unknown key '<<'"),
        ("hosts:\n  a: &x {rack: 1}\n  b: *x\n", 3, "references"),
        ("hosts:\n  a: {rack: 1\n", 3, "not YAML"),
        ("hosts:\n  a: !!python/object/apply:os.system [reboot]\n", 2, "a is no mapping"),
        ("hosts:\n  a.b: {}\n", 2, "it has a dot"),
        ("hosts: " + "[" * 600, 1, "nested too deeply"),
    ],
)
def test_what_is_wrong_in_yaml_names_its_line(text: str, line: int | None, why: str) -> None:
    with pytest.raises(HostFileError, match=why) as refused:
        plan(text, "hosts.yaml")
    assert line is None or refused.value.line == line
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=300), st.sampled_from(["hosts.csv", "hosts.yaml"]))
def test_whatever_a_file_holds_is_hosts_or_one_line(data: bytes, file: str) -> None:
    try:
        entries = parse_hosts(data, file=file)
    except DefinitionError as refused:
        assert str(refused).startswith(f"{file}:")
        assert "\n" not in str(refused)
    else:
        assert all(isinstance(entry, Entry) for entry in entries)
