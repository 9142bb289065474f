"""Disks as lsblk shows them, and what the installer makes of a plan."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from pykickstart.parser import KickstartParser

from avalanche.judge import HANDLERS
from tests.baseroll.appliances import RELEASES, planner
from tests.handlers import handler_of

GIB = 2**30
MIB = 2**20
PLANNER = planner()
Refused = PLANNER.Refused
Device = dict[str, Any]


def disk(name: str, size: int = 480 * GIB, tran: str | None = "sata", **more: Any) -> Device:
    """A disk, blank unless it has children or more is said."""
    device: Device = {"name": name, "type": "disk", "size": size, "ro": False, "rm": False, "tran": tran}
    device |= {"serial": f"S-{name}", "wwn": None, "pttype": None, "fstype": None, "label": None}
    if more.get("children"):
        device["pttype"] = "gpt"
    return device | more


def part(name: str, label: str | None = None, fstype: str | None = None, **more: Any) -> Device:
    device: Device = {"name": name, "type": "part", "size": GIB, "ro": False, "rm": False, "tran": None}
    device |= {"label": label, "fstype": fstype, "uuid": f"u-{name}" if fstype else None, "partuuid": f"p-{name}"}
    return device | {"parttype": None} | more


def installed(name: str, *, states: Iterable[str] = ("state1",), **more: Any) -> Device:
    """A disk that this roll has installed to."""
    children = [
        part(f"{name}1", parttype=PLANNER.BIOSBOOT),
        part(f"{name}2", "OSEFI", "vfat"),
        part(f"{name}3", "osboot", "ext4"),
        part(f"{name}4", "osswap", "swap"),
        part(f"{name}5", "osroot", "xfs"),
    ]
    children += [part(f"{name}{number}", label, "xfs") for number, label in enumerate(states, start=6)]
    return disk(name, children=children, **more)


def mirrored(*names: str) -> list[Device]:
    """Two disks that this roll has made a mirror of."""
    labels = {
        2: ("OSEFI", "vfat"),
        3: ("osboot", "ext4"),
        4: ("osswap", "swap"),
        5: ("osroot", "xfs"),
        6: ("state1", "xfs"),
    }
    disks = []
    for name in names:
        children = [part(f"{name}1", parttype=PLANNER.BIOSBOOT)]
        for number, (label, fstype) in labels.items():
            member = part(f"{name}{number}", f"host:{label}", "linux_raid_member")
            member["children"] = [part(f"md{120 + number}", label, fstype, type="raid1")]
            children.append(member)
        disks.append(disk(name, children=children))
    return disks


def policy(**said: object) -> Any:
    return PLANNER.Policy("".join(f"{key}={value}\n" for key, value in said.items()))


def plan(devices: list[Device], firmware: str = "uefi", **said: object) -> tuple[str, list[str]]:
    """Plan, and let every release's installer read the plan without a warning."""
    mode, lines = PLANNER.plan(devices, firmware, policy(**said))
    for release in RELEASES:
        read(lines, release=release)
    return mode, lines


def read(lines: Iterable[str], *, release: str = "el9") -> Any:
    """What the installer of a release understands."""
    made = handler_of(HANDLERS[release])
    parser = KickstartParser(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Each disk of a mirror is booted from, so each has a partition for BIOS; pykickstart expects one.
        warnings.filterwarnings("ignore", message="A partition with the mountpoint biosboot has already been defined")
        parser.readKickstartFromString("".join(f"{line}\n" for line in lines))
    return made


def environment(folder: os.PathLike[str]) -> Mapping[str, str]:
    """An environment in which ``folder`` has the first word about which program runs."""
    return {**os.environ, "PATH": f"{os.fspath(folder)}:{os.environ['PATH']}"}
