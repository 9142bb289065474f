"""The groups of the repository."""

from __future__ import annotations

from lxml import etree

from lab.packages.comps import comps_xml, groups
from lab.packages.debian import parse_status


def status(name: str, priority: str) -> str:
    return f"Package: {name}\nStatus: install ok installed\nPriority: {priority}\nArchitecture: all\nVersion: 1\n"


PACKAGES = parse_status(
    "\n".join(
        [status("bash", "required"), status("less", "standard"), status("gcc", "optional"), status("zstd", "optional")]
    )
)


def test_core_boots_and_everything_is_everything() -> None:
    found = groups(PACKAGES)
    own = ("setup", "filesystem", "debian-base-config")
    assert found == {
        "core": (*own, "bash", "zstd"),
        "standard": ("less",),
        "hpc": ("gcc",),
        "everything": (*own, "bash", "gcc", "less", "zstd"),
    }


def test_the_document_has_groups_and_an_environment() -> None:
    root = etree.fromstring(comps_xml({"core": ["a&b"], "standard": []}).encode())
    assert [group.findtext("id") for group in root.iter("group")] == ["core", "standard"]
    assert [item.text for item in root.iter("packagereq")] == ["a&b"]
    assert root.findtext("environment/grouplist/groupid") == "core"
