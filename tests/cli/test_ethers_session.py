"""A session outlives its database: machines wait, nothing is lost and nothing is done twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.state import State
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import avalanche
from tests.smalldisk import SmallDisk

DISCOVER = "Nov 21 15:01:00 dnsmasq-dhcp[7]: 19 DHCPDISCOVER(eth0) 52:54:00:00:00:{:02x} \n"


@pytest.fixture
def server() -> Iterator[MariaDB]:
    """A server that a test may stop."""
    found = MariaDB()
    yield found
    found.close()


def rows(out: Path) -> list[dict[str, Any]]:
    lines = [line for line in out.read_text().splitlines(keepends=True) if line.startswith("{")]
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def wait(out: Path, what: str, count: int = 1) -> None:
    deadline = time.monotonic() + 60
    while sum(what in json.dumps(row) for row in rows(out)) < count:
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--count", "2"), 1)])
def test_a_run_that_is_ended_from_outside_has_failed_if_it_waits_for_a_number(
    state: State, tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    out, err = tmp_path / "out", tmp_path / "err"
    command = [sys.executable, "-m", "avalanche", "ethers", "--state", state.root, "--source", "none", "--json"]
    with out.open("w") as output, err.open("w") as errors:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=errors)
    try:
        wait(out, '"event": "start"')
        process.terminate()
        assert process.wait(timeout=60) == status
    finally:
        process.kill()
        process.wait()
    failed = ["0 of 2 hosts came; ended by SIGTERM"] if status else []
    assert rows(out)[-1]["failed"] == err.read_text().splitlines() == failed


def test_a_database_that_goes_away_and_comes_back_costs_time_and_no_machine(
    state: State, tmp_path: Path, server: MariaDB
) -> None:
    url = server.make_database()
    plain = f"mysql+pymysql://{USER}@127.0.0.1:{server.port}/{url.database}"
    state.config_file.write_text(state.config_file.read_text().replace('url = ""', f'url = "{plain}"'))
    state.database_password_file.write_text(f"{PASSWORD}\n")
    avalanche("init")
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    log, out = tmp_path / "log", tmp_path / "out"
    log.touch()
    command = [sys.executable, "-m", "avalanche", "ethers", "--state", state.root, "--source", f"dnsmasq:{log}"]
    with out.open("w") as file:
        process = subprocess.Popen([*command, "--json", "--count", "4", "--timeout", "3m"], stdout=file, stderr=file)
    try:
        wait(out, '"event": "start"')
        with log.open("a") as file:
            file.write(DISCOVER.format(1))
        wait(out, '"event": "registered"')
        server.stop()
        with log.open("a") as file:
            file.write(DISCOVER.format(2) + DISCOVER.format(3))
        wait(out, "nothing is lost, trying again")
        with log.open("a") as file:
            file.write(DISCOVER.format(3) + DISCOVER.format(4))
        wait(out, '"verdict": "pending"')
        server.start()
        assert process.wait(timeout=120) == 0, out.read_text()
    finally:
        process.kill()
        process.wait()
    hosts = [(row["host"], row["mac"][-2:]) for row in rows(out) if row["event"] == "registered"]
    assert hosts == [("compute-0-0", "01"), ("compute-0-1", "02"), ("compute-0-2", "03"), ("compute-0-3", "04")]
    assert len(json.loads(avalanche("host", "list", "--json"))) == 4


def test_a_full_disk_is_told_once_and_costs_time_and_no_machine(
    state: State, tmp_path: Path, small_disk: SmallDisk
) -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    shutil.copytree(state.root, small_disk.root / "state", symlinks=True, ignore=shutil.ignore_patterns("store"))
    log, out = tmp_path / "log", tmp_path / "out"
    log.touch()
    command = small_disk.command(
        "ethers", "--state", small_disk.folder / "state", "--source", f"dnsmasq:{log}", "--no-order",
        "--json", "--count", 200, "--timeout", "2m",
    )  # fmt: skip
    with out.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait(out, '"event": "start"')
        with log.open("a") as file:
            file.write(DISCOVER.format(0))
        wait(out, '"event": "registered"')
        with small_disk.full():
            with log.open("a") as file:
                file.write("".join(DISCOVER.format(number) for number in range(1, 200)))
            wait(out, "disk is full; free space on its file system; nothing is lost, trying again")
            with log.open("a") as file:  # a request of a machine that is no installer's is noted meanwhile
                file.write(DISCOVER.format(250).replace("DISCOVER", "REQUEST"))
            wait(out, '"verdict": "kind"')
        assert process.wait(timeout=60) == 0, out.read_text()
    finally:
        process.kill()
        process.wait()
    hosts = [int(row["mac"][-2:], 16) for row in rows(out) if row["event"] == "registered"]
    assert hosts == list(range(200))
    said = [row["text"].split(": ")[-1] for row in rows(out) if row["event"] == "note"]
    assert said == [
        "database or disk is full; free space on its file system; nothing is lost, trying again", "the database is back"
    ]  # fmt: skip


def test_a_stream_that_cannot_be_written_ends_the_run_in_one_line_and_undoes_nothing(
    state: State, tmp_path: Path, small_disk: SmallDisk
) -> None:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    log, out = tmp_path / "log", small_disk.root / "out"
    log.touch()
    command = [sys.executable, "-m", "avalanche", "ethers", "--state", state.root, "--source", f"dnsmasq:{log}"]
    with out.open("w") as file:
        process = subprocess.Popen([*command, "--json", "--no-order"], stdout=file, stderr=subprocess.PIPE, text=True)
    try:
        wait(out, '"event": "start"')
        with small_disk.full():
            with log.open("a") as file:
                file.write("".join(DISCOVER.format(number) for number in range(100)))
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (1, "standard output: No space left on device\n")
    told = {row["host"] for row in rows(out) if row["event"] == "registered"}
    assert told <= {row["host"] for row in json.loads(avalanche("host", "list", "--json"))}
