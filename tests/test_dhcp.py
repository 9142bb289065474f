"""DHCP packets from bytes: everything real clients send is read, and nothing any machine sends can do harm."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.dhcp import MAX_FRAME, DhcpError, Packet, parse_frame, parse_message
from tests.dhcp_frames import CAPTURED, DESCRIBED, MAC, captured, frame, message, option

OPTIONS = st.dictionaries(
    st.integers(1, 254).filter(lambda number: number not in (52, 53)), st.binary(max_size=600), max_size=6
)


@pytest.mark.parametrize("client", CAPTURED)
def test_what_a_real_client_sends_is_read(client: str) -> None:
    packet = parse_frame(captured(client))
    assert (packet.kind, packet.mac, packet.sender, packet.source) == ("DISCOVER", MAC, MAC, "0.0.0.0")
    assert 1 in packet.parameters


def test_clients_say_who_they_are() -> None:
    udhcpc = parse_frame(captured("udhcpc"))
    assert (udhcpc.vendor, udhcpc.is_installer, udhcpc.client_id.hex()) == ("udhcp 1.35.0", False, "0102000a01fffe")
    pxe = parse_frame(captured("udhcpc_pxe"))
    assert (pxe.vendor, pxe.hostname, pxe.is_installer) == ("PXEClient:Arch:00007:UNDI:003001", "node17", True)
    # dhcpcd's client identifier is an RFC 4361 one, with no MAC where others have it.
    assert parse_frame(captured("dhcpcd")).client_id[:1] == b"\xff"


@pytest.mark.parametrize("client", CAPTURED)
def test_a_captured_packet_is_the_same_with_a_vlan_tag_and_without_a_frame(client: str) -> None:
    plain = parse_frame(captured(client))
    tagged = parse_frame(captured(client)[:12] + b"\x88\xa8\x00\x07\x81\x00\x20\x2a" + captured(client)[12:])
    assert tagged.vlans == (7, 42)
    assert (tagged.mac, tagged.options) == (plain.mac, plain.options)
    bare = parse_message(captured(client)[42:])
    assert (bare.mac, bare.options, bare.sender) == (plain.mac, plain.options, None)


@given(OPTIONS)
def test_options_come_back_as_they_were_sent(options: dict[int, bytes]) -> None:
    packet = parse_message(message([(53, b"\x03"), *options.items()]))
    assert packet.options == {53: b"\x03", **options}


@given(OPTIONS, st.integers(1, 3))
def test_options_may_overflow_into_the_fields_for_file_and_server(options: dict[int, bytes], where: int) -> None:
    small = {number: value[:20] for number, value in list(options.items())[:2]}
    block = b"".join(option(*pair) for pair in small.items()) + b"\xff"
    sname, file = (b"", block) if where & 1 else (block, b"")
    if where == 3:
        sname = b"\x0c\x01x\xff"
    packet = parse_message(message([(53, b"\x01"), (52, bytes((where,)))], sname=sname, file=file))
    for number, value in small.items():
        assert packet.options[number].startswith(value)


def test_a_machine_says_its_uuid_firmware_switch_port_and_classes() -> None:
    machine = uuid.UUID("564d0000-1234-5678-9abc-def012345678")
    relayed = option(1, b"ge-0/0/7") + option(2, b"switch2")
    packet = parse_message(
        message(
            [
                (53, b"\1"), (97, b"\0" + machine.bytes_le), (93, b"\0\7\0\x10"), (82, relayed),
                (77, b"iPXE"), (50, bytes((10, 1, 0, 9))), (12, b"n1\0"),
            ],
            relay="10.2.0.1",
        )
    )  # fmt: skip
    assert packet.uuid == str(machine)
    assert packet.architectures == (7, 16)
    assert (packet.circuit, packet.remote, packet.relay) == ("ge-0/0/7", "switch2", "10.2.0.1")
    assert (packet.user_classes, packet.is_installer) == (("iPXE",), True)
    assert (packet.requested, packet.hostname) == ("10.1.0.9", "n1")
    assert parse_message(message([(77, b"\x04lab1\x02x2")])).user_classes == ("lab1", "x2")


UUID = "54d53000-4a4a-1000-4438-38395956304b"
SAID = {
    # vendor, hostname, firmware, UUID, whether it installs, link, switch port
    "pxe rom": ("PXEClient:Arch:00000:UNDI:003016", "", (0,), UUID, True, None, ""),
    "pxe rom without end": ("PXEClient:Arch:00000:UNDI:003016", "", (0,), UUID, True, None, ""),
    "ipxe": ("PXEClient:Arch:00007:UNDI:003016", "", (7,), UUID, True, None, ""),
    "uefi http": ("HTTPClient:Arch:00016:UNDI:003016", "", (16,), UUID, True, None, ""),
    "arm uefi http": ("HTTPClient:Arch:00019:UNDI:003016", "", (19,), UUID, True, None, ""),
    "pxe tagged": ("PXEClient:Arch:00009:UNDI:003016", "", (9,), UUID, True, None, ""),
    "systemd-networkd": ("", "node9", (), "", False, None, ""),
    "dhcpcd": ("dhcpcd-10.0.6:Linux-6.8.0:x86_64:GenuineIntel", "node9", (), "", False, None, ""),
    "dhclient": ("", "node9", (), "", False, None, ""),
    "udhcpc": ("udhcp 1.36.1", "node9", (), "", False, None, ""),
    "windows": ("MSFT 5.0", "DESKTOP-7", (), "", False, None, ""),
    "bmc ilo": ("CPQRIB3", "ILOSGH123", (), "", False, None, ""),
    "bmc bare": ("", "", (), "", False, None, ""),
    "anaconda": ("anaconda-Linux 5.14.0 x86_64", "localhost", (), "", True, None, ""),
    "bootp": ("", "", (), "", False, None, ""),
    "bootp without cookie": ("", "", (), "", False, None, ""),
    "overload": ("PXEClient:Arch:00007", "node9", (7,), "", True, None, ""),
    "long option": ("P" * 255, "node9", (), "", False, None, ""),
    "jumbo": ("", "", (), "", False, None, ""),
    "relayed": ("PXEClient:Arch:00007", "", (), "", True, "10.1.0.1", r"\x00\x04\x00*\x01\x07"),
    "relayed from a loopback": ("", "", (), "", False, "10.1.0.1", "Eth1/7"),
    "relayed from elsewhere": ("", "", (), "", False, "192.0.2.7", ""),
    "snooped": ("", "", (), "", False, None, "Gi1/0/7"),
}


@pytest.mark.parametrize("client", DESCRIBED)
def test_every_vendor_s_first_packet_is_read(client: str) -> None:
    packet = parse_frame(DESCRIBED[client])
    assert packet.kind == ("BOOTREQUEST" if "bootp" in client else "DISCOVER")
    assert packet.mac == MAC  # behind a relay, too, where the frame's sender is another
    found = (packet.vendor, packet.hostname, packet.architectures, packet.uuid, packet.is_installer, packet.link)
    assert (*found, packet.circuit) == SAID[client]


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (parse_message(message([])), "BOOTREQUEST"),
        (parse_message(message([], operation=2)), "BOOTREPLY"),
        (parse_message(message()[:236]), "BOOTREQUEST"),
        (parse_message(message()[:236] + b"CMU\0" + bytes(60)), "BOOTREQUEST"),
        (parse_message(message([(53, b"\x02")], operation=2)), "OFFER"),
        (parse_message(message([(53, b"\xf0")])), "TYPE 240"),
        (parse_message(message(end=b"")), "DISCOVER"),
        (parse_message(message([(53, b"\x01")], end=b"\xff" + b"\x0c\xff")), "DISCOVER"),
    ],
)
def test_kinds_are_those_of_dhcp_and_of_bootp(packet: Packet, kind: str) -> None:
    assert packet.kind == kind


def test_only_an_ethernet_card_has_a_mac() -> None:
    packet = parse_message(message(hardware=32, size=0))
    assert (packet.mac, packet.hardware) == (None, 32)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"", "the frame ends after 0 bytes"),
        (bytes(MAX_FRAME + 1), "9217 bytes are no frame"),
        (frame(message(), vlans=(1, 2, 3)), "a VLAN tag without a packet in it"),
        (frame(message(), vlans=(1,))[:17], "a VLAN tag without a packet in it"),
        (captured("udhcpc")[:12] + b"\x86\xdd" + captured("udhcpc")[14:], "protocol 0x86dd, not IPv4"),
        (captured("udhcpc")[:30], "no whole IPv4 header"),
        (captured("udhcpc")[:40], "is there|are there"),
        (captured("udhcpc")[:20] + b"\x20\x01" + captured("udhcpc")[22:], "a fragment of a packet"),
        (captured("udhcpc")[:23] + b"\x06" + captured("udhcpc")[24:], "protocol 6, not UDP"),
        (frame(message(), port=69), "sent to UDP port 69"),
        (frame(message()[:235]), "ends after 235 bytes"),
        (frame(message(operation=3)), "operation 3"),
        (frame(message(size=17)), "17 bytes; 16 are the most"),
        (frame(message([(53, b"")])), "option 53 has 0 bytes"),
        (frame(message([(53, b"\1"), (52, b"\4")])), "option 52"),
        (frame(message(end=b"\x0c")), "option 12 is cut off"),
        (frame(message(end=b"\x0c\x05ab")), "option 12 is cut off"),
        (frame(message([(53, b"\1"), (52, b"\1")], file=b"\x0c\xc8")), "'file': option 12 is cut off"),
    ],
)
def test_what_is_no_dhcp_packet_says_why(wrong: bytes, why: str) -> None:
    with pytest.raises(DhcpError, match=why):
        parse_frame(wrong)


def touch(packet: Packet) -> None:
    """Ask for everything; no text may hold what a terminal would obey."""
    for text in (packet.hostname, packet.vendor, packet.uuid, packet.circuit, packet.remote, *packet.user_classes):
        assert text.isprintable()
        assert len(text) <= 255
    assert isinstance((packet.requested, packet.server_id, packet.architectures, packet.is_installer), tuple)
    assert repr(packet).isprintable()


@given(st.binary(max_size=700))
def test_garbage_is_refused_with_our_error_and_no_other(data: bytes) -> None:
    for parse in (parse_frame, parse_message):
        try:
            touch(parse(data))
        except DhcpError as error:
            assert "\n" not in str(error)


@given(st.sampled_from(sorted(CAPTURED)), st.data())
def test_no_damage_to_a_real_packet_breaks_the_reader(client: str, data: st.DataObject) -> None:
    damaged = bytearray(captured(client))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for broken in (bytes(damaged), bytes(damaged[:cut])):
        try:
            touch(parse_frame(broken))
        except DhcpError as error:
            assert str(error).isprintable()


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=255)), max_size=8))
def test_no_option_breaks_the_reader(options: list[tuple[int, bytes]]) -> None:
    try:
        touch(parse_message(message(options)))
    except DhcpError as error:
        assert str(error).isprintable()
