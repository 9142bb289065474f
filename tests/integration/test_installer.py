"""The mini installer and dnf against a plain file server: what is not properly signed is not installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.host import Host, Roots
from lab.network import FRONTEND_ADDRESS, Link, Network, host_address
from lab.packages.comps import comps_xml
from lab.packages.keyring import ThrowAwayKey
from lab.packages.repository import index
from lab.verify import installed_nevras

pytestmark = pytest.mark.lab

VAR = Path(__file__).resolve().parents[2] / "var" / "test" / "installer"
NAMES = ("setup-1-1.noarch.rpm", "filesystem-1-1.noarch.rpm")
KICKSTART = f"""\
url --url=http://{FRONTEND_ADDRESS}/repository
%packages --nocore --exclude-weakdeps
filesystem
%end
%pre --interpreter=/usr/bin/python3 --erroronfail
open("/run/install/pre", "w").write("ran before the packages")
%end
%post --nochroot --erroronfail
cp /run/install/pre /mnt/sysroot/etc/pre
%end
%onerror
touch /mnt/lab/onerror
%end
"""


class Site:
    """A file server's folder: a kickstart and a repository of two packages."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.packages = self.repository / "Packages"
        self.packages.mkdir(parents=True)
        for name in NAMES:
            shutil.copyfile(source / "Packages" / name, self.packages / name)
        self.key = ThrowAwayKey(folder / "gnupg")
        self.key.create()
        self.key.sign_rpms(self.packages.iterdir())
        for name in ("avalanche", "packages"):
            (self.repository / f"RPM-GPG-KEY-{name}").write_text(self.key.export())
        (self.repository / "comps.xml").write_text(comps_xml({"core": ["setup"]}))
        self.index()
        (folder / "install").mkdir()
        (folder / "install/stub").write_text(KICKSTART)

    def index(self) -> None:
        index(self.repository, self.key)


Install = Callable[[Site], tuple[Host, dict[str, Any]]]


@pytest.fixture
def site(repository: Path) -> Iterator[Site]:
    folder = VAR / "www"
    shutil.rmtree(VAR, ignore_errors=True)
    yield Site(folder, repository)
    shutil.rmtree(VAR, ignore_errors=True)


@pytest.fixture
def install(roots: Roots) -> Install:
    def run(site: Site) -> tuple[Host, dict[str, Any]]:
        link = Link("compute-0-0", host_address(0), 1000)
        host = Host(link, VAR / "host")
        with Network([Link("frontend", FRONTEND_ADDRESS, 1000), link]) as network:
            serve = ("python3", "-u", "-m", "http.server", "80", "--directory", str(site.folder))
            with subprocess.Popen(
                network.namespace("frontend").command(*serve), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as server:
                assert server.stdout is not None and server.stdout.readline()
                host.start(network.namespace(link.name), roots, frontend=f"http://{FRONTEND_ADDRESS}", mode="install")
                while host.is_running:
                    if host.status()["stage"] == "waiting":
                        host.release()
                    time.sleep(0.05)
                server.kill()
        result = host.result()
        assert result is not None, host.last_words()
        return host, result

    return run


def test_signed_packages_are_installed_and_scripts_run_in_order(site: Site, install: Install) -> None:
    host, result = install(site)
    assert result["problem"] == ""
    assert installed_nevras(host.folder / "root") == {"setup-0:1-1.noarch", "filesystem-0:1-1.noarch"}
    assert (host.folder / "root/etc/pre").read_text() == "ran before the packages"
    order = [stage for stage, _ in sorted(result["times"].items(), key=lambda item: item[1])]
    assert order == ["stub", "pre", "kickstart", "storage", "waiting", "packages", "post", "done"]


def test_a_package_signed_again_by_somebody_else_is_refused(site: Site, install: Install) -> None:
    stranger = ThrowAwayKey(site.folder / "stranger", owner="Somebody else")
    stranger.create()
    stranger.sign_rpms([site.packages / NAMES[0]])
    site.index()
    host, result = install(site)
    assert "dnf: exit 1" in result["problem"] and "GPG" in result["problem"]
    assert not (host.folder / "root/etc/passwd").exists()
    assert (host.folder / "onerror").exists()


def test_repository_data_with_an_old_signature_is_refused(site: Site, install: Install) -> None:
    signature = site.repository / "repodata/repomd.xml.asc"
    old = signature.read_bytes()
    (site.repository / "comps.xml").write_text(comps_xml({"core": ["filesystem"]}))
    site.index()
    signature.write_bytes(old)
    host, result = install(site)
    assert "dnf: exit 1" in result["problem"]
    assert not (host.folder / "root/etc/passwd").exists()


def test_a_package_with_a_changed_byte_is_refused(site: Site, install: Install) -> None:
    with (site.packages / NAMES[0]).open("r+b") as file:
        file.seek(-10, 2)
        file.write(b"X")
    host, result = install(site)
    assert "dnf: exit 1" in result["problem"]
    assert not (host.folder / "root/etc/passwd").exists()


def test_a_kickstart_that_pykickstart_refuses_ends_the_installation(site: Site, install: Install) -> None:
    (site.folder / "install/stub").write_text("no such command\n" + KICKSTART)
    host, result = install(site)
    assert result["problem"].startswith("pykickstart refuses the kickstart")
    assert not any((host.folder / "root").iterdir())
