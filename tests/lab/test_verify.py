"""The lab's judgement of a host."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from avalanche.manifest import Entry, Manifest
from lab.contained import CommandFailed
from lab.verify import digests, install_problem, installed_nevras, package_problem, packages_of

DIGEST = hashlib.sha256(b"bash").hexdigest()
BASH = Entry("Packages/b/bash-5-1.x86_64.rpm", 4, DIGEST, "0" * 64, (), "bash-0:5-1.x86_64")
DASH = replace(BASH, path="Packages/d/dash-1-1.x86_64.rpm", nevra="dash-0:1-1.x86_64")
DATA = replace(BASH, path="repodata/repomd.xml", nevra=None)
CLOSURE = Manifest("g-0123456789abcdef", (BASH, DASH, DATA))
GOOD = {"bash-5-1.x86_64.rpm": DIGEST, "dash-1-1.x86_64.rpm": DIGEST}


def test_repository_data_is_no_package() -> None:
    assert packages_of(CLOSURE) == (BASH, DASH)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (GOOD, ""),
        ({"bash-5-1.x86_64.rpm": DIGEST}, "1 packages missing, first dash-1-1.x86_64.rpm"),
        (GOOD | {"dash-1-1.x86_64.rpm": "f" * 64}, "dash-1-1.x86_64.rpm has bytes that are not the manifest's"),
        (GOOD | {"more-1-1.noarch.rpm": DIGEST}, "more-1-1.noarch.rpm is not in the closure"),
    ],
)
def test_the_packages_of_a_host_are_the_manifest_s_or_it_is_said_how_they_differ(
    found: dict[str, str], problem: str
) -> None:
    assert package_problem(found, CLOSURE) == problem


def test_installed_packages_are_compared_as_a_set() -> None:
    assert install_problem({"dash-0:1-1.x86_64", "bash-0:5-1.x86_64"}, CLOSURE) == ""
    problem = install_problem({"dash-0:1-1.x86_64", "vi-0:1-1.x86_64"}, CLOSURE)
    assert problem == ("rpm -qa differs from the closure: 1 missing ['bash-0:5-1.x86_64'], 1 more ['vi-0:1-1.x86_64']")


def test_files_are_hashed_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.rpm").write_bytes(b"bash")
    assert digests(tmp_path.iterdir()) == {"a.rpm": DIGEST}


def test_a_root_without_a_database_is_no_empty_installation(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="has no RPM database"):
        installed_nevras(tmp_path)
