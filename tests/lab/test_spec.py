"""Spec files, and RPMs made of them by the real rpmbuild."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.packages.debian import Evr
from lab.packages.repository import build_rpms
from lab.packages.spec import FileEntry, RpmPlan, inputs, quote, spec_text

PLAN = RpmPlan(
    name="tool",
    evr=Evr("1", "2.0", "3"),
    is_noarch=True,
    summary="100 % useful",
    description="A tool.\n%prep is a word, too.",
    tags=("Requires: other >= 1", "Provides: thing = 2"),
    files=(
        FileEntry("/etc/tool.conf", "config", 0o640),
        FileEntry("/usr/bin/tool", "file", 0o755),
        FileEntry("/usr/bin/t", "link"),
        FileEntry("/usr/lib/systemd/system/dev-disk\\x2dby.mount", "file", 0o644),
        FileEntry("/var/lib/tool", "directory", 0o700),
    ),
    posttrans="true",
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a b", '"/a b"'),
        ("/100%", '"/100%%"'),
        ("/dev\\x2ddisk", '"/dev?x2ddisk"'),
    ],
)
def test_paths_are_quoted_for_rpmbuild(path: str, expected: str) -> None:
    assert quote(path) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (PLAN.files[0], '%config(noreplace) %attr(0640,root,root) "/etc/tool.conf"'),
        (PLAN.files[2], '%attr(-,root,root) "/usr/bin/t"'),
        (PLAN.files[4], '%dir %attr(0700,root,root) "/var/lib/tool"'),
    ],
)
def test_entries_carry_owner_mode_and_kind(entry: FileEntry, expected: str) -> None:
    assert entry.line() == expected


def test_a_spec_says_what_the_plan_says() -> None:
    text = spec_text(PLAN, root="/root-of-files", folder="/work")
    for line in ("Name: tool", "Epoch: 1", "Version: 2.0", "Release: 3", "BuildArch: noarch", "Summary: 100 %% useful"):
        assert line in text.splitlines()
    assert "%%prep is a word, too." in text
    assert "%posttrans\ntrue\n" in text


def test_folders_are_made_and_files_are_copied() -> None:
    written = inputs(PLAN)
    assert b"var/lib/tool\0" in written["directories"]
    assert b"var/lib/tool" not in written["listing"]
    assert written["listing"].split(b"\0")[0] == b"etc/tool.conf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, text in (("etc/tool.conf", "a=1\n"), ("usr/bin/tool", "#!/bin/sh\n")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "usr/bin/t").symlink_to("tool")
    unit = root / "usr/lib/systemd/system/dev-disk\\x2dby.mount"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Mount]\n")
    return root


def query(rpm: Path, *arguments: str) -> list[str]:
    command = ["rpm", "--query", "--package", "--nosignature", *arguments, str(rpm)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_rpmbuild_makes_the_package_of_the_plan(tmp_path: Path, root: Path) -> None:
    packages = tmp_path / "Packages"
    packages.mkdir()
    build_rpms([PLAN], root=root, packages=packages, work=tmp_path / "work")
    (rpm,) = packages.iterdir()
    assert rpm.name == PLAN.filename == "tool-2.0-3.noarch.rpm"
    assert set(query(rpm, "--list")) == {entry.path for entry in PLAN.files}
    assert query(rpm, "--queryformat", "%{EPOCH}:%{EVR} %{PAYLOADCOMPRESSOR} %{BUILDHOST}") == [
        "1:1:2.0-3 zstd lab.invalid"
    ]
    assert "thing = 2" in query(rpm, "--provides")
    assert "other >= 1" in query(rpm, "--requires")
    modes = query(rpm, "--queryformat", "[%{FILENAMES} %{FILEMODES:octal}\n]")
    assert "/etc/tool.conf 100640" in modes


def test_a_finished_rpm_is_not_built_again(tmp_path: Path, root: Path) -> None:
    packages = tmp_path / "Packages"
    packages.mkdir()
    finished = packages / PLAN.filename
    finished.write_text("kept")
    build_rpms([PLAN], root=root, packages=packages, work=tmp_path / "work")
    assert finished.read_text() == "kept"
