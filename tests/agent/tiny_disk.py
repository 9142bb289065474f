"""Scenarios that mount file systems: ``unshare --mount python -m tests.agent.tiny_disk SCENARIO FOLDER``.

A private mount namespace of its own, so that nothing is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from pathlib import Path

from avalanche.agent.done import outcome, post_done
from avalanche.agent.item import State
from avalanche.errors import ConfigError
from tests.agent.faulty import Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import ATTEMPT, Rig, until

SIZES = [300_000, 700_000, 262_144, 600_000, 100_000, 900_000, 400_000]


def mount(path: Path, size: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)], check=True)


def unmount(path: Path) -> None:
    subprocess.run(["umount", str(path)], check=True)


def fill(path: Path) -> None:
    """Leave no byte of the disk."""
    with contextlib.suppress(OSError), (path / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def closure_larger_than_the_disk(frontend: FaultyFrontend, folder: Path) -> None:
    mount(folder / "cache", "2m")
    async with Rig(frontend, folder) as rig:
        rig.load()
        await until(lambda: rig.downloader.is_full and not any(rig.downloader.flights))
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
        assert {len(frontend.asked(path)) for path in frontend.generation.objects} == {1}


async def disk_full_of_what_other_hosts_fetch(frontend: FaultyFrontend, folder: Path) -> None:
    """They never end; the installer gets what it asks for, and they are told."""
    mount(folder / "cache", "2m")
    async with Rig(frontend, folder) as rig:
        told = []
        for item in rig.catalogue.items:
            item.watch(lambda item: told.append(item.state))
        rig.load()
        await until(lambda: rig.downloader.is_full and not any(rig.downloader.flights))
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
        assert State.ABSENT in told


async def disk_filled_by_others(frontend: FaultyFrontend, folder: Path) -> None:
    mount(folder / "cache", "2m")
    path = "p5.rpm"
    frontend.always[path] = Fault(chunk=100_000, pause=0.05)
    async with Rig(frontend, folder) as rig:
        asking = asyncio.ensure_future(rig.get("/" + path))
        await until(lambda: rig.catalogue.items[5].verified)
        fill(folder / "cache")
        await until(lambda: "is full" in "".join(text for _, text in frontend.outcomes("packages")))
        (folder / "cache" / "filler").unlink()
        assert (await asking).body == frontend.generation.objects[path]


async def disk_that_stays_full(frontend: FaultyFrontend, folder: Path) -> None:
    from avalanche.agent import downloader, trouble

    trouble.FULL_SECONDS, downloader.ROOM_SECONDS = 1, 1.0
    mount(folder / "cache", "2m")
    async with Rig(frontend, folder) as rig:
        fill(folder / "cache")
        rig.load()
        answer = await rig.get("/p0.rpm")
        assert answer.status == 502, answer.status
        assert b"no room for p0.rpm (300000 bytes) in" in answer.body, answer.body
        await rig.events.flush(5)
        assert "failed" in dict(frontend.outcomes("packages"))


async def run_directory_full(frontend: FaultyFrontend, folder: Path) -> None:
    """What is kept there is for an agent that is started again; this one goes on, and is heard."""
    mount(folder / "run", "64k")
    fill(folder / "run")
    async with Rig(frontend, folder) as rig:
        rig.load()
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
        assert await rig.events.flush(5)
        assert [status for status, _ in frontend.outcomes("packages")] == ["start", "ok"]
        await post_done(rig.client, rig.run, outcome(ATTEMPT, "ok", ""))
        rig.run.say_failed("nothing that could be written")
    try:
        rig.run.say_ready()
    except ConfigError as error:
        assert (
            str(error)
            == f"{rig.run.path}/ready: cannot be written (No space left on device); make room in {rig.run.path}"
        )
    else:
        raise AssertionError("nobody says that the disk is full")
    assert [path.name for path in rig.run.path.iterdir()] == ["filler"]


async def target_disk_appears(frontend: FaultyFrontend, folder: Path) -> None:
    root = folder / "sysroot"
    root.mkdir()
    async with Rig(frontend, folder, limit=1_000_000, roots=(root,)) as rig:
        rig.load()
        await until(lambda: rig.downloader.is_full and not any(rig.downloader.flights))
        assert not list(root.iterdir())
        mount(root, "4g")
        await asyncio.wait_for(rig.downloader.has_closure.wait(), 10)
        cache = root / "var/cache/avalanche"
        assert list(cache.iterdir())
        # The installer mounts /var over it: what is beneath is still reached, and still removed.
        mount(root / "var", "1m")
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data
        unmount(root / "var")
        assert list(cache.iterdir())
    assert not cache.exists()
    assert not (folder / "cache").exists()


async def target_disk_too_small(frontend: FaultyFrontend, folder: Path) -> None:
    """Room on the target is the installer's first; what is cached already is served, the rest comes as it is taken."""
    root = folder / "sysroot"
    async with Rig(frontend, folder, limit=1_000_000, roots=(root,)) as rig:
        rig.load()
        await until(lambda: rig.downloader.is_full and not any(rig.downloader.flights))
        mount(root, "600m")
        for path, data in frontend.generation.objects.items():
            assert (await rig.get("/" + path)).body == data


async def main(scenario: str, folder: Path) -> None:
    chance = random.Random(7)
    objects = {
        f"p{number}.rpm": chance.getrandbits(8 * size).to_bytes(size, "big") for number, size in enumerate(SIZES)
    }
    (folder / "certificates").mkdir()
    frontend = FaultyFrontend(Certificates(folder / "certificates"), Generation(objects))
    await frontend.start()
    await asyncio.wait_for(globals()[scenario](frontend, folder), 40)
    await frontend.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
