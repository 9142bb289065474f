"""DHCP frames: captured from real clients, and written by hand for what those never send."""

from __future__ import annotations

from collections.abc import Iterable

MAC = "02:00:0a:01:ff:fe"
"""The card of the machine whose frames were captured."""

# Debian 12's udhcpc (busybox 1.35), ISC dhclient 4.4.3 and dhcpcd 9.4.1, first packet, seen on a bridge.
CAPTURED = {
    "udhcpc": (
        "ffffffffffff02000a01fffe08004500014800000000401179a600000000ffffffff004400430134823601010600f927b16c"
        "000000000000000000000000000000000000000002000a01fffe000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000638253633501013902024037070103060c0f1c2a3c0c"
        "756468637020312e33352e303d070102000a01fffeff0000000000000000000000000000000000000000"
    ),
    "udhcpc_pxe": (
        "ffffffffffff02000a01fffe080045000150000000004011799e00000000ffffffff00440043013cf3d001010600e681a238"
        "000000000000000000000000000000000000000002000a01fffe000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000638253633501013902024037070103060c0f1c2a0c06"
        "6e6f646531373c20505845436c69656e743a417263683a30303030373a554e44493a3030333030313d070102000a01fffeff"
    ),
    "dhclient": (
        "ffffffffffff02000a01fffe080045100148000000008011399600000000ffffffff0044004301349caf0101060043fdf114"
        "000000000000000000000000000000000000000002000a01fffe000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000638253633501013707011c02030f060cff0000000000"
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    ),
    "dhcpcd": (
        "ffffffffffff02000a01fffe080045000148a03100004011d97400000000ffffffff004400430134d0ed01010600c47f7ba3"
        "000000000000000000000000000000000000000002000a01fffe000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000063825363350101370e017903060c0f1a1c2133363a3b"
        "77390205c03d13ff0a01fffe0001000132946a6c02000a01fffe5000740101910101ff00000000000000"
    ),
}


def captured(name: str) -> bytes:
    """Return a captured frame."""
    return bytes.fromhex(CAPTURED[name])


def option(number: int, value: bytes) -> bytes:
    """Encode an option; what is longer than 255 bytes becomes several (RFC 3396)."""
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [b""]
    return b"".join(bytes((number, len(piece))) + piece for piece in pieces)


def message(
    options: Iterable[tuple[int, bytes]] = ((53, b"\x01"),),
    *,
    mac: str = MAC,
    operation: int = 1,
    hardware: int = 1,
    size: int = 6,
    relay: str = "0.0.0.0",
    offered: str = "0.0.0.0",
    sname: bytes = b"",
    file: bytes = b"",
    end: bytes = b"\xff",
) -> bytes:
    """Encode a DHCP message."""
    head = bytes((operation, hardware, size, 0)) + b"\x12\x34\x56\x78" + b"\0\x05\x80\0"
    head += bytes(4) + _packed(offered) + bytes(4) + _packed(relay)
    head += bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return head + b"\x63\x82\x53\x63" + b"".join(option(*pair) for pair in options) + end


def frame(
    payload: bytes,
    *,
    mac: str = MAC,
    vlans: Iterable[int] = (),
    port: int = 67,
    fragment: int = 0,
    ip_options: bytes = b"",
) -> bytes:
    """Put a message into UDP, IPv4 and Ethernet, with VLAN tags."""
    udp = b"\0\x44" + port.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0" + payload
    size = 20 + len(ip_options)
    ip = bytes((0x40 | size // 4, 0)) + (size + len(udp)).to_bytes(2, "big") + b"\0\0" + fragment.to_bytes(2, "big")
    ip += b"\x40\x11\0\0" + bytes(4) + b"\xff" * 4 + ip_options
    # Bridges with netfilter drop packets whose header has no good checksum.
    ip = ip[:10] + _checksum(ip) + ip[12:] + udp
    tags = b"".join(b"\x81\0" + tag.to_bytes(2, "big") for tag in vlans)
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + tags + b"\x08\0" + ip


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def _checksum(header: bytes) -> bytes:
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def pxe_options(firmware: int, vendor: bytes, *more: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """What firmware sends by the PXE 2.1 specification: it takes 1260 bytes, wants what a boot needs, says its kind."""
    wanted = bytes(
        (1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97)
    )
    wanted += bytes(range(128, 136))
    uuid = bytes.fromhex("000030d5544a4a0010443838395956304b")
    return [
        (53, b"\x01"), (57, b"\x04\xec"), (55, wanted), (97, uuid), (94, b"\x01\x03\x10"), (93, bytes((0, firmware))),
        (60, b"%s:Arch:%05d:UNDI:003016" % (vendor, firmware)), *more,
    ]  # fmt: skip


# As RFCs and vendors' papers describe them, first packet each; nobody's machine was captured.
IPXE_FEATURES = bytes.fromhex(
    "b105018086100eeb030100001701012201011301011101011001012401011201011401012101012701011501"
)
DESCRIBED = {
    # A BIOS's ROM: its message is as long as BOOTP's of old, and padded; some cards end it with no end mark.
    "pxe rom": frame(message(pxe_options(0, b"PXEClient"), end=b"\xff" + bytes(200))),
    "pxe rom without end": frame(message(pxe_options(0, b"PXEClient"), end=bytes(60))),
    "ipxe": frame(message(pxe_options(7, b"PXEClient", (77, b"iPXE"), (175, IPXE_FEATURES), (61, b"\x01" + bytes(6))))),
    "uefi http": frame(message(pxe_options(16, b"HTTPClient"))),
    "arm uefi http": frame(message(pxe_options(19, b"HTTPClient"))),
    # Behind a tag that the switch left on, and with the four bytes at the end that some drivers leave there.
    "pxe tagged": frame(message(pxe_options(9, b"PXEClient")), vlans=(42,)) + b"\xde\xad\xbe\xef",
    # A DUID of RFC 4361, rapid commit (RFC 4039, without content), no vendor class.
    "systemd-networkd": frame(
        message(
            [
                (53, b"\x01"),
                (61, bytes.fromhex("ffb63e1a0f00020000ab11") + b"\x8b" * 8),
                (80, b""),
                (55, bytes((1, 3, 12, 15, 6, 33, 121, 42, 119))),
                (57, b"\x05\xc0"),
                (12, b"node9"),
                (145, b"\x01"),
            ]
        )
    ),
    "dhcpcd": frame(
        message(
            [
                (53, b"\x01"),
                (61, bytes.fromhex("ff0a01fffe0001000130ab2c1602000a01fffe")),
                (57, b"\x05\xc0"),
                (80, b""),
                (60, b"dhcpcd-10.0.6:Linux-6.8.0:x86_64:GenuineIntel"),
                (12, b"node9"),
                (145, b"\x01"),
                (55, bytes((1, 3, 6, 12, 15, 26, 28, 33, 51, 54, 58, 59, 119, 121))),
            ]
        )
    ),
    "dhclient": frame(
        message(
            [(53, b"\x01"), (50, bytes((10, 1, 0, 77))), (12, b"node9"), (55, bytes(range(1, 20)))],
            end=b"\xff" + bytes(240),
        )
    ),
    "udhcpc": frame(
        message([(53, b"\x01"), (57, b"\x02\x40"), (60, b"udhcp 1.36.1"), (12, b"node9")], end=b"\xff" + bytes(180))
    ),
    # Name and domain name (RFC 4702), a user class as some administrators set it, vendor options of nobody's business.
    "windows": frame(
        message(
            [
                (53, b"\x01"),
                (61, b"\x01\x02\x00\x0a\x01\xff\xfe"),
                (12, b"DESKTOP-7"),
                (81, b"\0\0\0DESKTOP-7"),
                (60, b"MSFT 5.0"),
                (55, bytes((1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252))),
                (43, b"\xdc\0"),
            ]
        )
    ),
    "bmc ilo": frame(
        message([(53, b"\x01"), (60, b"CPQRIB3"), (12, b"ILOSGH123"), (61, b"\x00ILOSGH123"), (57, b"\x02\x40")])
    ),
    "bmc bare": frame(message([(53, b"\x01")], end=b"\xff" + bytes(56))),
    "anaconda": frame(message([(53, b"\x01"), (60, b"anaconda-Linux 5.14.0 x86_64"), (12, b"localhost")])),
    # Old firmware: BOOTP, with its vendor's cookie or none.
    "bootp": frame(message([], end=b"\xff" + bytes(59))),
    "bootp without cookie": frame(message()[:236] + bytes(64)),
    # The vendor class in the field for the server's name, the machine's name in that for the file (RFC 2131, 4.1).
    "overload": frame(
        message(
            [(52, b"\x03"), (53, b"\x01"), (93, b"\0\x07")],
            sname=option(60, b"PXEClient:Arch:00007") + b"\xff",
            file=b"\0\0" + option(12, b"node9") + b"\xff",
        )
    ),
    # One option of 300 bytes, in two pieces that are not side by side (RFC 3396).
    "long option": frame(message([(53, b"\x01"), (60, b"P" * 255), (12, b"node9"), (60, b"Q" * 45)])),
    "jumbo": frame(message([(53, b"\x01"), (224, bytes(8000))])),
    "relayed": frame(
        message(
            [
                (53, b"\x01"),
                (60, b"PXEClient:Arch:00007"),
                (82, option(1, b"\0\x04\0\x2a\x01\x07") + option(2, b"sw-7")),
            ],
            relay="10.1.0.1",
        ),
        mac="02:00:00:00:00:99",
    ),
    # A leaf of a fabric relays from its own address, and says on which link the machine is (RFC 3527).
    "relayed from a loopback": frame(
        message(
            [
                (53, b"\x01"),
                (82, option(1, b"Eth1/7") + option(5, bytes((10, 1, 0, 1))) + option(11, bytes((9, 9, 9, 9)))),
            ],
            relay="192.0.2.7",
        ),
        mac="02:00:00:00:00:99",
    ),
    "relayed from elsewhere": frame(message([(53, b"\x01")], relay="192.0.2.7"), mac="02:00:00:00:00:99"),
    # A switch in between adds option 82 and is no relay.
    "snooped": frame(message([(53, b"\x01"), (82, option(1, b"Gi1/0/7") + option(6, b"rack4"))])),
}
"""Frames by what sends them."""
