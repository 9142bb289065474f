"""bootaction and host boot: what machines boot over the network, on both engines."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from avalanche.adapters.state import State
from avalanche.cli.bootaction import complete_bootaction
from tests.frontend.rig import avalanche, run

pytestmark = pytest.mark.usefixtures("engine_state")


def facts(*arguments: object) -> Any:
    return json.loads(avalanche(*arguments, "--json"))


def test_a_boot_action_is_added_listed_changed_and_removed(engine_state: State) -> None:
    avalanche("bootaction", "add", "install", "--kernel", "http://10.1.1.1/vmlinuz", "--ramdisk", "initrd.img")
    avalanche("bootaction", "add", "install headless", "--kernel", "vmlinuz", "--args", "console=ttyS0 inst.text")
    avalanche("host", "add", "compute-0-[0-1]", "--installaction", "install headless")
    assert [(row["bootaction"], row["hosts"]) for row in facts("bootaction", "list")] == [
        ("install", 0),
        ("install headless", 2),
    ]
    avalanche("bootaction", "set", "install headless", "--name", "headless", "--args", "console=ttyS1")
    assert facts("bootaction", "show", "headless") == {
        "bootaction": "headless", "kernel": "vmlinuz", "ramdisk": "", "args": "console=ttyS1", "hosts": 2,
    }  # fmt: skip
    assert facts("host", "show", "compute-0-0")["installaction"] == "headless"
    (row,) = facts("database", "query", "select action, kernel from bootaction where action='INSTALL'")
    assert list(row.values()) == ["install", "http://10.1.1.1/vmlinuz"]
    assert "2 hosts name it" in run("bootaction", "remove", "headless").err
    assert complete_bootaction(argparse.Namespace(state=engine_state.root)) == ["install", "headless"]
    avalanche("host", "set", "@all", "--installaction", "install")
    avalanche("bootaction", "remove", "headless")
    avalanche("bootaction", "remove", "install")  # every host has the word from birth
    assert facts("bootaction", "list") == []
    assert "bootaction remove" in avalanche("audit", "headless")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("bootaction", "add", "x", "--kernel", "a b"), "kernel 'a b' is not an address"),
        (("bootaction", "show", "memtst"), "no boot action is called 'memtst' (close: memtest)"),
        (("bootaction", "set", "x", "--args", "a"), "no boot action is called 'x'"),
        (("bootaction", "add", "memtest", "--kernel", "a"), "exists already"),
        (("bootaction", "remove", "x"), "no boot action is called 'x'"),
        (("host", "add", "compute-0-0", "--runaction", "x"), "no boot action is called 'x'"),
    ],
)
def test_what_is_wrong_is_one_line(command: tuple[str, ...], why: str) -> None:
    avalanche("bootaction", "add", "memtest", "--kernel", "memtest.bin")
    result = run(*command)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert why in result.err


def test_host_boot_says_what_is_next_and_changes_it() -> None:
    avalanche("host", "add", "compute-0-[0-1]")
    (row,) = facts("host", "boot", "compute-0-0")
    assert (row["next"], row["bootaction"], row["order"]) == ("os", "os", None)
    (row,) = facts("host", "boot", "compute-0-0", "--action", "install")
    assert (row["next"], row["bootaction"]) == ("install", None)
    assert "avalanche bootaction add 'install'" in row["wrong"]
    avalanche("bootaction", "add", "install", "--kernel", "vmlinuz")
    rows = facts("host", "boot", "@all", "--action", "install")  # the one that has an order keeps it
    assert [(one["next"], one["bootaction"]) for one in rows] == [("install", "install")] * 2
    assert rows[0]["order"] == row["order"]
    assert [list(one.values()) for one in facts("database", "query", "select action from boot")] == [["install"]] * 2
    rows = facts("host", "boot", "@all", "--action", "os")
    assert [(one["next"], one["order"]) for one in rows] == [("os", None)] * 2
    assert facts("order", "list", "--live") == []
    assert run("host", "boot", "--action", "install").status == 2
