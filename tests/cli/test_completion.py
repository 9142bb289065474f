"""The shell completes what commands take, and offers a file only where a file goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frontend.rig import avalanche

pytestmark = pytest.mark.usefixtures("state")


def complete(line: str, folder: Path | None = None) -> list[str]:
    module = "avalanche.cli.ethers" if line.startswith("insert-ethers") else "avalanche.cli"
    script = f"import os, sys; os.dup2(1, 8); from {module} import main; main()"  # the shell reads descriptor 8
    environment = {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, cwd=folder
    )
    return sorted(word.strip() for word in done.stdout.split("\n") if word.strip())


def test_commands_and_hosts() -> None:
    avalanche("host", "add", "compute-0-[0-1]")
    assert complete("avalanche memb") == ["membership"]
    assert complete("avalanche host show compute-0-") == ["compute-0-0", "compute-0-1"]
    assert "@rack0" in complete("avalanche host show @r")
    assert complete("insert-ethers --replace c") == ["compute-0-0", "compute-0-1"]
    assert complete("insert-ethers --member") == ["--membership"]


def test_what_else_the_inventory_knows(tmp_path: Path) -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    avalanche("host", "add", "compute-0-0", "--ip", "10.1.1.1")
    avalanche("attr", "set", "colour", "red")
    order = json.loads(avalanche("order", "create", "compute-0-0", "--json"))[0]["order"]
    for line, words in {
        "host set x --membership C": ["Compute"],
        "host add x --appliance c": ["compute"],
        "host interface add x --network ": ["private"],
        "network set p": ["private"],
        "appliance show c": ["compute"],
        "attr remove col": ["colour"],
        "dist show d": ["default"],
        f"order cancel {order[:6]}": [order],
        "report kea": ["kea"],
        "ethers --plane r": ["relay"],
        "network add p": [],
    }.items():
        assert (line, complete(f"avalanche {line}", tmp_path)) == (line, words)


def test_a_file_is_offered_only_where_a_file_goes(tmp_path: Path) -> None:
    (tmp_path / "hosts.csv").touch()
    assert complete("avalanche host import h", tmp_path) == ["hosts.csv"]
    assert complete("avalanche database query h", tmp_path) == []
    assert complete("avalanche network show h", tmp_path) == []
