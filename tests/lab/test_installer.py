"""What the mini installer makes of a kickstart; the rest of it is tested with real hosts in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from lab.installer import _COUNTED, InstallFailed, dnf_config, requests


def parse(packages: str, url: str = "url --url=http://127.0.0.1:7070/") -> Any:
    handler = makeVersion("RHEL9")
    KickstartParser(handler).readKickstartFromString(f"{url}\n{packages}\n%end\n")
    return handler


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ("%packages\n@core\nbash", ["@core", "bash"]),
        # Anaconda brings core along unasked.
        ("%packages\nbash", ["@core", "bash"]),
        ("%packages --nocore\nbash", ["bash"]),
        ("%packages\n@^minimal-environment\n-plymouth", ["--exclude=plymouth", "@^minimal-environment", "@core"]),
    ],
)
def test_packages_become_dnf_s_arguments(packages: str, expected: list[str]) -> None:
    assert requests(parse(packages)) == expected


def test_groups_to_leave_out_are_refused_rather_than_ignored() -> None:
    with pytest.raises(InstallFailed, match="cannot leave out groups"):
        requests(parse("%packages\n@core\n-@standard"))


def test_packages_and_repository_data_must_be_signed() -> None:
    lines = dnf_config(parse("%packages")).splitlines()
    assert lines[0] == "[main]" and "[avalanche]" in lines
    for line in ("gpgcheck=1", "repo_gpgcheck=1", "baseurl=http://127.0.0.1:7070", "install_weak_deps=1"):
        assert line in lines
    (keys,) = (line for line in lines if line.startswith("gpgkey="))
    assert keys.split("=")[1].split() == [
        "http://127.0.0.1:7070/RPM-GPG-KEY-avalanche",
        "http://127.0.0.1:7070/RPM-GPG-KEY-packages",
    ]


def test_weak_dependencies_and_documents_are_left_out_on_request() -> None:
    lines = dnf_config(parse("%packages --exclude-weakdeps --excludedocs")).splitlines()
    assert "install_weak_deps=0" in lines and "tsflags=nodocs" in lines


def test_a_kickstart_without_a_source_is_refused() -> None:
    with pytest.raises(InstallFailed, match="names no url"):
        dnf_config(parse("%packages", url=""))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("(12/408): bash-5.2.15-2.x86_64.rpm    2.5 MB/s |  97 kB     00:00", ("12", "408")),
        ("  Installing       : bash-5.2.15-2+b13.x86_64            51/408 ", ("51", "408")),
        ("  Verifying        : bash-5.2.15-2+b13.x86_64            51/408 ", None),
        ("Total download size: 270 M", None),
    ],
)
def test_dnf_s_progress_is_read(line: str, expected: tuple[str, str] | None) -> None:
    found = _COUNTED.search(line)
    assert (found and (found["done"], found["total"])) == expected
