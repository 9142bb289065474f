"""The node partition, run as on a host, on disks in files: data outlives installations, doubt touches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.kickstart import pre_scripts
from tests.baseroll.appliances import rolls
from tests.baseroll.disks import environment
from tests.baseroll.images import Image, Installer, run

POLICY, COMMANDS = Path("/tmp/avalanche-disk.policy"), Path("/tmp/avalanche-disk.ks")
SMALL = {"disk_min_gb": "0", "disk_root_mb": "8192", "disk_swap_mb": "256"}
WIPE = {"disk_policy": "wipe", "order_wipe": "true"}
SYSTEM = {"/boot/efi": "OSEFI", "/boot": "osboot", "swap": "osswap", "/": "osroot", "biosboot": ""}


def pre(
    tmp_path: Path, images: list[Image], *, appliance: str = "compute", **attributes: str
) -> subprocess.CompletedProcess[str]:
    """Run the <pre> scripts of an appliance where lsblk sees these disks and no others; /tmp is the test's."""
    bin_ = tmp_path / "bin"
    bin_.mkdir(exist_ok=True)
    listing = tmp_path / "lsblk.json"
    listing.write_text(json.dumps({"blockdevices": [image.device for image in images]}))
    for name, does in {"lsblk": f"cat {listing}", "udevadm": "exit 0"}.items():
        program = bin_ / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    for left in (POLICY, COMMANDS):
        (tmp_path / left.name).unlink(missing_ok=True)
    given = free_attributes(appliance, "el9", {**SMALL, **attributes})
    for script in pre_scripts(compile_profile(rolls(), appliance, given), given):
        path = tmp_path / "script"
        path.write_text(script.body.replace("/tmp/avalanche-disk", f"{tmp_path}/avalanche-disk"))
        interpreter = sys.executable if script.interpreter.endswith("python3") else script.interpreter
        done = subprocess.run([interpreter, path], env=environment(bin_), capture_output=True, text=True, check=False)
        if done.returncode:
            break
    return done


def plan(tmp_path: Path, images: list[Image], **attributes: str) -> list[str]:
    done = pre(tmp_path, images, **attributes)
    assert done.returncode == 0, done.stderr
    return (tmp_path / COMMANDS.name).read_text().splitlines()


@pytest.mark.parametrize("file_system", ["xfs", "ext4"])
def test_a_file_on_the_data_partition_survives_a_reinstallation(tmp_path: Path, file_system: str):
    image = Image.blank(tmp_path / "disk", "sda", mebibytes=14_000)
    lines = plan(tmp_path, [image], disk_state_fs=file_system)
    assert lines[0] == "# disks: first"
    assert Installer([image]).carry_out(lines) == {**SYSTEM, "/state/partition1": "state1"}
    for label in ("state1", "osroot"):
        with image.mounted(label, tmp_path / "mnt") as place:
            (place / "file").write_text("a month of work")
    before = image.partition("state1")

    # The next boot may find it under another name.
    image = image.renamed("sdb")
    lines = plan(tmp_path, [image], disk_state_fs=file_system)
    assert lines[0] == "# disks: reinstall"
    assert f"part /state/partition1 --onpart=UUID={before.facts['UUID']} --noformat" in lines
    assert Installer([image]).carry_out(lines)["/state/partition1"] == "state1"

    assert image.partition("state1") == before
    with image.mounted("state1", tmp_path / "mnt") as place:
        assert (place / "file").read_text() == "a month of work"
    with image.mounted("osroot", tmp_path / "mnt") as place:
        assert not (place / "file").exists()
    assert image.partition("osboot").facts["TYPE"] == "ext4"


def test_a_wipe_that_was_ordered_clears_the_system_disk_and_no_other(tmp_path: Path):
    system = Image.blank(tmp_path / "system", "sda", mebibytes=14_000)
    Installer([system]).carry_out(plan(tmp_path, [system]))
    data = Image.blank(tmp_path / "data", "sdb", mebibytes=340)
    run("sfdisk", "--quiet", data.path, given="label: gpt\nsize=320MiB\n")
    with data.attached(data.partitions[0]) as loop:
        run("mkfs.ext4", "-q", "-L", "state2", loop)
    with data.mounted("state2", tmp_path / "mnt") as place:
        (place / "file").write_text("ten years of work")
    with system.mounted("state1", tmp_path / "mnt") as place:
        (place / "file").write_text("given up by the order")
    digest = data.digest

    lines = plan(tmp_path, [data, system], **WIPE)
    assert lines[0] == "# disks: wipe"
    mounts = Installer([data, system]).carry_out(lines)

    assert mounts["/state/partition2"] == "state2"
    assert data.digest == digest
    with system.mounted("state1", tmp_path / "mnt") as place:
        assert not (place / "file").exists()


def test_a_new_system_disk_finds_the_data_of_the_old_host(tmp_path: Path):
    old = Image.blank(tmp_path / "old", "sda", mebibytes=340)
    run("sfdisk", "--quiet", old.path, given="label: gpt\nsize=320MiB\n")
    with old.attached(old.partitions[0]) as loop:
        run("mkfs.xfs", "-q", "-L", "state1", loop)
    digest = old.digest
    new = Image.blank(tmp_path / "new", "sdb", mebibytes=12_000)
    mounts = Installer([old, new]).carry_out(plan(tmp_path, [old, new]))
    assert mounts == {**SYSTEM, "/state/partition1": "state1"}
    assert old.digest == digest
    assert [one.label for one in new.partitions] == [None, "OSEFI", "osboot", "osswap", "osroot"]


@pytest.mark.parametrize("kind", ["file system", "partition", "swap"])
def test_foreign_data_stops_the_installation_and_stays_as_it_is(tmp_path: Path, kind: str):
    image = Image.blank(tmp_path / "disk", "sda", mebibytes=340)
    if kind == "file system":
        run("mkfs.ext4", "-q", "-F", "-L", "mine", image.path)
    elif kind == "swap":
        run("mkswap", "--quiet", image.path)
    else:
        run("sfdisk", "--quiet", image.path, given="label: dos\nsize=320MiB\n")
    digest = image.digest
    done = pre(tmp_path, [image])
    assert done.returncode != 0
    assert "no disk was touched: no blank disk: sda (serial S-sda) hold foreign data" in done.stderr
    assert not (tmp_path / COMMANDS.name).exists()
    assert image.digest == digest


def test_two_copies_of_a_disk_stop_the_installation(tmp_path: Path):
    one = Image.blank(tmp_path / "one", "sda", mebibytes=12_000)
    Installer([one]).carry_out(plan(tmp_path, [one]))
    run("cp", "--sparse=always", one.path, tmp_path / "two")
    done = pre(tmp_path, [one, Image(tmp_path / "two", "sdb")], **WIPE)
    assert "take one away" in done.stderr
    assert done.returncode != 0


def test_a_host_that_serves_data_shows_its_system_disk_only(tmp_path: Path):
    system = Image.blank(tmp_path / "system", "sda", mebibytes=12_000)
    data = Image.blank(tmp_path / "data", "sdb", mebibytes=340)
    done = pre(tmp_path, [system, data], appliance="nas")
    assert "name its system disk in the attribute disk_os" in done.stderr
    lines = plan(tmp_path, [system, data], appliance="nas", disk_os="S-sda")
    assert "ignoredisk --only-use=sda" in lines


def test_a_site_s_own_commands_stay(tmp_path: Path):
    """The node custom-partition may write them; the planner then asks no disk."""
    image = Image.blank(tmp_path / "disk", "sda", mebibytes=340)
    done = pre(tmp_path, [image], disk_policy="manual")
    assert "disk_policy is manual" in done.stderr
    own = tmp_path / COMMANDS.name
    own.write_text("clearpart --none\n")
    script = tmp_path / "script"  # the last one that ran: the planner
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, own.read_text()) == (0, "clearpart --none\n")
