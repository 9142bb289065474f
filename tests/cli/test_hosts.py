"""host and order on sets of hosts: all of them or none, by node sets and by SQL, on both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avalanche.cli import common
from tests.frontend.rig import avalanche, run

pytestmark = pytest.mark.usefixtures("engine_state")


def facts(*arguments: object) -> Any:
    return json.loads(avalanche(*arguments, "--json"))


def hosts(*arguments: object) -> list[str]:
    return [row["host"] for row in facts("host", "list", *arguments)]


def test_a_rack_is_registered_selected_changed_and_removed_at_once() -> None:
    avalanche("host", "add", "compute-0-[0-3]")
    avalanche("host", "add", "compute-1-[0-3]")
    assert len(hosts()) == 8
    assert hosts("@rack1") == [f"compute-1-{rank}" for rank in range(4)]
    assert hosts("--query", "select name from nodes where rack=1") == [f"compute-1-{rank}" for rank in range(4)]
    query = """select nodes.name from nodes,memberships where \
nodes.membership = memberships.id and \
memberships.name = 'Compute'"""
    assert len(hosts("--query", query)) == 8
    avalanche("host", "set", "@rack1!compute-1-0", "--rack", "5", "--comment", "moved", "--cpus", "64")
    assert hosts("@rack5") == ["compute-1-1", "compute-1-2", "compute-1-3"]
    shown = facts("host", "show", "compute-1-1")
    assert (shown["comment"], shown["cpus"], shown["rack"]) == ("moved", 64, 5)
    avalanche("host", "remove", "--query", "select name from nodes where rack in (0, 5)")
    assert hosts() == ["compute-1-0"]
    changes = facts("audit", "compute-1-1")
    assert [(row["action"], row["detail"]) for row in changes] == [
        ("host add", {}),
        ("host set", {"rack": [1, 5], "cpus": [1, 64], "comment": ["", "moved"]}),
        ("host remove", {}),
    ]


def test_a_selection_comes_rack_by_rack_and_an_empty_one_is_called_so() -> None:
    for rack in (0, 1, 10):
        avalanche("host", "add", f"compute-{rack}-[0-10]")
    everybody = [f"compute-{rack}-{rank}" for rack in (0, 1, 10) for rank in range(11)]
    assert hosts() == hosts("@all") == hosts("*") == hosts("@compute!@rack7") == everybody
    assert run("host", "list", "@rack7").err == "no host is selected\n"


def test_a_host_is_shown_on_one_line_a_fact() -> None:
    added = avalanche("host", "add", "compute-0-0", "--mac", "52:54:00:00:00:01", "--ip", "10.1.1.1")
    avalanche("host", "lock", "compute-0-0", "--reason", "look at it")
    shown = avalanche("host", "show", "compute-0-0")
    for text in (added, shown):
        assert "interfaces     52:54:00:00:00:01 10.1.1.1\n" in text
        assert "{" not in text
    assert shown.split("lock ")[1].split("\n")[0].endswith(" look at it")


def test_a_command_to_copy_holds_no_word_that_a_shell_would_read() -> None:
    said = run("host", "show", "$(reboot); x").err
    assert said == "no host is called '$(reboot); x'; add it: avalanche host add NAME --mac MAC --ip ADDRESS\n"


def test_who_asks_for_the_changes_of_somebody_is_told_of_nobody_else_s() -> None:
    assert run("audit", "compute-9-9").err == "no change of 'compute-9-9' is on record\n"
    assert run("audit", "compute-9-9", "--author", "x").err == "no change of 'compute-9-9' by 'x' is on record\n"


def test_a_renamed_host_keeps_what_is_its_own() -> None:
    avalanche("host", "add", "compute-0-0", "--mac", "52:54:00:00:00:01", "--ip", "10.1.1.1", "--alias", "c0")
    avalanche("attr", "set", "color", "red", "--host", "c0")
    avalanche("order", "create", "compute-0-0")
    avalanche("host", "rename", "c0", "login")
    shown = facts("host", "show", "login")
    assert (shown["mac"], shown["aliases"], shown["orders"][0]["state"]) == ("52:54:00:00:00:01", ["c0"], "live")
    assert facts("attr", "show", "color", "--host", "login")["value"] == "red"
    assert run("host", "show", "compute-0-0").status == 1


def test_a_locked_host_refuses_changes_and_orders_until_it_is_unlocked(tmp_path: Path) -> None:
    avalanche("host", "add", "compute-0-[0-2]")
    avalanche("host", "lock", "compute-0-1", "--reason", "disk being copied")
    for command in (
        ("host", "set", "@all", "--rack", "3"),
        ("host", "remove", "@all"),
        ("host", "rename", "compute-0-1", "x"),
        ("host", "lock", "compute-0-1"),
        ("host", "interface", "add", "compute-0-1", "--ip", "10.1.1.1"),
        ("attr", "set", "a", "1", "--host", "@all"),
        ("order", "create", "@all"),
    ):
        result = run(*command)
        assert (result.status, result.err.count("\n")) == (1, 1), command
        assert "compute-0-1 is locked by " in result.err
        assert "(disk being copied); unlock it first: avalanche host unlock compute-0-1" in result.err
    file = tmp_path / "hosts.csv"
    file.write_text("host,rack\ncompute-0-0,1\ncompute-0-1,1\n")
    assert f"{file}:3: compute-0-1 is locked by " in run("host", "import", file).err
    assert {row["rack"] for row in facts("host", "list")} == {0}
    assert facts("order", "list") == []
    assert facts("host", "show", "compute-0-1")["lock"]["why"] == "disk being copied"
    avalanche("host", "unlock", "@all")
    avalanche("order", "create", "compute-0-1")
    assert "has the live order" in run("host", "lock", "compute-0-1").err


def test_interfaces_and_aliases_come_and_go() -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16", "--zone", "local")
    avalanche("host", "add", "nfs", "--mac", "52:54:00:00:00:01", "--device", "eno1")
    avalanche("host", "interface", "set", "nfs", "eno1", "--ip", "10.1.0.1", "--network", "private")
    avalanche("host", "interface", "add", "nfs", "--device", "ib0", "--mac", ":".join(["80"] * 20), "--name", "nfs-ib")
    assert [row["device"] for row in facts("host", "interface", "list")] == ["eno1", "ib0"]
    outside = run("host", "interface", "set", "nfs", "eno1", "--ip", "10.2.0.1")
    assert "10.2.0.1 is not in network private, 10.1.0.0/16" in outside.err
    assert "interfaces are in it" in run("network", "remove", "private").err
    avalanche("host", "interface", "remove", "nfs", "52-54-00-00-00-01")
    assert "has no interface 'eno1'; it has: ib0" in run("host", "interface", "remove", "nfs", "eno1").err
    avalanche("host", "alias", "add", "nfs", "home")
    assert facts("host", "alias", "list") == [{"host": "nfs", "alias": "home"}]
    assert "host home is an alias of nfs" in run("host", "add", "home").err
    avalanche("host", "alias", "remove", "home", "home")
    assert facts("host", "alias", "list") == []


def test_a_file_is_shown_then_taken_whole_and_taken_again_changes_nothing(tmp_path: Path) -> None:
    avalanche("host", "add", "compute-0-0", "--ip", "10.1.1.200")
    file = tmp_path / "hosts.csv"
    file.write_text(
        "\ufeffhost,rack,mac,ip,device,comment\n"
        "# a comment\n"
        'compute-0-0,0,52:54:00:00:00:01,10.1.1.1,eno1,"first, of many"\n'
        "compute-0-0,,52:54:00:00:00:02,,eno2,\n"
        "compute-0-1,0,52:54:00:00:00:03,10.1.1.2,eno1,\n"
    )
    said = avalanche("host", "import", file, "--dry-run").splitlines()
    assert said == [
        "+ compute-0-1  Compute  rack 0 rank 1  eno1 52:54:00:00:00:03 10.1.1.2",
        "~ compute-0-0  comment: - -> first, of many",
        "~ compute-0-0  interfaces: 10.1.1.200 -> eno1 52:54:00:00:00:01 10.1.1.1, eno2 52:54:00:00:00:02",
        "1 would be added, 1 would be changed, 0 as they are",
    ]
    assert hosts() == ["compute-0-0"]
    avalanche("host", "import", file)
    assert len(facts("host", "interface", "list")) == 3
    assert avalanche("host", "import", file).splitlines() == ["0 added, 0 changed, 2 as they are"]


WRONG_FILES = [
    (
        "host,mac\ncompute-0-1,52:54:00:00:00:01\ncompute-0-2,52:54:00:00:00:01\n",
        ":3: MAC 52:54:00:00:00:01 belongs",
    ),
    ("host,ip\ncompute-0-1,10.1.1.1\ncompute-0-2,10.1.1.300\n", ":3: '10.1.1.300' is not an IP address"),
    ("host,rack\ncompute-0-1,one\n", ":2: rack 'one' is not a number"),
    ("host,rck\ncompute-0-1,1\n", ":1: unknown column 'rck'; did you mean 'rack'?"),
    ("host\ncompute-0-1.local\n", ":2: 'compute-0-1.local' is not a host name: it has a dot"),
    ('host\n"a\'; DROP TABLE av_hosts; --"\n', ':2: "a\'; DROP TABLE av_hosts; --" is not a host name'),
    ("host\n$(reboot)\n", ":2: '$(reboot)' is not a host name"),
    ("host\n{{7*7}}\n", ":2: '{{7*7}}' is not a host name"),
    ('host,comment\nx,"a\nb"\n', ":2: comment 'a\\nb' is not one line"),
    ("host,appliance\ncompute-0-1,compuet\n", ":2: no appliance is called 'compuet' (close: compute)"),
    ("host,network\ncompute-0-1,private\n", "an interface needs a MAC, an address or a device"),
    ("host,comment\nx,\x1b[2J\n", ":2: comment '\\x1b[2J' is not one line"),
    ("host,mac\nx,00:00:00:00:00:00\n", ":2: 00:00:00:00:00:00 is the MAC of nobody or of many"),
    ("host,rack\nx\n", ":2: 1 cells under 2 columns"),
    ("", "empty"),
]


def test_a_file_that_is_wrong_names_the_line_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "hosts.csv"
    for text, why in WRONG_FILES:
        file.write_text(text)
        result = run("host", "import", file)
        assert (result.status, result.err.count("\n")) == (1, 1), text
        assert why in result.err
        assert str(file) in result.err
    assert hosts() == []


def test_what_has_no_end_or_is_no_text_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(common, "MAX_INPUT", 4096)
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    endless, junk = Path("/dev/zero"), tmp_path / "junk"
    junk.write_bytes(b"\xff\xfe")
    for arguments, why in (
        (("host", "import", endless), "/dev/zero: longer than the 4096 bytes that are read"),
        (("ethers", "--source", f"list:{endless}"), "/dev/zero: longer than the 4096 bytes"),
        (("host", "import", "-"), "standard input: longer"),
        (("attr", "set", "a", "-"), "standard input: longer"),
        (("ethers", "--source", "list:-"), "standard input: longer"),
    ):
        with endless.open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            result = run(*arguments)
        assert (result.status, result.err.count("\n")) == (1, 1), result
        assert why in result.err
    with junk.open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert run("attr", "set", "a", "-").err == "standard input: not UTF-8 text\n"
    assert hosts() == []


USAGE: list[tuple[str, ...]] = [
    ("host", "remove"),
    ("host", "set", "compute-0-0"),
    ("host", "list", "x", "--query", "select 1"),
    ("order", "create"),
    ("attr", "set", "a", "1", "--host", "x", "--query", "select 1"),
    ("membership", "add", "x"),
    ("network", "add", "x"),
    ("database", "move"),
]


def test_wrong_usage_is_status_2() -> None:
    for arguments in USAGE:
        assert run(*arguments).status == 2, arguments


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("host", "add", "compute-0-0.local"), "has a dot"),
    (("host", "add", "rack7"), "it means a rack"),
    (("host", "add", "compute"), "an appliance is called so"),
    (("host", "add", "Compute-0-0"), "at most 63 of a-z"),
    (("host", "add", "12"), "reads as a number"),
    (("host", "add", "0x10"), "reads as a number"),
    (("host", "add", "x", "--ip", "0.0.0.0"), "0.0.0.0 is the address of nobody or of many"),
    (("host", "add", "x", "--ip", "224.0.0.1"), "224.0.0.1 is the address of nobody or of many"),
    (("host", "add", "x" * 64), "at most 63"),
    (("host", "add", "a[0-1]", "--ip", "10.1.1.1"), "is 2 hosts; a MAC, an address or an alias belongs to one"),
    (("host", "add", "x", "--rack", "-1"), "rack is from 0"),
    (("host", "add", "x", "--membership", "Nix"), "no membership is called 'Nix'"),
    (("host", "add", "x", "--network", "private", "--ip", "10.1.1.1"), "no network is called 'private'"),
    (("host", "list", "--query", "delete from nodes"), "--query: it is not a SELECT; it may only SELECT, from: "),
    (("host", "list", "--query", "select value from av_attributes"), "--query: it says 'av_attributes'"),
    (("host", "list", "--query", "select rack from nodes where 1=0 union select 1"), "it must name hosts"),
    (("host", "remove", "--query", "select name from nodes"), "--query selects no host"),
    (("host", "remove", "@rack4"), "@rack4 selects no host"),
    (("host", "import", "/nonexistent.csv"), "/nonexistent.csv: No such file"),
    (("membership", "remove", "Nix"), "no membership is called 'Nix'"),
    (("membership", "add", "a\nb", "--appliance", "compute"), "is not a name"),
    (("appliance", "remove", "nix"), "no appliance is called 'nix'"),
    (("network", "add", "x", "--subnet", "10.1.0.1/16"), "do you mean 10.1.0.0/16?"),
    (("network", "add", "x", "--subnet", "10.1.0.0"), "has no netmask"),
    (("network", "add", "x", "--subnet", "10.1.0.0/16", "--zone", "a..b"), "is not a DNS domain"),
    (("network", "add", "x", "--subnet", "10.1.0.0/16", "--mtu", "1"), "an MTU is from"),
    (("roll", "add", "/nonexistent"), "/nonexistent"),
    (("roll", "enable", "nix"), "no roll is called 'nix'"),
    (("dist", "set", "nix"), "no distribution is called 'nix'"),
    (("attr", "set", "a", "1", "--scope", "rack=x"), "'x' is not a rack"),
    (("attr", "show", "nix", "--host", "@all"), "no host is called"),
    (("database", "restore", "/nonexistent"), "/nonexistent"),
    (("database", "move", "--to", "mysql://u:geheim@/"), "--to: not a database's address"),
    (("order", "set", "nix"), "no host is called 'nix'"),
]


def test_what_is_wrong_is_one_line_and_status_1() -> None:
    for arguments, why in WRONG:
        result = run(*arguments)
        assert (result.status, result.out, result.err.count("\n")) == (1, "", 1), (arguments, result)
        assert why in result.err
        assert "geheim" not in result.err
    assert hosts() == []


def test_an_order_is_changed_while_it_lives() -> None:
    avalanche("host", "add", "compute-0-0")
    avalanche("order", "create", "compute-0-0")
    changed = facts("order", "set", "compute-0-0", "--attempts", "7", "--plane", "http", "--expires", "2d")
    assert (changed["limit"], changed["plane"]) == (7, "http")
    assert facts("order", "show", changed["order"])["limit"] == 7
    avalanche("order", "cancel", "compute-0-0")
    assert "was cancelled" in run("order", "set", changed["order"], "--attempts", "9").err
