"""dnsmasq's files follow the inventory, also over a disk that is full for a while (the rest: tests/integration)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from avalanche.cluster import Cluster, Host, Interface
from avalanche.config import DhcpConfig
from avalanche.frontend import dhcp as module
from avalanche.frontend.dhcp import Dhcp
from avalanche.network import Network, parse_addresses
from tests.agent.rig import until
from tests.smalldisk import SmallDisk

PRIVATE = Network("private", parse_addresses("10.1.0.0/16"), "local")


def cluster(revision: int, addresses: dict[int, int]) -> Cluster:
    """Hosts by rank, each with the last byte of its address."""
    hosts = {}
    for rank, byte in addresses.items():
        card = Interface(f"52:54:00:00:00:{rank:02x}", f"10.1.0.{byte}", network="private")
        hosts[f"compute-0-{rank}"] = Host(f"compute-0-{rank}", "compute", 0, rank, (card,))
    return Cluster(revision, appliances={}, settings=(), hosts=hosts, networks={"private": PRIVATE})


class World:
    """An inventory that changes, and what dnsmasq is told of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now = cluster(1, {})
        self.told: list[signal.Signals] = []
        config = DhcpConfig(interfaces=("eth0",), run=str(folder))
        self.dhcp = Dhcp(config, self._inventory, lambda _: {})
        monkeypatch.setattr(self.dhcp, "_signal", self.told.append)
        monkeypatch.setattr(module, "SOON_SECONDS", 0.05)

    async def _inventory(self) -> Cluster:
        return self.now

    @property
    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / "dnsmasq-hosts").iterdir()}


@pytest.fixture
def world(small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> World:
    (small_disk.root / "run").mkdir()
    return World(small_disk.root / "run", monkeypatch)


async def test_after_a_full_disk_dnsmasq_is_told_of_what_changed_before_it_was_full(
    world: World, small_disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    world.now = cluster(1, {1: 1, 2: 2})
    await world.dhcp.refresh()
    world.told.clear()
    # compute-0-1 takes another address, for which there is room, and eighty hosts come, for which there is none.
    world.now = cluster(2, {1: 9, **{number: number + 10 for number in range(2, 82)}})
    before = world.files
    following = asyncio.create_task(world.dhcp.follow())
    with small_disk.full(leave=8192):
        await until(lambda: caplog.records)
        assert "No space left on device" in str(vars(caplog.records[0]))
        assert before["compute-0-1"] != world.files["compute-0-1"]
        assert (before.keys() <= world.files.keys(), len(world.files) < 81) == (True, True)
        assert world.told == []
    await until(lambda: world.told)
    following.cancel()
    assert world.files == {f"compute-0-{rank}": world.files[f"compute-0-{rank}"] for rank in range(1, 82)}
    # Only new files were written this time, which dnsmasq sees by itself; it does not see who has an address no more.
    assert world.told == [signal.SIGHUP]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["dhcp keeps its old files"]
    assert small_disk.names() == sorted(
        f"run/{name}" for name in ("dnsmasq.conf", *(f"dnsmasq-hosts/{host}" for host in world.files))
    )


async def test_settings_that_do_not_fit_to_be_tried_leave_nothing(world: World, small_disk: SmallDisk) -> None:
    with small_disk.full():
        with pytest.raises(OSError, match="No space left on device"):
            await world.dhcp.refresh()
        assert small_disk.names() == []
    await world.dhcp.refresh()
    assert small_disk.names() == ["run/dnsmasq.conf"]
