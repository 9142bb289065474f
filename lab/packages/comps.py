"""The groups of the repository (comps.xml). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from lab.packages.debian import DebianPackage

OWN = ("setup", "filesystem", "debian-base-config")
_BOOTS = (
    "systemd-sysv", "systemd-resolved", "openssh-server", "linux-image-cloud-amd64", "initramfs-tools", "grub-pc-bin",
    "grub-efi-amd64-bin", "grub2-common", "python3", "zstd", "dbus",
)  # fmt: skip
_HPC = ("gcc", "make", "openmpi-bin", "environment-modules", "nfs-common", "numactl", "pdsh")
_NAMES = {"core": "Core", "standard": "Standard", "hpc": "High performance computing", "everything": "Everything"}


def groups(packages: Iterable[DebianPackage]) -> dict[str, tuple[str, ...]]:
    """Return the packages of each group: ``core`` boots, ``standard`` is a comfortable server, ``hpc`` computes."""
    by_priority: dict[str, set[str]] = {}
    for package in packages:
        by_priority.setdefault(package.priority, set()).add(package.name)
    everything = set().union(*by_priority.values())

    def sort(names: set[str]) -> tuple[str, ...]:
        return tuple(sorted(names & everything))

    core = by_priority.get("required", set()) | by_priority.get("important", set()) | set(_BOOTS)
    return {
        "core": (*OWN, *sort(core)),
        "standard": sort(by_priority.get("standard", set())),
        "hpc": sort(set(_HPC)),
        "everything": (*OWN, *sort(everything)),
    }


def comps_xml(members: Mapping[str, Iterable[str]]) -> str:
    """Return the document for these groups, with one environment: core, and standard as its option."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<comps>"]
    for group, names in members.items():
        title = escape(_NAMES.get(group, group))
        lines.append(f"<group><id>{escape(group)}</id><name>{title}</name><description>{title}</description>")
        lines.append("<default>true</default><uservisible>true</uservisible><packagelist>")
        lines += [f'<packagereq type="mandatory">{escape(name)}</packagereq>' for name in names]
        lines.append("</packagelist></group>")
    lines.append(
        "<environment><id>minimal-environment</id><name>Minimal</name><description>Boots, and no more</description>"
    )
    lines.append("<display_order>1</display_order><grouplist><groupid>core</groupid></grouplist>")
    lines.append("<optionlist><groupid>standard</groupid></optionlist></environment>")
    lines.append("</comps>")
    return "\n".join(lines) + "\n"
