"""appliance, membership, network, roll, dist: what hosts can be; attr: what they have, and why; on both engines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from avalanche.adapters.state import State
from tests.frontend.rig import avalanche, make_roll, run

pytestmark = pytest.mark.usefixtures("engine_state")


def facts(*arguments: object) -> Any:
    return json.loads(avalanche(*arguments, "--json"))


def test_an_appliance_is_changed_and_its_attributes_go_with_its_name() -> None:
    avalanche("appliance", "add", "login", "--root", "compute", "--membership", "Login Nodes")
    avalanche("attr", "set", "color", "red", "--appliance", "login")
    avalanche("host", "add", "login-0-0", "--membership", "Login Nodes")
    avalanche("appliance", "set", "login", "--name", "front", "--os", "sunos")
    assert facts("appliance", "show", "front")["memberships"] == ["Login Nodes"]
    assert facts("host", "show", "login-0-0")["appliance"] == "front"
    assert facts("attr", "show", "color", "--host", "login-0-0")["scope"] == "appliance"
    assert "1 hosts are of it" in run("appliance", "remove", "front").err
    avalanche("host", "remove", "login-0-0")
    avalanche("appliance", "remove", "front")
    assert [row["membership"] for row in facts("membership", "list")] == ["Compute"]
    assert not any(row["name"] == "color" for row in facts("attr", "list"))


def test_a_membership_says_what_its_hosts_install() -> None:
    avalanche("dist", "add", "testing", "--os-release", "9.7")
    avalanche(
        "membership", "add", "Test Nodes", "--appliance", "compute", "--distribution", "testing", "--public", "no"
    )
    avalanche("host", "add", "compute-0-[0-1]", "--membership", "Test Nodes")
    assert facts("attr", "show", "distribution", "--host", "compute-0-0")["value"] == "testing"
    assert "1 memberships name it" in run("dist", "forget", "testing").err
    avalanche("membership", "set", "Test Nodes", "--distribution", "", "--name", "Tests", "--compute", "yes")
    assert facts("attr", "show", "distribution", "--host", "compute-0-0")["value"] == "default"
    shown = facts("membership", "show", "Tests")
    assert shown == {
        "membership": "Tests", "appliance": "compute", "distribution": None, "public": False, "compute": True,
        "hosts": 2,
    }  # fmt: skip
    assert "2 hosts have it" in run("membership", "remove", "Tests").err
    avalanche("host", "set", "@Tests", "--membership", "Compute")
    avalanche("membership", "remove", "Tests")
    avalanche("dist", "forget", "testing")
    assert facts("audit", "testing")[-1]["action"] == "dist forget"


def test_a_network_is_changed_as_long_as_its_hosts_stay_inside() -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0", "--netmask", "255.255.0.0", "--zone", "local")
    avalanche("host", "add", "compute-0-0", "--ip", "10.1.255.254", "--network", "private")
    assert "would be outside 10.1.0.0/24" in run("network", "set", "private", "--subnet", "10.1.0.0/24").err
    avalanche("network", "set", "private", "--subnet", "10.0.0.0/8", "--mtu", "9000", "--name", "cluster")
    shown = facts("network", "show", "cluster")
    assert (shown["netmask"], shown["mtu"], shown["zone"], shown["interfaces"]) == ("255.0.0.0", 9000, "local", 1)
    assert "overlaps 10.0.0.0/8 of network cluster" in run("network", "add", "x", "--subnet", "10.2.0.0/16").err
    assert "is that of network cluster" in run("network", "add", "x", "--subnet", "fd00::/64", "--zone", "local").err
    avalanche("network", "add", "six", "--subnet", "fd00::/64")
    assert facts("network", "show", "six")["netmask"] == "ffff:ffff:ffff:ffff::"
    avalanche("network", "remove", "six")


def test_a_roll_that_is_enabled_is_compiled(engine_state: State) -> None:
    roll = make_roll(engine_state.root.parent / "site")
    graph = roll / "graphs" / "default" / "test.xml"
    graph.write_text('<graph roll="site"><edge from="compute" to="site"/></graph>\n')
    for node in roll.glob("nodes/*.xml"):
        node.unlink()
    (roll / "nodes" / "site.xml").write_text("<kickstart><post>echo site</post></kickstart>\n")
    avalanche("host", "add", "compute-0-0")
    avalanche("roll", "add", roll, "--version", "1.0", "--disabled")
    assert "site" not in avalanche("graph", "order", "compute-0-0")
    avalanche("roll", "enable", "site")
    assert "site" in avalanche("graph", "order", "compute-0-0").split()
    assert facts("roll", "show", "site")[0]["enabled"] is True
    assert "is known already" in run("roll", "add", roll, "--version", "1.0").err
    avalanche("roll", "disable", "site", "--version", "1.0")
    avalanche("roll", "remove", "site")
    assert facts("roll", "list") == []


def test_a_roll_offers_its_appliances(engine_state: State) -> None:
    roll = make_roll(engine_state.root.parent / "viz")
    graph = roll / "graphs" / "default" / "test.xml"
    graph.write_text(
        """<graph roll="viz"><edge from="viz" to="base"/><edge from="wall" to="viz"/>
<edge from="no-file" to="base"/><edge from="compute" to="wall-client"/></graph>
"""
    )
    for name in ("viz", "wall", "wall-client"):
        (roll / "nodes" / f"{name}.xml").write_text("<kickstart/>\n")
    assert facts("roll", "add", roll)["offers"] == ["wall"]
    assert [row["appliance"] for row in facts("appliance", "list")] == ["compute"]
    avalanche("roll", "remove", "viz")
    assert facts("roll", "add", roll, "--appliances")["appliances"] == ["wall"]
    avalanche("host", "add", "wall-0-0", "--appliance", "wall")
    assert "viz" in avalanche("graph", "order", "wall-0-0").split()
    assert facts("roll", "add", roll, "--version", "2")["offers"] == []


def test_an_attribute_says_where_it_comes_from_and_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    avalanche("host", "add", "compute-0-[0-2]")
    avalanche("attr", "set", "color", "red")
    avalanche("attr", "set", "color", "green", "--host", "compute-0-[0-1]")
    monkeypatch.setenv("SUDO_USER", "bob")
    avalanche("attr", "set", "color", "blue", "--query", "select name from nodes where `rank` = 0")
    why = facts("attr", "show", "color", "--host", "compute-0-0", "--why")
    assert [(row["value"], row["scope"], row["author"], row["hidden"]) for row in why] == [
        ("blue", "host", "bob", False),
        ("red", "global", "alice", True),
    ]
    assert "intrinsic" in avalanche("attr", "show", "rank", "--host", "compute-0-0", "--why")
    avalanche("attr", "remove", "color", "--host", "@all!compute-0-2")
    past = facts("attr", "history", "color", "--host", "compute-0-0")
    assert [(row["author"], row["change"], row["value"]) for row in past] == [
        ("alice", "set", "green"),
        ("bob", "set", "blue"),
        ("bob", "removed", None),
    ]
    assert len(facts("attr", "history", "color")) == 6
    assert [row["author"] for row in facts("audit", "compute-0-0", "--author", "bob")] == ["bob", "bob"]
    assert "has no attribute colour (close: color" in run("attr", "show", "colour", "--host", "compute-0-0").err


def test_a_secret_is_in_no_history_no_audit_and_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    avalanche("host", "add", "compute-0-0")
    monkeypatch.setattr("sys.stdin", io.StringIO("geheim\n"))
    avalanche("attr", "set", "root_password", "-", "--secret", "--host", "compute-0-0")
    for command in (
        ("attr", "history", "root_password"),
        ("attr", "show", "root_password", "--host", "compute-0-0", "--why"),
        ("audit",),
        ("database", "query", "select * from attributes"),
        ("database", "query", "select * from vattributes"),
        ("host", "show", "compute-0-0"),
        ("attr", "list", "--host", "@all"),
    ):
        for option in ((), ("--json",)):
            assert "geheim" not in avalanche(*command, *option)
