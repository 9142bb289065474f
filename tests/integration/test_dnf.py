"""Real dnf against the agent's proxy: a small repository of real RPMs, over a frontend that fails in between."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.conftest import certificates, folder  # noqa: F401 - fixtures
from tests.agent.faulty import Certificates, Fault, FaultyFrontend, Generation
from tests.agent.rig import Rig

pytestmark = pytest.mark.lab

SPEC = """
Name: {name}
Version: 1
Release: 1
Summary: A package of a test
License: Apache-2.0
BuildArch: noarch
%description
%install
mkdir -p %{{buildroot}}/opt/avalanche-test
head -c {size} /dev/urandom > %{{buildroot}}/opt/avalanche-test/{name}
%files
/opt/avalanche-test/{name}
"""
PACKAGES = {"plain": 1000, "libplus++": 700_000, "large": 3_000_000}


def build_repository(root: Path) -> dict[str, bytes]:
    """Build the packages and their repodata, and return every file by its path."""
    for name, size in PACKAGES.items():
        spec = root / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, size=size))
        folders = ["--define", f"_topdir {root}/build", "--define", f"_rpmdir {root}/repo"]
        subprocess.run(["rpmbuild", "-bb", "--quiet", *folders, str(spec)], check=True, capture_output=True)
    maker = Path(sys.executable).with_name("createrepo_c")
    subprocess.run([str(maker), "--quiet", str(root / "repo")], check=True, capture_output=True)
    files = sorted(path for path in (root / "repo").rglob("*") if path.is_file())
    return {str(path.relative_to(root / "repo")): path.read_bytes() for path in files}


def installed(root: Path) -> set[str]:
    command = ["rpm", "--root", str(root), "-qa", "--qf", "%{NAME}\n"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


async def dnf(port: int, root: Path, *words: str) -> tuple[int, str]:
    options = [
        f"--installroot={root}",
        "--disablerepo=*",
        f"--repofrompath=av,http://127.0.0.1:{port}/",
        "--enablerepo=av",
        "--releasever=9",
        "--setopt=reposdir=/none",
        "--setopt=av.gpgcheck=0",
        "--setopt=keepcache=1",
        "--setopt=max_parallel_downloads=10",
    ]
    process = await asyncio.create_subprocess_exec(
        "dnf", "-y", *options, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("prefetch", [True, False])
async def test_dnf_takes_its_packages_from_the_proxy(
    prefetch: bool,
    certificates: Certificates,  # noqa: F811
    folder: Path,  # noqa: F811
) -> None:
    objects = build_repository(folder)
    closure = [path for path in objects if path.endswith(".rpm")]
    frontend = FaultyFrontend(certificates, Generation(objects, closure=closure))
    await frontend.start()
    large = next(path for path in closure if "large" in path)
    frontend.faults[large].extend([Fault(cut=1_000_000), Fault(flip=1_500_000), Fault(status=503), Fault(cut=1)])
    async with Rig(frontend, folder) as rig:
        if prefetch:
            rig.load()
        status, output = await dnf(rig.port, folder / "root", "install", *PACKAGES)
        assert status == 0, output
        assert rig.asked >= set(closure)
        assert installed(folder / "root") == set(PACKAGES)
        status, output = await dnf(rig.port, folder / "root", "install", "no-such-package")
        assert status != 0
    await frontend.stop()


async def test_dnf_never_gets_a_corrupt_package(
    certificates: Certificates,  # noqa: F811
    folder: Path,  # noqa: F811
) -> None:
    objects = build_repository(folder)
    frontend = FaultyFrontend(certificates, Generation(objects))
    await frontend.start()
    large = next(path for path in objects if "large" in path)
    frontend.always[large] = Fault(flip=100)
    async with Rig(frontend, folder) as rig:
        status, output = await dnf(rig.port, folder / "root", "install", "--setopt=retries=1", "large")
        assert status != 0
        assert "502" in output, output
    await frontend.stop()
