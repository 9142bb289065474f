"""insert-ethers as a command: lists, options, plugins, strangers, and what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.database import Database
from avalanche.adapters.sightings import note_sightings
from avalanche.adapters.state import State
from avalanche.cli import ethers_session
from avalanche.ethers import Sighting, Verdict
from tests.frontend.rig import Result, avalanche, run


@pytest.fixture(autouse=True)
def network(state: State) -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")


def mac(number: int) -> str:
    return f"52:54:00:00:00:{number:02x}"


def listed(folder: Path, *numbers: int) -> str:
    path = folder / "macs"
    path.write_text("# rack 0\n" + "".join(f"{mac(number).upper()}  # slot {number}\n" for number in numbers))
    return f"list:{path}"


def ethers(*arguments: object) -> Result:
    return run("ethers", *arguments)


def stream(result: Result, event: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in result.out.splitlines()]
    return [row for row in rows if row["event"] == event]


def hosts() -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in json.loads(avalanche("host", "list", "--json"))}


def plugin(state: State, script: str) -> None:
    state.ethers_plugins.mkdir(parents=True)
    path = state.ethers_plugins / "log"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_list_of_machines_becomes_hosts_with_orders(tmp_path: Path) -> None:
    result = ethers("--source", listed(tmp_path, 1, 2, 3), "--json", "--rack", 4)
    assert result.status == 0, result
    assert [(row["host"], row["address"], row["rack"], row["rank"]) for row in stream(result, "registered")] == [
        ("compute-4-0", "10.1.255.254", 4, 0),
        ("compute-4-1", "10.1.255.253", 4, 1),
        ("compute-4-2", "10.1.255.252", 4, 2),
    ]
    assert {row["host"] for row in json.loads(avalanche("order", "list", "--live", "--json"))} == set(hosts())
    (start,), (end,) = stream(result, "start"), stream(result, "end")
    assert (start["version"], start["next"], end["registered"], end["failed"]) == (1, "compute-4-0", 3, [])


def test_a_second_run_of_a_list_registers_only_who_is_missing(tmp_path: Path) -> None:
    assert ethers("--source", listed(tmp_path, 1, 2)).status == 0
    result = ethers("--source", listed(tmp_path, 1, 2, 3), "--json")
    assert result.status == 0, result
    assert [row["host"] for row in stream(result, "registered")] == ["compute-0-2"]
    assert [row["verdict"] for row in stream(result, "packet")] == ["known", "known", "taken"]


def test_a_machine_that_a_list_names_twice_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ethers_session, "AT_ONCE", 1)  # so that the last one is registered in a later transaction
    result = ethers("--source", listed(tmp_path, 1, 2, 3, 3), "--json")
    assert result.status == 0, result
    assert len(stream(result, "registered")) == len(hosts()) == 3


def test_rocks_options_say_who_and_where(tmp_path: Path) -> None:
    avalanche("appliance", "add", "nfs", "--root", "compute")
    options = ("--membership", "Nfs", "--cabinet", 2, "--rank", 7, "--basename", "store", "--ipaddr", "10.1.9.9")
    assert ethers(*options, "--source", listed(tmp_path, 1)).status == 0
    assert ethers("--hostname", "web", "--membership", "Nfs", "--source", listed(tmp_path, 2)).status == 0
    options = ("--membership", "Compute", "--baseip", "10.1.0.1", "--inc", 2, "--per-rack", 1)
    pools = ("--pool", "10.1.0.3-10.1.0.8")
    assert ethers(*options, *pools, "--source", listed(tmp_path, 3, 4)).status == 0
    assert {name: (row["ip"], row["membership"]) for name, row in hosts().items()} == {
        "compute-0-0": ("10.1.0.1", "Compute"),
        "compute-1-0": ("10.1.0.9", "Compute"),
        "store-2-7": ("10.1.9.9", "Nfs"),
        "web": ("10.1.255.254", "Nfs"),
    }


def test_the_pools_of_our_dhcp_server_are_left_alone(state: State, tmp_path: Path) -> None:
    text = state.config_file.read_text()
    state.config_file.write_text(f'{text}\n[dhcp]\npools = ["10.1.255.200-10.1.255.254"]\n')
    assert ethers("--source", listed(tmp_path, 1)).status == 0
    assert hosts()["compute-0-0"]["ip"] == "10.1.255.199"


def test_a_replaced_host_keeps_its_place(tmp_path: Path) -> None:
    ethers("--source", listed(tmp_path, 1, 2))
    assert ethers("--replace", "compute-0-0", "--source", listed(tmp_path, 9)).status == 0
    assert (hosts()["compute-0-0"]["mac"], hosts()["compute-0-0"]["ip"]) == (mac(9), "10.1.255.254")
    avalanche("order", "cancel", "compute-0-1")
    avalanche("host", "lock", "compute-0-1", "--reason", "burns in")
    result = ethers("--replace", "compute-0-1", "--source", listed(tmp_path, 8))
    assert result.status == 1
    assert "compute-0-1 is locked by" in result.err


def test_plugins_hear_of_everything_in_order(state: State, tmp_path: Path) -> None:
    plugin(state, f'echo "$1 $2 $AVALANCHE_IP $AVALANCHE_MEMBERSHIP" >> {tmp_path}/out')
    ethers("--batch", "--source", listed(tmp_path, 1, 2))
    ethers("--remove", "compute-0-1")
    ethers("--update", "--norestart")
    lines = [line.strip() for line in (tmp_path / "out").read_text().splitlines()]
    assert lines == [
        "added compute-0-0 10.1.255.254 Compute",
        "added compute-0-1 10.1.255.253 Compute",
        "restart",
        "done",
        "removed compute-0-1 10.1.255.253 Compute",
        "restart",
        "done",
        "update",
    ]
    assert list(hosts()) == ["compute-0-0"]


def test_a_plugin_that_fails_is_named_and_in_the_timeline(state: State, tmp_path: Path) -> None:
    plugin(state, "echo no such zone; exit 1")
    result = ethers("--source", listed(tmp_path, 1), "--norestart", "--json")
    assert result.status == 0
    assert {row["problem"] for row in stream(result, "plugin")} == {"exit 1: no such zone"}
    events = json.loads(avalanche("host", "events", "compute-0-0", "--json"))
    assert events[-1]["text"] == "log: exit 1: no such zone"
    assert "plugin log, update: exit 1: no such zone" in ethers("--update").err


def test_plugins_that_were_not_told_are_told_by_the_next_run(state: State, tmp_path: Path) -> None:
    """What a kill between registration and plugins leaves, a run heals: here a database as such a kill leaves it."""
    plugin(state, f'echo "$1 $2" >> {tmp_path}/out')
    ethers("--source", listed(tmp_path, 1))
    database = Database.open(state.database_file)
    with database.transaction() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM av_events WHERE stage = 'plugins'")
    database.close()
    (tmp_path / "out").unlink()
    result = ethers("--source", listed(tmp_path, 1))
    assert "compute-0-0 was registered by a run that was ended: plugins are told now" in result.out
    assert (tmp_path / "out").read_text().split() == ["added", "compute-0-0", "restart", "done"]
    (tmp_path / "out").unlink()
    ethers("--source", listed(tmp_path, 1))
    assert (tmp_path / "out").read_text().split() == ["done"]


def test_record_only_registers_nobody_and_why_remembers(tmp_path: Path) -> None:
    result = ethers("--record-only", "--source", listed(tmp_path, 1, 2))
    assert result.status == 0, result
    assert hosts() == {}
    facts = json.loads(avalanche("host", "why", mac(1), "--json"))
    assert (facts["where"], facts["packets"]) == ("LISTED: noted, not registered", 1)
    assert "without --record-only" in facts["todo"]


def test_why_says_where_hosts_and_strangers_stand(state: State, tmp_path: Path) -> None:
    ethers("--source", listed(tmp_path, 1), "--no-order")
    for name in ("compute-0-0", mac(1), "10.1.255.254"):
        assert "avalanche order create compute-0-0" in avalanche("host", "why", name)
    assert "nobody has seen a packet" in avalanche("host", "why", mac(7))
    database = Database.open(state.database_file)
    with database.transaction() as transaction:
        seen = Sighting(1.0, "observer", "DISCOVER", mac(7), vendor="PXEClient", hostname="a\\x1b[2J")
        note_sightings(transaction, [(seen, Verdict("client", "no installer"))])
    database.close()
    told = avalanche("host", "why", mac(7).upper().replace(":", "-"))
    assert "DISCOVER: no installer" in told
    assert "PXEClient" in told
    assert run("host", "why", "compute-9-9").status == 1


def test_a_host_that_cannot_be_installed_is_said_before_anybody_comes(tmp_path: Path) -> None:
    avalanche("appliance", "add", "gpu", "--root", "nix")
    result = ethers("--membership", "Gpu", "--source", listed(tmp_path, 1))
    assert result.status == 1
    assert "--no-order" in result.err
    assert ethers("--membership", "Gpu", "--no-order", "--source", listed(tmp_path, 1)).status == 0
    assert hosts()["gpu-0-0"]["mac"] == mac(1)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--membership", "Nix"), "no membership is called 'Nix'"),
        (("--network", "nix"), "no network is called 'nix'"),
        (("--inc", 0), "--inc 0 never comes to another address"),
        (("--baseip", "10.2.0.1"), "--baseip 10.2.0.1 is no host's address in 10.1.0.0/16"),
        (("--ipaddr", "10.1.255.255"), "no host's address"),
        (("--hostname", "a.b"), "has a dot"),
        (("--hostname", "compute"), "it is an appliance"),
        (("--hostname", "$(reboot)"), "is not a host name"),
        (("--basename", "{{ 7 * 7 }}"), "is not a host name"),
        (("--rack", -1), "is from 0 to"),
        (("--per-rack", 0), "room for at least one"),
        (("--rank", 1, "--count", 2), "--rank is for one host"),
        (("--ordered", "--record-only"), "take one of them"),
        (("--count", 0), "--count is at least 1"),
        (("--replace", "nix"), "no host is called 'nix'"),
        (("--replace", "compute-0-0", "--ipaddr", "10.1.0.1"), "leave --ipaddr out"),
        (("--remove", "nix"), "no host is called 'nix'"),
        (("--staticip",), "takes a terminal"),
        (("--until", "done", "--source", "none"), "--until needs to know of how many"),
        (("--pool", "x"), "'x' is not a range"),
        (("--source", "smoke"), "'smoke' is no source of sightings; there are: observer"),
        (("--source", "dnsmasq:/nonexistent"), "/nonexistent: No such file or directory; is this the server's log?"),
        (("--source", "observer", "--interface", "nix0"), "cannot watch interface 'nix0'"),
        (("--source", "observer"), "no interface of this machine has an address in 10.1.0.0/16"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[object, ...], why: str, tmp_path: Path) -> None:
    source = () if "--source" in arguments else ("--source", listed(tmp_path, 1))
    result = ethers(*arguments, *source)
    assert (result.status, result.err.count("\n")) == (1, 1), result
    assert why in result.err
    assert hosts() == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [("52:54:00:00:00:01\nnonsense\n", "standard input:2: 'nonsense' is not a MAC"), ("# none\n", "no MAC in it")],
)
def test_a_list_that_is_wrong_registers_nobody(text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    result = ethers("--source", "list:-")
    assert result.status == 1
    assert why in result.err
    assert hosts() == {}


def test_machines_that_no_address_is_left_for_are_named(tmp_path: Path) -> None:
    avalanche("network", "add", "tiny", "--subnet", "10.9.0.0/30")
    result = ethers("--network", "tiny", "--source", listed(tmp_path, 1, 2, 3, 4))
    assert result.status == 1
    assert f"{mac(3)}: no address is free in 10.9.0.0/30" in result.err
    assert "(and 1 more)" in result.err
    assert list(hosts()) == ["compute-0-0", "compute-0-1"]


def test_a_time_that_is_over_is_status_1() -> None:
    result = ethers("--source", "none", "--count", 2, "--timeout", "1s")
    assert (result.status, result.err) == (1, "0 of 2 hosts came\n")
