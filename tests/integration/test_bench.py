"""The benchmark's planes, small: everybody gets everything, and faults are what they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bench.arena import Arena
from lab.bench.cells import Cell
from lab.bench.peers.all import plane_of
from lab.bench.trial import Trial

pytestmark = pytest.mark.lab

CELL = Cell(
    "test", "three hosts in two racks", 3, size=3_000_000, rate_mbit=30, files=40, racks=2, mixed=True,
    faults="stop:1:1s@30%,join:1@50%",
)  # fmt: skip


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(CELL, tmp_path_factory.mktemp("bench")) as arena:
        yield arena


def processes(folder: Path) -> set[str]:
    """Whatever runs and has something to do with a folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.add(path.parent.name)
        except OSError:
            continue
    return found


# nginx, squid and udpcast are installed by make bench alone.
@pytest.mark.parametrize("name", ["relay", "libtorrent-v2", "aria2"])
def test_every_host_gets_its_appliance_whatever_happens(arena: Arena, name: str) -> None:
    result = Trial(arena, plane_of(name, arena), single=1.0).run()
    assert (result["problems"], result["verified"]) == ({}, 3)
    assert sorted(result["hit"].values()) == ["join", "stop"]
    # Nobody is faster than its link, and who stood still for a second took it; its kernel went on receiving meanwhile.
    for host, seconds in result["seconds"].items():
        assert seconds > max(0.95 * result["alone"][host], 1.0 if result["hit"].get(host) == "stop" else 0.0)
    assert result["frontend_wire_copies"] >= 1.0
    assert result["cpu_seconds_per_host"]["max"] > 0 and result["rss_mib_per_host"] > 5
    (into, _) = result["trunk_copies"]["1"]
    assert 0.5 < into < 3.0
    assert not processes(arena.work / "hosts")


def test_a_missing_and_a_damaged_file_are_seen(arena: Arena) -> None:
    plane, seat = plane_of("http", arena), arena.seats[0]
    shutil.rmtree(seat.folder, ignore_errors=True)  # of an earlier plane
    files = seat.folder / "files"
    files.mkdir(parents=True)
    for entry in arena.closure(seat).entries:
        (files / entry.sha256).write_bytes((arena.generation.path / entry.path).read_bytes())
    assert plane.problem(seat) == ""
    first, second = sorted(files.iterdir())[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert plane.problem(seat).startswith("2 of ")
