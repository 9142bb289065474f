"""Packages to import, a frontend's state directory to import them into, and the real dnf to compare with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avalanche.adapters.distributions import Distributions
from avalanche.adapters.signing import SigningKey
from tests.adapters.headers import Dnf
from tests.adapters.rpms import COMPS, Vendor, build_rpm, make_vendor


@pytest.fixture(scope="session")
def new_vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Vendor]]:
    made: list[Vendor] = []

    def make() -> Vendor:
        made.append(make_vendor(tmp_path_factory.mktemp("vendor")))
        return made[-1]

    yield make
    for vendor in made:
        environment = {**os.environ, "GNUPGHOME": str(vendor.home)}
        subprocess.run(["gpgconf", "--kill", "all"], check=True, env=environment)
        shutil.rmtree(vendor.home)


@pytest.fixture(scope="session")
def vendor(new_vendor: Callable[[], Vendor]) -> Vendor:
    return new_vendor()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Path:
    """A folder of four signed packages with groups: alpha needs beta, which has an epoch; and names that need care."""
    folder = tmp_path_factory.mktemp("folder")
    build_rpm(folder / "Packages", "alpha", tags="Requires: beta", files={"/usr/bin/alpha": b"#!/bin/sh\n"})
    build_rpm(folder / "Packages", "beta", tags="Epoch: 2", files={"/usr/share/beta/data": os.urandom(600_000)})
    build_rpm(folder / "Packages", "gcc-c++", tags="Version: 1.0~rc1^git")
    build_rpm(folder / "other", "delta", rpm="délta 100%+ x.rpm")
    (folder / "comps.xml").write_bytes(COMPS)
    vendor.sign(*folder.rglob("*.rpm"))
    return folder


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a signing key, to be copied: a key takes a while."""
    state = tmp_path_factory.mktemp("state")
    SigningKey.create(state / "gnupg")
    return state


@pytest.fixture
def state(initialised: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(initialised, tmp_path / "state"))


@pytest.fixture
def distributions(state: Path) -> Distributions:
    return Distributions(state)


@pytest.fixture(scope="session")
def dnf() -> Iterator[Dnf]:
    program = ["/usr/bin/python3", str(Path(__file__).with_name("dnf_oracle.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Dnf(process)
        assert process.stdin
        process.stdin.close()
