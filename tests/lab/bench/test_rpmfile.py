"""RPM files of any size."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.adapters.repodata import read_header
from lab.bench.rpmfile import OVERHEAD, rpm_file


@given(st.integers(OVERHEAD + 16, 200_000))
def test_a_file_is_nearly_as_large_as_was_asked_for(size: int) -> None:
    assert abs(len(rpm_file("p0001-common", size, seed=1)) - size) < 64


def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others() -> None:
    assert rpm_file("a", 5000, seed=1) == rpm_file("a", 5000, seed=1)
    assert rpm_file("a", 5000, seed=1) != rpm_file("a", 5000, seed=2)


@pytest.mark.parametrize("size", [100, 5000, 300_001])
def test_rpm_and_createrepo_take_it(size: int, tmp_path: Path) -> None:
    path = tmp_path / "p0001-common-1-1.noarch.rpm"
    path.write_bytes(rpm_file("p0001-common", size, seed=1))
    checked = subprocess.run(["rpmkeys", "--checksig", "-v", path], capture_output=True, text=True, check=True).stdout
    assert "Payload SHA256 digest: OK" in checked and "BAD" not in checked
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_header(path, path="Packages/p.rpm", sha256=sha256).nevra() == "p0001-common-0:1-1.noarch"


def test_a_flipped_bit_of_the_payload_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "p.rpm"
    data = bytearray(rpm_file("p", 5000, seed=1))
    data[-1] ^= 1
    path.write_bytes(data)
    assert subprocess.run(["rpmkeys", "--checksig", path], capture_output=True, check=False).returncode
