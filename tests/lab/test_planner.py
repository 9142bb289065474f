"""Which RPM gets which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.packages.planner import Root, plan_rpms
from lab.packages.spec import RpmPlan

STATUS = """\
Package: base-files
Essential: yes
Status: install ok installed
Priority: required
Architecture: all
Version: 12.4
Description: base

Package: linux-image-6.1.0-1-cloud-amd64
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 6.1.192-2
Depends: base-files
Description: Linux 6.1
Conffiles:
 /etc/kernel.conf 0123
"""
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\nshadow:x:42:\n",
    "etc/shadow": "root:*:1::::::\n",
    "etc/hostname": "the-machine-that-built-me\n",
    "etc/ssh/ssh_host_rsa_key": "secret\n",
    "etc/apt/sources.list": "deb http://archive.example bookworm main\n",
    "etc/generated.conf": "by a maintainer script\n",
    "etc/kernel.conf": "a=1\n",
    "usr/bin/tool": "#!/bin/sh\n",
    "boot/vmlinuz-6.1.0-1-cloud-amd64": "kernel",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/base-files.list": "/.\n/bin\n/bin/tool\n/usr\n/usr/share\n",
    "var/lib/dpkg/info/linux-image-6.1.0-1-cloud-amd64:amd64.list": (
        "/.\n/boot\n/boot/vmlinuz-6.1.0-1-cloud-amd64\n/etc/kernel.conf\n/usr/share/doc/gone\n"
    ),
}


@pytest.fixture
def plans(tmp_path: Path) -> dict[str, RpmPlan]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "usr/share").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "etc/mode").symlink_to("generated.conf")
    return {plan.name: plan for plan in plan_rpms(Root(tmp_path))}


def paths(plan: RpmPlan) -> set[str]:
    return {entry.path for entry in plan.files}


def test_accounts_and_folders_come_first(plans: dict[str, RpmPlan]) -> None:
    assert list(plans)[:3] == ["setup", "filesystem", "debian-base-config"]
    assert paths(plans["setup"]) == {"/etc/passwd", "/etc/group", "/etc/shadow"}
    assert {"/bin", "/usr", "/usr/share", "/proc"} - paths(plans["filesystem"]) == {"/proc"}


def test_a_file_listed_under_a_link_is_packed_where_it_is(plans: dict[str, RpmPlan]) -> None:
    assert paths(plans["base-files"]) == {"/usr/bin/tool"}


def test_what_nobody_owns_is_the_base_configuration(plans: dict[str, RpmPlan]) -> None:
    base = plans["debian-base-config"]
    assert paths(base) == {"/etc/generated.conf", "/etc/mode"}
    assert "Requires: base-files" in base.tags, "an essential package, which nobody else names"


def test_facts_of_the_building_machine_are_in_no_package(plans: dict[str, RpmPlan]) -> None:
    packed = set().union(*map(paths, plans.values()))
    assert not packed & {"/etc/hostname", "/etc/ssh/ssh_host_rsa_key", "/etc/apt/sources.list", "/var/lib/dpkg/status"}


def test_a_kernel_builds_its_initramfs(plans: dict[str, RpmPlan]) -> None:
    kernel = plans["linux-image-6.1.0-1-cloud-amd64"]
    assert kernel.posttrans == "update-initramfs -c -k 6.1.0-1-cloud-amd64 || :"
    assert {"Provides: kernel = 6.1.192-2", "Requires: base-files"} <= set(kernel.tags)
    assert {entry.path: entry.kind for entry in kernel.files}["/etc/kernel.conf"] == "config"


def test_shadow_files_belong_to_root_until_the_group_exists(plans: dict[str, RpmPlan]) -> None:
    (shadow,) = (entry for entry in plans["setup"].files if entry.path == "/etc/shadow")
    assert (shadow.user, shadow.group, shadow.kind) == ("root", "root", "config")
