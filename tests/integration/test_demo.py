"""The command ``python -m lab demo`` itself, as ``make demo`` runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host import Roots
from tests.integration.traces import processes_naming

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "lab"]


@pytest.fixture
def var(repository: Path, roots: Roots) -> Iterator[Path]:
    folder = ROOT / "var" / "test" / "demo"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def environment(var: Path, **settings: str) -> dict[str, str]:
    own = {"HOSTS": "2", "RATE": "300", "MODE": "download", "PLANE": "", "FAULTS": ""}
    return {**os.environ, **own, **settings, "VAR": str(var)}


@pytest.mark.alone
def test_a_killed_host_is_reported_and_a_slow_one_finishes(var: Path) -> None:
    faults = "kill:1@30%,slow:1@40%"
    done = subprocess.run(
        [*COMMAND, "demo"], cwd=ROOT, env=environment(var, FAULTS=faults), capture_output=True, text=True, check=False
    )
    # A demo that something else held up says that it measured nothing; what became of its hosts holds all the same.
    assert done.returncode == 0 or "keeps this machine busy" in done.stderr, done.stderr
    result = json.loads((var / "demo/result.json").read_text())
    killed, slow = result["hosts"]
    assert (killed["killed"], killed["verified"], killed["download_seconds"]) == (True, False, None)
    assert (slow["killed"], slow["verified"], slow["packages"]) == (False, True, 408)
    assert slow["install_seconds"] is None
    # At 40 % of the rate a host needs at least two and a half times as long as its bytes need.
    assert slow["download_seconds"] > 2.4 * result["limit_seconds"]
    assert (result["faults"], result["mode"], result["hosts_total"]) == (faults, "download", 2)
    assert "compute-0-1" in done.stdout


def test_a_demo_that_is_killed_leaves_nothing_but_files(var: Path) -> None:
    with subprocess.Popen([*COMMAND, "demo"], cwd=ROOT, env=environment(var), stderr=subprocess.PIPE) as demo:
        agent = var / "lab/hosts/compute-0-0/agent.pid"
        while not agent.exists():
            assert demo.poll() is None
            time.sleep(0.1)
        process = Path(f"/proc/{agent.read_text().strip()}")
        assert process.exists()
        assert processes_naming(var)
        demo.kill()
    deadline = time.monotonic() + 10
    while (processes_naming(var) or process.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_naming(var)
    assert not process.exists()
    assert str(var) not in Path("/proc/mounts").read_text()
    subprocess.run([*COMMAND, "down"], cwd=ROOT, env=environment(var), check=True)
    assert not (var / "lab/hosts").exists() and not (var / "demo").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"PLANE": "sworm"}, "PLANE=sworm: must be one of relay, swarm, http, auto\n"),
        ({"HOSTS": "none"}, "HOSTS=none: must be a whole number from 1 to 250\n"),
    ],
)
def test_a_demo_that_cannot_run_says_so_in_one_line_and_changes_nothing(
    var: Path, settings: dict[str, str], reason: str
) -> None:
    done = subprocess.run(
        [*COMMAND, "demo"], cwd=ROOT, env=environment(var, **settings), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    assert not var.exists()
