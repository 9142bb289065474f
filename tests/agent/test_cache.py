"""Where packages wait: room, limits, full disks and the move to the target disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from avalanche.agent.cache import Cache, Place, available_memory, is_mount_point
from avalanche.agent.settings import Settings
from avalanche.errors import ConfigError
from avalanche.manifest import Entry, hash_stream
from tests.agent.bundle import ROOT


def entry(size: int) -> Entry:
    return Entry.of(hash_stream([bytes(size)]), f"Packages/x/x-{size}.rpm")


@pytest.mark.parametrize(
    "scenario",
    [
        "closure_larger_than_the_disk",
        "disk_filled_by_others",
        "disk_full_of_what_other_hosts_fetch",
        "disk_that_stays_full",
        "run_directory_full",
        "target_disk_appears",
        "target_disk_too_small",
    ],
)
async def test_a_small_disk_slows_an_install_and_never_breaks_it(scenario: str, folder: Path) -> None:
    # unshare makes the root private; in a chroot there is no such mount, and whoever made the chroot has seen to it.
    propagation = "private" if is_mount_point(Path("/")) else "unchanged"
    process = await asyncio.create_subprocess_exec(
        "unshare",
        "--mount",
        f"--propagation={propagation}",
        sys.executable,
        "-m",
        "tests.agent.tiny_disk",
        scenario,
        str(folder),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def test_room_is_promised_up_to_the_limit_and_given_back(folder: Path) -> None:
    cache = Cache(Settings(cache_dir=folder / "cache", cache_limit_bytes=1000, target_roots=()))
    first = cache.reserve(entry(600), demanded=False)
    assert first is not None
    assert cache.reserve(entry(200), demanded=False) is None  # the last quarter is the installer's
    second = cache.reserve(entry(200), demanded=True)
    assert second is not None
    assert cache.reserve(entry(201), demanded=True) is None
    assert cache.used == 800
    first.drop()
    second.drop()
    assert cache.used == 0
    cache.close()
    assert not (folder / "cache").exists()


def test_what_a_dead_agent_left_is_removed_and_nothing_else(folder: Path) -> None:
    (folder / "cache").mkdir(mode=0o700)
    for name in ("000001-bash.rpm.object", "notes.txt"):
        (folder / "cache" / name).write_text("x")
    place = Place(folder / "cache", limit=None)
    assert [path.name for path in (folder / "cache").iterdir()] == ["notes.txt"]
    place.close()
    assert (folder / "cache" / "notes.txt").exists()


def test_a_cache_directory_that_is_not_ours_is_refused(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "cache").symlink_to(folder / "elsewhere")
    with pytest.raises(ConfigError, match="cache: "):
        Cache(Settings(cache_dir=folder / "cache"))
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    with pytest.raises(ConfigError, match="others may write here"):
        Cache(Settings(cache_dir=folder / "open"))
    (folder / "file").touch()
    with pytest.raises(ConfigError, match="file: "):
        Cache(Settings(cache_dir=folder / "file"))


def test_mount_points_are_told_from_folders(folder: Path) -> None:
    assert is_mount_point(Path("/proc"))
    assert not is_mount_point(folder)
    assert not is_mount_point(Path("/no/such/folder"))


def test_memory_is_counted_in_bytes() -> None:
    assert 10 << 20 < available_memory() < 1 << 50
