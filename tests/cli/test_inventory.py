"""appliance, host, attr: what an administrator registers."""

from __future__ import annotations

import io
import json

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database
from avalanche.adapters.orderbook import TimelineEvent
from avalanche.adapters.state import State
from tests.frontend.rig import avalanche, run

pytestmark = pytest.mark.usefixtures("state")
MAC = "52:54:00:00:00:01"


def facts(*arguments: object) -> object:
    return json.loads(avalanche(*arguments, "--json"))


def test_a_host_is_added_shown_listed_and_removed() -> None:
    added = facts("host", "add", "compute-2-7", "--mac", MAC.upper().replace(":", "-"), "--ip", "10.1.1.10")
    row = {
        "host": "compute-2-7", "appliance": "compute", "membership": "Compute", "rack": 2, "rank": 7, "mac": MAC,
        "ip": "10.1.1.10", "locked": False,
    }  # fmt: skip
    more = {
        "cpus": 1, "arch": "x86_64", "os": "linux", "runaction": "os", "installaction": "install", "comment": "",
        "aliases": [], "interfaces": [{"mac": MAC, "ip": "10.1.1.10"}], "lock": None,
    }  # fmt: skip
    assert added == row | more
    assert facts("host", "list") == [row]
    assert facts("host", "show", "compute-2-7") == row | more | {"orders": []}
    avalanche("host", "remove", "compute-2-7")
    assert facts("host", "list") == []


def test_a_person_reads_a_table() -> None:
    avalanche("host", "add", "login", "--rack", "9", "--rank", "3")
    assert avalanche("host", "list") == (
        "HOST   MEMBERSHIP  RACK  RANK  MAC  IP  LOCKED\nlogin  Compute     9     3     -    -   no\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("host", "add", "a b"), "'a b' is not a host name"),
        (("host", "add", "x", "--mac", "nonsense"), "'nonsense' is not a MAC"),
        (("host", "add", "x", "--ip", "nonsense"), "'nonsense' is not an IP address"),
        (
            ("host", "add", "x", "--appliance", "compute2"),
            "no appliance is called 'compute2' (close: compute); add it: ",
        ),
        (("host", "add", "compute-0-0"), "host compute-0-0 exists already"),
        (("host", "add", "x", "--mac", MAC), f"MAC {MAC} belongs to compute-0-0"),
        (("host", "show", "compute-0-1"), "(close: compute-0-0); add it: avalanche host add compute-0-1"),
        (("host", "events", "nix"), "no host is called 'nix'"),
        (("host", "remove", "nix"), "no host is called 'nix'"),
        (("appliance", "add", "compute"), "appliance compute exists already"),
        (("appliance", "add", "a/b"), "is not a name"),
        (("attr", "set", "x", "1", "--host", "nix"), "no host is called 'nix'"),
        (("attr", "set", "x", "1", "--scope", "planet=mars"), "'planet' is not a scope"),
        (("attr", "set", "x", "1", "--scope", "rack"), "scope rack needs an owner"),
        (("attr", "remove", "x"), "attribute x is not set for global"),
        (("order", "create", "nix"), "no host is called 'nix'"),
        (("order", "show", "nix"), "there is no order nix"),
        (("order", "cancel", "compute-0-0"), "compute-0-0 has no live order"),
        (("dist", "show", "nix"), "distribution 'nix' has no generation"),
        (("dist", "import", "x", "/nonexistent"), "/nonexistent"),
        (("dist", "check", "nix"), "distribution 'nix' has no generation"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(arguments: tuple[str, ...], why: str) -> None:
    avalanche("host", "add", "compute-0-0", "--mac", MAC)
    result = run(*arguments)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert why in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nix",),
        ("host",),
        ("host", "nix"),
        ("host", "add"),
        ("order", "create", "x", "--expires", "soon"),
        ("kickstart",),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).status == 2


def test_an_appliance_names_the_graph_node_it_starts_at() -> None:
    avalanche("appliance", "add", "gpu")
    avalanche("appliance", "add", "login", "--root", "compute")
    rows = facts("appliance", "list")
    assert [(row["appliance"], row["root"], row["memberships"], row["hosts"]) for row in rows] == [  # type: ignore[attr-defined]
        ("compute", "compute", ["Compute"], 0),
        ("gpu", "gpu", ["Gpu"], 0),
        ("login", "compute", ["Login"], 0),
    ]


def test_the_attributes_of_a_host_show_where_they_come_from() -> None:
    avalanche("host", "add", "compute-0-0")
    for options in ((), ("--appliance", "compute"), ("--scope", "rack=0"), ("--host", "compute-0-0")):
        avalanche("attr", "set", "color", f"value of {options}", *options)
    rows = {row["name"]: row for row in facts("attr", "list", "--host", "compute-0-0")}  # type: ignore[attr-defined]
    assert rows["color"]["scope"] == "host"
    assert rows["color"]["hides"] == ["rack", "appliance", "global"]
    assert rows["hostname"]["value"] == "compute-0-0"
    avalanche("attr", "remove", "color", "--host", "compute-0-0")
    assert "value of ('--scope', 'rack=0')" in avalanche("attr", "list", "--host", "compute-0-0")


def test_a_secret_comes_from_standard_input_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("$6$salt$hash\n"))
    assert "$6$" not in avalanche("attr", "set", "root_password", "-", "--secret", "--appliance", "compute")
    avalanche("host", "add", "compute-0-0")
    for options in ((), ("--host", "compute-0-0"), ("--appliance", "compute"), ("--json",)):
        assert "$6$" not in avalanche("attr", "list", *options)
        assert "$6$salt$hash" in avalanche("attr", "list", "--show-secrets", *options)


def test_a_timeline_shows_who_said_what_and_cannot_steer_the_terminal(state: State) -> None:
    avalanche("host", "add", "compute-0-0")
    avalanche("order", "create", "compute-0-0")
    order = facts("order", "list")[0]["order"]  # type: ignore[index]
    database = Database.open(state.database_file)
    with database.transaction() as transaction:
        seen = TimelineEvent("compute-0-0", 1_795_000_000.0, "stub", "ok", "stub served", order)
        said = TimelineEvent("compute-0-0", 1_795_000_001.0, "pre", "failed", "a\x1b[2J\nb", order, "0" * 16, 1, 5.0)
        orderbook.add_events(transaction, [seen, said])
    database.close()
    assert avalanche("host", "events", "compute-0-0").splitlines() == [
        "2026-11-18T11:06:40Z  frontend  stub       ok        stub served",
        "2026-11-18T11:06:41Z  host      pre        failed    a\\x1b[2J",
        " " * 53 + "b",
    ]
    rows = facts("host", "events", "compute-0-0")
    assert [row["seq"] for row in rows] == [None, 1]  # type: ignore[attr-defined]


def test_nothing_works_without_a_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALANCHE_STATE", "/nonexistent")
    for arguments in (("host", "list"), ("order", "create", "x"), ("dist", "list"), ("frontend",), ("kickstart", "x")):
        result = run(*arguments)
        assert (result.status, result.err.count("\n")) == (1, 1)
        assert "avalanche init" in result.err
