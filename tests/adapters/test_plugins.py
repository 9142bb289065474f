"""Plugins are called in order, told everything, bounded in time, and never stop anybody."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from avalanche.adapters.plugins import Call, Plugins

HOST = {"host": "compute-0-0", "mac": "52:54:00:00:00:01", "ip": "10.1.255.254", "rack": "0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "plugins"
    found.mkdir(mode=0o700)
    return found


@pytest.fixture
def plugins(folder: Path, tmp_path: Path) -> Iterator[Plugins]:
    found = Plugins(folder, {"state": str(tmp_path)}, seconds=20.0)
    yield found
    found.close()


def write(folder: Path, name: str, script: str, mode: int = 0o700) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(mode)


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, *names: str) -> None:
    """Make a Python package with entry points, for this process and those it starts."""
    site = tmp_path / "site"
    info = site / "house-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "house.py").write_text(textwrap.dedent(code))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house\nVersion: 1.0\n")
    lines = "".join(f"{name} = house:{name.capitalize()}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[avalanche.insert_ethers]\n{lines}")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def outcome(calls: Iterator[Call]) -> list[tuple[str, str]]:
    return [(call.plugin, call.problem) for call in calls]


def test_executables_run_by_name_and_are_told_everything(folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    write(folder, "20-two", f'echo "$0 $* $AVALANCHE_MAC $AVALANCHE_IP $AVALANCHE_STATE" >> {tmp_path}/out')
    write(folder, "10-one", f'echo "$AVALANCHE_EVENT $AVALANCHE_HOST [$HOME]" >> {tmp_path}/out')
    write(folder, "README", "exit 1", mode=0o600)
    write(folder, "10-one~", "exit 1")
    assert plugins.names() == ["10-one", "20-two"]
    assert outcome(plugins.call("added", HOST)) == [("10-one", ""), ("20-two", "")]
    assert outcome(plugins.call("restart")) == [("10-one", ""), ("20-two", "")]
    assert (tmp_path / "out").read_text().splitlines() == [
        "added compute-0-0 []",
        f"{folder}/20-two added compute-0-0 52:54:00:00:00:01 10.1.255.254 {tmp_path}",
        "restart  []",
        f"{folder}/20-two restart   {tmp_path}",
    ]


def test_a_plugin_that_fails_is_named_and_the_next_one_runs(folder: Path, plugins: Plugins) -> None:
    write(folder, "1", "echo first; echo no such server >&2; exit 3")
    write(folder, "2", "kill -9 $$")
    (folder / "3").write_text("#!/nonexistent\n")
    (folder / "3").chmod(0o700)
    write(folder, "4", "exit 0")
    assert outcome(plugins.call("added", HOST)) == [
        ("1", "exit 3: no such server"),
        ("2", "signal 9"),
        ("3", "No such file or directory"),
        ("4", ""),
    ]


def test_a_plugin_that_hangs_is_killed_with_what_it_started(folder: Path, tmp_path: Path) -> None:
    write(folder, "slow", f"(sleep 600; touch {tmp_path}/late) & sleep 600")
    write(folder, "quick", "exit 0")
    found = outcome(Plugins(folder, {}, seconds=5.0).call("added", HOST))
    assert found == [("quick", ""), ("slow", "not done after 5 seconds, killed")]
    assert not (tmp_path / "late").exists()


def test_what_others_may_write_is_not_run(folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    write(folder, "open", f"touch {tmp_path}/ran", mode=0o777)
    assert outcome(plugins.call("done")) == [("open", f"{folder}/open may be written by others: not run (chmod go-w)")]
    (folder / "open").chmod(0o700)
    folder.chmod(0o777)
    assert outcome(plugins.call("done")) == [("open", f"{folder} may be written by others: not run (chmod go-w)")]
    assert not (tmp_path / "ran").exists()


def test_a_host_name_is_an_argument_and_never_a_command(folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    write(folder, "echo", f'printf "%s" "$2" > {tmp_path}/out')
    evil = f"$(touch {tmp_path}/ran); `touch {tmp_path}/ran`"
    assert outcome(plugins.call("added", {"host": evil})) == [("echo", "")]
    assert (tmp_path / "out").read_text() == evil
    assert not (tmp_path / "ran").exists()


def test_entry_points_run_in_one_process_and_may_have_any_of_the_methods(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
        import os
        class Alpha:
            def added(self, host):
                print("noise")
                with open({str(tmp_path / "out")!r}, "a") as file:
                    print(os.getpid(), host["host"], host["mac"], file=file)
            def restart(self):
                raise RuntimeError("no\\nserver")
        class Beta:
            def added(self, host):
                self.missing
        """
    install(tmp_path, monkeypatch, code, "alpha", "beta")
    write(folder, "between", "exit 0")
    plugins = Plugins(folder, {}, seconds=20.0)
    assert plugins.names() == ["alpha", "beta", "between"]
    missing = "AttributeError: 'Beta' object has no attribute 'missing'"
    for _ in range(2):
        assert outcome(plugins.call("added", HOST)) == [("alpha", ""), ("beta", missing), ("between", "")]
    assert outcome(plugins.call("restart")) == [("alpha", "RuntimeError: no server"), ("beta", ""), ("between", "")]
    plugins.close()
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines[0] == lines[1]
    assert lines[0].endswith(" compute-0-0 52:54:00:00:00:01")


def test_an_entry_point_that_hangs_ends_or_cannot_be_loaded_costs_only_itself(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import os, time
        class Dies:
            def added(self, host): os._exit(7)
        class Hangs:
            def added(self, host): time.sleep(600)
        class Works:
            def added(self, host): pass
        """
    install(tmp_path, monkeypatch, code, "dies", "hangs", "missing", "works")
    plugins = Plugins(folder, {}, seconds=5.0)
    assert outcome(plugins.call("added", HOST)) == [
        ("dies", "ended the process it ran in"),
        ("hangs", "not done after 5 seconds, killed"),
        ("missing", "AttributeError: module 'house' has no attribute 'Missing'"),
        ("works", ""),
    ]
    plugins.close()


def test_no_plugin_is_no_trouble(tmp_path: Path) -> None:
    plugins = Plugins(tmp_path / "nix", {})
    assert plugins.names() == []
    assert outcome(plugins.call("update")) == []
