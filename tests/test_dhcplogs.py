"""Servers' own lines tell of clients; what clients say in them tells nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.dhcplogs import LOG_FORMATS, parse_dhcpd, parse_dnsmasq, parse_kea
from avalanche.ethers import Sighting

NOW = 1_795_000_000.0
MAC = "02:00:0a:01:ff:fe"

# Written by dnsmasq 2.90 and Kea 2.2.0 of Debian 12 for busybox's udhcpc; ISC dhcpd's as Rocks reads them.
DNSMASQ = f"Nov 21 15:01:00 dnsmasq-dhcp[31596]: 1971467390 DHCPDISCOVER(eth0) {MAC} "
DNSMASQ_OFFER = f"Nov 21 15:01:00 dnsmasq-dhcp[31596]: 1971467390 DHCPOFFER(eth0) 10.1.3.7 {MAC} "
KEA = (
    "2026-11-21 15:01:04.015 INFO  [kea-dhcp4.leases/31801.140459690271232] DHCP4_LEASE_ADVERT "
    f"[hwtype=1 {MAC}], cid=[01:{MAC}], tid=0x9b6b3653: lease 10.1.3.1 will be advertised"
)
KEA_LEASE = f"10.1.3.1,{MAC},01:{MAC},7200,1795280464,1,0,0,n17,0,"
DHCPD = f"Nov 21 15:01:00 frontend dhcpd: DHCPDISCOVER from {MAC} (n17) via eth1: network 10.1.0.0/16: no free leases"


@pytest.mark.parametrize(
    ("parse", "line", "wanted"),
    [
        (parse_dnsmasq, DNSMASQ, Sighting(NOW, "dnsmasq", "DISCOVER", MAC, interface="eth0")),
        (
            parse_dnsmasq,
            f"dnsmasq-dhcp[7]: DHCPDISCOVER(br0) 10.1.3.7 {MAC.upper()} no address available",
            Sighting(NOW, "dnsmasq", "DISCOVER", MAC, interface="br0", address="10.1.3.7"),
        ),
        (
            parse_dnsmasq,
            DNSMASQ_OFFER,
            Sighting(
                NOW, "dnsmasq", "OFFER", MAC, interface="eth0", address="10.1.3.7", is_answer=True, server="dnsmasq"
            ),
        ),
        (
            parse_dnsmasq,
            f"Nov 21 15:01:00 dnsmasq-dhcp[31596]: 19 BOOTP(eth0) 10.1.3.7 {MAC}",
            Sighting(NOW, "dnsmasq", "BOOTREQUEST", MAC, interface="eth0", address="10.1.3.7"),
        ),
        (parse_dhcpd, DHCPD, Sighting(NOW, "dhcpd", "DISCOVER", MAC, interface="eth1")),
        (
            parse_dhcpd,
            f"Nov 21 15:01:00 fe dhcpd[815]: DHCPREQUEST for 10.1.3.9 (10.1.1.1) from {MAC} via 10.2.0.1",
            Sighting(NOW, "dhcpd", "REQUEST", MAC, relay="10.2.0.1", address="10.1.3.9"),
        ),
        (
            parse_dhcpd,
            f"Nov 21 15:01:00 fe dhcpd: BOOTREQUEST from {MAC} via eth0",
            Sighting(NOW, "dhcpd", "BOOTREQUEST", MAC, interface="eth0"),
        ),
        (parse_kea, KEA, Sighting(NOW, "kea", "DISCOVER", MAC, address="10.1.3.1")),
        (parse_kea, KEA.replace("ADVERT", "ALLOC"), Sighting(NOW, "kea", "LEASE", MAC, address="10.1.3.1")),
        (parse_kea, KEA_LEASE, Sighting(NOW, "kea", "LEASE", MAC, address="10.1.3.1")),
    ],
)
def test_a_servers_line_about_a_client_is_a_sighting(parse: object, line: str, wanted: Sighting) -> None:
    assert callable(parse)
    assert parse(line + "\n", NOW) == wanted


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ("dnsmasq", "Nov 21 15:01:00 dnsmasq-dhcp[31596]: 1971467390 tags: eth0"),
        ("dnsmasq", f"Nov 21 15:01:00 dnsmasq-dhcp[31596]: 19 vendor class: DHCPDISCOVER(eth0) {MAC} "),
        ("dnsmasq", f"Nov 21 15:01:00 dnsmasq[31596]: query DHCPDISCOVER(eth0) {MAC}"),
        ("dhcpd", f"Nov 21 15:01:00 frontend sshd: DHCPDISCOVER from {MAC} via eth1"),
        ("dhcpd", "Nov 21 15:01:00 frontend dhcpd: DHCPDISCOVER from nobody via eth1"),
        ("dhcpd", f"Nov 21 15:01:00 frontend dhcpd: DHCPREQUEST for 10.1.3.900 from {MAC} via eth1"),
        (
            "kea",
            "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context",
        ),
        ("kea", KEA_LEASE.replace(",0,", ",1,", 3)),  # declined
        ("kea", KEA_LEASE.replace(",7200,", ",0,")),  # released
        ("kea", KEA.replace("hwtype=1", "hwtype=32")),
    ],
)
def test_other_lines_and_clients_own_words_are_passed_over(server: str, line: str) -> None:
    assert LOG_FORMATS[server].parse(line, NOW) is None


@given(st.sampled_from(sorted(LOG_FORMATS)), st.sampled_from([DNSMASQ, KEA, KEA_LEASE, DHCPD, ""]), st.data())
def test_no_line_breaks_a_reader(server: str, line: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line)))
    junk = data.draw(st.text(max_size=60))
    found = LOG_FORMATS[server].parse(line[:at] + junk + line[at + data.draw(st.integers(0, 20)) :], NOW)
    assert found is None or (found.mac is not None and len(found.mac) == 17 and len(found.interface) <= 32)


def test_a_line_without_end_is_read_in_no_time() -> None:
    for server in LOG_FORMATS.values():
        for piece in ("dnsmasq-dhcp[1]: ", "dhcpd: ", " ", "1,", "[hwtype=1 "):
            assert server.parse(piece * 2_000_000, NOW) is None
