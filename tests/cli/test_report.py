"""``avalanche report`` prints, checks and writes service files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frontend.rig import Result, avalanche, make_roll, run
from tests.smalldisk import SmallDisk


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    avalanche("init", "--state", folder, "--address", "10.1.1.1", "--roll", make_roll(tmp_path / "roll"))
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16", "--zone", "local", "--state", folder)
    for number in range(3):
        mac, ip = f"52:54:00:00:00:0{number}", f"10.1.255.{254 - number}"
        avalanche("host", "add", f"compute-0-{number}", "--mac", mac, "--ip", ip, "--state", folder)
    return folder


def declare(state: Path) -> None:
    with (state / "avalanche.toml").open("a") as file:
        file.write('\n[dhcp]\ninterfaces = ["eth1"]\n')


def report(state: Path, *arguments: object) -> Result:
    return run("report", *arguments, "--state", state)


def test_one_file_is_printed(state: Path) -> None:
    assert report(state, "hosts").out.endswith(
        "10.1.255.252\tcompute-0-2.local compute-0-2\n"
        "10.1.255.253\tcompute-0-1.local compute-0-1\n"
        "10.1.255.254\tcompute-0-0.local compute-0-0\n"
    )


def test_a_node_set_leaves_the_other_hosts_out(state: Path) -> None:
    assert [line.split()[1] for line in report(state, "ethers", "compute-0-[1-2]").out.splitlines()[1:]] == [
        "compute-0-1",
        "compute-0-2",
    ]


@pytest.mark.parametrize(
    ("rocks", "ours"), [(("host", "dhcpd"), "dhcpd"), (("host",), "hosts"), (("knownhosts",), "known_hosts")]
)
def test_rocks_names_are_known(state: Path, rocks: tuple[str, ...], ours: str) -> None:
    found = report(state, *rocks)
    assert found.status == 0
    assert found.out == report(state, ours).out


def test_all_files_are_written_and_a_second_time_none(state: Path, tmp_path: Path) -> None:
    declare(state)
    first = json.loads(report(state, "--write", tmp_path / "out", "--json").out)
    assert {row["report"]: len(row["written"]) for row in first} == {
        "dnsmasq": 4, "dhcpd": 1, "kea": 1, "hosts": 1, "ethers": 1, "clustershell": 1, "known_hosts": 1
    }  # fmt: skip
    second = json.loads(report(state, "--write", tmp_path / "out", "--json").out)
    assert all(not row["written"] and not row["removed"] for row in second)

    avalanche("host", "remove", "compute-0-2", "--state", state)
    told = report(state, "--write", tmp_path / "out", "--dry-run", "--json").out
    third = json.loads(report(state, "--write", tmp_path / "out", "--json").out)
    assert json.loads(told) == third
    assert third[0]["removed"] == ["dnsmasq-hosts/compute-0-2"]
    assert not (tmp_path / "out" / "dnsmasq-hosts" / "compute-0-2").exists()


@pytest.mark.parametrize("leave", [0, 8192])
def test_a_disk_that_is_full_is_one_line_that_names_a_file_and_no_file_is_cut_off(
    state: Path, small_disk: SmallDisk, leave: int
) -> None:
    declare(state)
    folder = small_disk.root / "out"
    assert report(state, "--write", folder).status == 0
    before = {name: (small_disk.root / name).read_text() for name in small_disk.names()}
    lines = [f"compute-1-{number},52:54:00:00:01:{number:02x},10.1.1.{number + 1}\n" for number in range(40)]
    (state / "hosts.csv").write_text("host,mac,ip\n" + "".join(lines))
    avalanche("host", "import", state / "hosts.csv", "--state", state)
    with small_disk.full(leave=leave):
        full = report(state, "--write", folder)
        between = {name: (small_disk.root / name).read_text() for name in small_disk.names()}
    assert (full.status, full.out, full.err.count("\n")) == (1, "", 1)
    assert full.err.startswith(f"{folder}/") and full.err.endswith(": No space left on device\n")
    assert "/." not in full.err
    assert report(state, "--write", folder).status == 0
    after = {name: (small_disk.root / name).read_text() for name in small_disk.names()}
    assert len(after) == len(before) + 40
    assert before.keys() <= between.keys() <= after.keys()
    assert all(text in (before.get(name), after[name]) for name, text in between.items())


def test_without_declared_cards_there_is_no_dnsmasq(state: Path, tmp_path: Path) -> None:
    assert "dnsmasq" not in report(state, "--write", tmp_path / "out").out
    refused = report(state, "dnsmasq")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith("dhcp.interfaces is missing in avalanche.toml")


def test_programs_read_what_is_made(state: Path) -> None:
    found = json.loads(report(state, "--check", "--json").out)
    assert {row["report"]: row["read_by"] for row in found} == {
        "dhcpd": "dhcpd",
        "kea": "kea-dhcp4",
        "hosts": "getent",
        "ethers": "getent",
        "clustershell": "nodeset",
        "known_hosts": "ssh-keygen",
    }


def test_nothing_is_written_when_one_file_cannot_be_read(state: Path, tmp_path: Path) -> None:
    (state / "templates").mkdir()
    (state / "templates" / "kea.j2").write_text("{{ kea | json }} }")
    refused = report(state, "--write", tmp_path / "out", "--check")
    assert refused.status == 1
    assert refused.err.startswith("kea-dhcp4 cannot read its file: ")
    assert refused.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_broken_template_is_one_line(state: Path) -> None:
    (state / "templates").mkdir()
    (state / "templates" / "hosts.j2").write_text("ok\n{{ nothing }}\n")
    refused = report(state, "hosts")
    where = state / "templates" / "hosts.j2"
    assert refused.err == f"{where}:2: 'nothing' is undefined; mend it, or remove it to have the shipped one\n"


def test_a_roll_s_template_is_used_and_the_site_s_wins(state: Path) -> None:
    for folder in (state.parent / "roll" / "templates", state / "templates"):
        folder.mkdir()
        (folder / "ethers.j2").write_text(f"{folder.parent.name}\n")
        assert report(state, "ethers").out == f"{folder.parent.name}\n"


def test_keys_and_additions_of_a_site_are_in_its_files(state: Path) -> None:
    (state / "hosts.local").write_text("10.9.9.9 printer\n")
    (state / "hostkeys").mkdir()
    (state / "hostkeys" / "compute-0-1.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA root@x\n")
    assert report(state, "hosts").out.endswith("# hosts.local\n10.9.9.9 printer\n")
    assert report(state, "known_hosts").out.splitlines()[1:] == [
        "compute-0-1,compute-0-1.local,10.1.255.253 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("hots",), "no report is called 'hots'; there are: dnsmasq"),
        (("hosts", "compute-0-0", "--write", "x"), "a file is written for all hosts or not at all"),
        (("--install",), "--install needs NAME"),
        (("hosts", "--install", "--write", "x"), "not allowed with"),
    ],
)
def test_wrong_usage_is_said(state: Path, arguments: tuple[str, ...], why: str) -> None:
    found = report(state, *arguments)
    assert found.status == 2
    assert why in found.err
