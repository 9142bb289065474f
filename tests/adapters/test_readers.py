"""Each service file is read by the program it is for, and a bad one is refused with its words."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from avalanche.adapters.readers import ReportRefused, check
from avalanche.config import DhcpConfig
from avalanche.report import REPORTS, Files, Renderer, render
from avalanche.roster import Roster
from tests.rosters import DHCP, entry, roster, rosters

NODESET = str(Path(sys.executable).with_name("nodeset"))


def made(name: str, of: Roster) -> Files:
    return render([name], of, Renderer(), "/run/x")


def machine() -> DhcpConfig:
    """Settings whose cards are there: Kea looks."""
    return replace(DHCP, interfaces=())


@pytest.mark.parametrize("name", REPORTS)
@settings(max_examples=settings().max_examples // 5)
@given(of=rosters())
def test_its_program_reads_what_a_report_made(name: str, of: Roster) -> None:
    if name == "kea":
        of = replace(of, dhcp=machine())
    assert check(name, made(name, of), of)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def test_ssh_finds_a_host_by_all_its_names(key: str, tmp_path: Path) -> None:
    of = roster(entry(0, keys=(key,), aliases=("login",)), entry(1))
    files = made("known_hosts", of)
    assert check("known_hosts", files, of) == "ssh-keygen"
    (tmp_path / "known_hosts").write_text(files["known_hosts"])
    for name in ("compute-0-0", "compute-0-0.local", "login", "10.1.255.254"):
        found = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", str(tmp_path / "known_hosts")], check=True, capture_output=True, text=True
        )
        assert key in found.stdout


def test_nodeset_folds_a_group(tmp_path: Path) -> None:
    of = roster(*(entry(number) for number in range(4)))
    (tmp_path / "groups.d").mkdir()
    (tmp_path / "groups.d" / "a.yaml").write_text(made("clustershell", of)["clustershell.yaml"])
    (tmp_path / "groups.conf").write_text(f"[Main]\ndefault: avalanche\nautodir: {tmp_path}/groups.d\n")
    for group in ("@rack0", "@compute", "@Compute", "@membership:Compute", "@rack:0", "@all"):
        said = subprocess.run(
            [NODESET, "--groupsconf", str(tmp_path / "groups.conf"), "-f", group],
            check=True,
            capture_output=True,
            text=True,
        )
        assert said.stdout == "compute-0-[0-3]\n"


@pytest.mark.parametrize(
    ("name", "path", "extra", "why"),
    [
        ("dnsmasq", "dnsmasq.conf", "no-such-setting\n", "dnsmasq cannot read its file: .*bad option"),
        (
            "dnsmasq",
            "dnsmasq-hosts/compute-0-0",
            "52:54:00:00:00:00,10.1.1.1.1,a b,c d\n",
            "dnsmasq cannot read its file",
        ),
        ("dhcpd", "dhcpd.conf", "subnet {\n", "dhcpd cannot read its file: .*line"),
        ("kea", "kea-dhcp4.conf", "}\n", "kea-dhcp4 cannot read its file: .*syntax error"),
        ("hosts", "hosts", None, "the C library does not read that compute-0-0"),
        ("ethers", "ethers", "not-a-mac\tcompute-0-7\n", "getent cannot read its file: no compute-0-7"),
        ("clustershell", "clustershell.yaml", "more: {x: y}\n", "nodeset"),
        ("known_hosts", "known_hosts", "compute-0-9 ssh-rsa AAAA\n", "ssh-keygen"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(name: str, path: str, extra: str | None, why: str) -> None:
    of = roster(entry(0), dhcp=machine() if name == "kea" else DHCP)
    files = made(name, of)
    files[path] = files[path] + extra if extra is not None else files[path].replace("10.1.255.254", "10.1.255.254.1")
    with pytest.raises(ReportRefused, match=why) as caught:
        check(name, files, of)
    assert "\n" not in str(caught.value)
