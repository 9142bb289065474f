"""Disks in files: partitioned, formatted and mounted by the programs that an installer uses.

The kernel need not know the partitions (in containers it often cannot): each is a loop device of its own.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.baseroll.disks import MIB, Device, disk, part, read

SECTOR = 512
TYPES = {
    "biosboot": "21686148-6449-6E6F-744E-656564454649",
    "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "swap": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
}
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


def run(*command: object, given: str | None = None) -> str:
    done = subprocess.run([str(word) for word in command], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@dataclass(frozen=True)
class Partition:
    """Where it lies on its disk, in bytes, and what blkid says of it."""

    number: int
    start: int
    size: int
    parttype: str
    partuuid: str
    facts: dict[str, str]

    @property
    def label(self) -> str | None:
        return self.facts.get("LABEL")


@dataclass(frozen=True)
class Image:
    """A disk: a file, blank at first. ``name`` is what the kernel calls it during one boot."""

    path: Path
    name: str

    @classmethod
    def blank(cls, path: Path, name: str, *, mebibytes: int) -> Image:
        with path.open("wb") as file:
            file.truncate(mebibytes * MIB)
        return cls(path, name)

    def renamed(self, name: str) -> Image:
        return Image(self.path, name)

    @property
    def digest(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def facts(self, *where: str) -> dict[str, str]:
        """What is there: the same library (libblkid) tells lsblk."""
        command = ["blkid", "--probe", "--output", "export", *where, str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stderr  # 2: nothing is known
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    @property
    def partitions(self) -> list[Partition]:
        if self.facts().get("PTTYPE") != "gpt":
            return []
        rows = json.loads(run("sfdisk", "--json", self.path))["partitiontable"].get("partitions", [])
        found = []
        for number, row in enumerate(rows, start=1):
            start, size = row["start"] * SECTOR, row["size"] * SECTOR
            facts = self.facts("--offset", str(start), "--size", str(size))
            found.append(Partition(number, start, size, row["type"], row["uuid"], facts))
        return found

    def partition(self, label: str) -> Partition:
        (found,) = [one for one in self.partitions if one.label == label]
        return found

    @property
    def device(self) -> Device:
        """The disk as lsblk shows it."""
        children = [
            part(
                f"{self.name}{one.number}", one.label, one.facts.get("TYPE"), size=one.size, uuid=one.facts.get("UUID"),
                partuuid=one.partuuid.lower(), parttype=one.parttype.lower(),
            )
            for one in self.partitions
        ]  # fmt: skip
        facts = self.facts()
        found = disk(self.name, self.path.stat().st_size, children=children)
        return found | {"pttype": facts.get("PTTYPE"), "fstype": facts.get("TYPE"), "label": facts.get("LABEL")}

    @contextmanager
    def attached(self, one: Partition) -> Iterator[str]:
        """A partition as a device."""
        loop = run("losetup", "--find", "--show", "--offset", one.start, "--sizelimit", one.size, self.path).strip()
        try:
            yield loop
        finally:
            run("losetup", "--detach", loop)

    @contextmanager
    def mounted(self, label: str, place: Path) -> Iterator[Path]:
        place.mkdir(exist_ok=True)
        with self.attached(self.partition(label)) as loop:
            run("mount", loop, place)
            try:
                yield place
            finally:
                run("umount", place)


class Installer:
    """Carries storage commands out, as the installer does: what is not seen is not there, clearing comes first."""

    def __init__(self, images: list[Image]) -> None:
        self.images = images

    def carry_out(self, lines: list[str]) -> dict[str, str]:
        """Return the mount points, with the labels of what would be mounted there."""
        handler = read(lines)
        visible = {image.name: image for image in self.images if image.name in handler.ignoredisk.onlyuse}
        if handler.zerombr.zerombr:
            for name in handler.clearpart.drives:
                run("wipefs", "--all", "--quiet", visible[name].path)
                run("sfdisk", "--quiet", visible[name].path, given="label: gpt\n")
        for name, image in visible.items():
            if name not in handler.clearpart.drives:
                continue
            self.make(image, [request for request in handler.partition.partitions if request.disk == name])
        mounts = {}
        for request in handler.partition.partitions:
            if request.onPart:
                image, one = self.resolve(visible, request.onPart)
                if request.format:
                    self.format(image, one, request)
                mounts[request.mountpoint] = request.label or one.label or ""
            else:
                mounts[request.mountpoint] = request.label
        return mounts

    def make(self, image: Image, requests: list[Any]) -> None:
        """Make partitions in the order that anaconda prefers: what grows is last."""
        ordered = sorted(requests, key=lambda request: bool(request.grow))
        for request in ordered:
            size = "" if request.grow else f"size={request.size}MiB, "
            line = f"{size}type={TYPES.get(request.fstype, LINUX)}\n"
            run("sfdisk", "--quiet", "--append", image.path, given=line)
        for request, one in zip(ordered, image.partitions, strict=True):
            assert one.size >= request.size * MIB
            self.format(image, one, request)

    def format(self, image: Image, one: Partition, request: Any) -> None:
        with image.attached(one) as loop:
            options = request.mkfsopts.split() if request.mkfsopts else []
            if request.fstype == "efi":
                run("mkfs.vfat", "-I", "-n", request.label, *options, loop)
            elif request.fstype == "swap":
                run("mkswap", "--quiet", "--label", request.label, loop)
            elif request.fstype == "xfs":
                run("mkfs.xfs", "-q", "-f", "-L", request.label, *options, loop)
            elif request.fstype == "ext4":
                run("mkfs.ext4", "-q", "-F", "-L", request.label, *options, loop)
            else:
                assert request.fstype == "biosboot", request.fstype

    @staticmethod
    def resolve(visible: dict[str, Image], spec: str) -> tuple[Image, Partition]:
        kind, _, value = spec.partition("=")
        ((image, one),) = [
            (image, one)
            for image in visible.values()
            for one in image.partitions
            if value.lower() == (one.partuuid if kind == "PARTUUID" else one.facts.get("UUID", "")).lower()
        ]
        return image, one
