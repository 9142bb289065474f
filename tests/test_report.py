"""Reports say what the inventory says, and no value leaves its place in them."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

from avalanche.config import DhcpConfig
from avalanche.report import Renderer, render
from avalanche.roster import Card, Entry, Roster, Segment

DHCP = DhcpConfig(interfaces=("eth1",), bios="pxelinux.0", efi="grub.efi", http="http://10.1.1.1/grub.efi")
PRIVATE = Segment("private", ipaddress.ip_network("10.1.0.0/16"), zone="local", servers=("10.1.1.1",), served=True)


def entry(number: int, **fields: object) -> Entry:
    name = f"compute-0-{number}"
    card = Card(name, f"52:54:00:00:00:{number:02x}", f"10.1.255.{254 - number}", "eth0", "private")
    return Entry(name, "compute", 0, number, cards=(card,), **fields)  # type: ignore[arg-type]


def roster(*hosts: Entry, dhcp: DhcpConfig = DHCP) -> Roster:
    return Roster((PRIVATE,), hosts, dhcp)


def test_dnsmasq_reads_its_main_file(tmp_path: Path) -> None:
    hosts = (entry(0), entry(1, filename="own.0"), entry(2, boots=False))
    text = render(["dnsmasq"], roster(*hosts), Renderer(), str(tmp_path))["dnsmasq.conf"]
    (tmp_path / "dnsmasq-hosts").mkdir()
    (tmp_path / "dnsmasq.conf").write_text(text)
    subprocess.run(["dnsmasq", "--test", f"--conf-file={tmp_path}/dnsmasq.conf"], check=True, capture_output=True)


def test_each_host_has_a_file_of_its_own() -> None:
    files = render(["dnsmasq"], roster(entry(1), entry(0)), Renderer(), "/run/x")
    assert files["dnsmasq-hosts/compute-0-0"] == "52:54:00:00:00:00,10.1.255.254,compute-0-0\n"
    assert set(files) == {"dnsmasq.conf", "dnsmasq-hosts/compute-0-0", "dnsmasq-hosts/compute-0-1"}
