"""DHCP and BOOTP packets as they stand in a frame: Ethernet, VLAN tags, IPv4, UDP, options (RFC 951, 2131, 2132).

Only reading. What travels here was written by any machine on the wire, so every length is checked and every text made
printable; whatever is wrong is a DhcpError with one line that says what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avalanche.errors import ProtocolError

MAX_FRAME = 9216  # bytes: a jumbo frame. Longer input is no frame.
MAX_TEXT = 255  # characters of a text that a client may say about itself
SERVER_PORT, CLIENT_PORT = 67, 68

KINDS = {
    1: "DISCOVER",
    2: "OFFER",
    3: "REQUEST",
    4: "DECLINE",
    5: "ACK",
    6: "NAK",
    7: "RELEASE",
    8: "INFORM",
    9: "FORCERENEW",
    10: "LEASEQUERY",
    11: "LEASEUNASSIGNED",
    12: "LEASEUNKNOWN",
    13: "LEASEACTIVE",
}
"""Option 53. Without it a packet is a ``BOOTREQUEST`` or a ``BOOTREPLY``."""

ARCHITECTURES = {
    0: "x86 BIOS",
    6: "x86 UEFI",
    7: "x64 UEFI",
    9: "x64 UEFI",
    10: "ARM 32-bit UEFI",
    11: "ARM 64-bit UEFI",
    15: "x86 UEFI HTTP",
    16: "x64 UEFI HTTP",
    18: "ARM 32-bit UEFI HTTP",
    19: "ARM 64-bit UEFI HTTP",
}
"""Option 93 in words (IANA's registry; 9 is what many firmwares send for 7)."""

_HOSTNAME, _REQUESTED, _OVERLOAD, _KIND, _SERVER, _PARAMETERS = 12, 50, 52, 53, 54, 55
_VENDOR, _CLIENT, _USER, _RELAY, _ARCHITECTURE, _MACHINE, _SUBNET = 60, 61, 77, 82, 93, 97, 118

HARDWARE = {1: "Ethernet", 6: "IEEE 802", 24: "FireWire", 32: "InfiniBand"}
"""Kinds of hardware in words."""

_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPES_VLAN = (0x8100, 0x88A8, 0x9100)
_MAX_TAGS = 2
_UDP = 17
_COOKIE = b"\x63\x82\x53\x63"
_FIXED = 236  # bytes of a BOOTP message before its options
_SNAME, _FILE = slice(44, 108), slice(108, 236)
_PAD, _END = 0, 255
_ETHERNET = 1
# What a program that installs says of itself: firmware (PXE, UEFI HTTP), iPXE, Anaconda's initramfs.
_INSTALLERS = ("PXEClient", "HTTPClient", "anaconda", "iPXE", "gPXE")


class DhcpError(ProtocolError):
    """The bytes are no DHCP packet, or a broken one."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One DHCP or BOOTP message.

    Attributes:
        kind: DISCOVER, REQUEST, ...; ``BOOTREQUEST`` or ``BOOTREPLY`` when option 53 is missing.
        mac: the client's Ethernet address, lower case with colons; None when its hardware is no Ethernet.
        hardware: the number of its kind of hardware (1 Ethernet, 32 InfiniBand).
        client, offered, server, relay: ciaddr, yiaddr, siaddr and giaddr; None for 0.0.0.0.
        options: what each option holds, in order of first appearance; pieces of one option are joined (RFC 3396).
        sender: who sent the frame, which behind a relay is not the client; None without a frame.
        source: the IPv4 source address; None without a frame.
        vlans: the VLAN tags in the frame, the outer one first.
    """

    kind: str
    is_reply: bool
    mac: str | None
    hardware: int
    transaction: int
    seconds: int
    client: str | None
    offered: str | None
    server: str | None
    relay: str | None
    options: Mapping[int, bytes] = field(repr=False)
    sender: str | None = None
    source: str | None = None
    vlans: tuple[int, ...] = ()

    @property
    def hostname(self) -> str:
        """What the client calls itself (option 12), or ""."""
        return _text(self.options.get(_HOSTNAME, b""))

    @property
    def requested(self) -> str | None:
        """The address the client would like (option 50)."""
        return _option_address(self.options.get(_REQUESTED))

    @property
    def server_id(self) -> str | None:
        """The server that answers, or that a client chose (option 54)."""
        return _option_address(self.options.get(_SERVER))

    @property
    def parameters(self) -> tuple[int, ...]:
        """The options the client asks for (option 55)."""
        return tuple(self.options.get(_PARAMETERS, b""))

    @property
    def vendor(self) -> str:
        """The vendor class (option 60), or ""."""
        return _text(self.options.get(_VENDOR, b""))

    @property
    def client_id(self) -> bytes:
        """The client identifier (option 61). It may change from boot to boot: a host is known by its MAC."""
        return self.options.get(_CLIENT, b"")

    @property
    def user_classes(self) -> tuple[str, ...]:
        """The user classes (option 77), as RFC 3004 packs them, or as iPXE and others send one: plain."""
        data = self.options.get(_USER, b"")
        found, rest = [], data
        while rest:
            size = rest[0]
            if not 0 < size < len(rest):
                return (_text(data),)
            found.append(_text(rest[1 : 1 + size]))
            rest = rest[1 + size :]
        return tuple(found)

    @property
    def circuit(self) -> str:
        """The switch port, as the relay agent names it (option 82, sub-option 1), or ""."""
        return _text(self._agent(1))

    @property
    def remote(self) -> str:
        """The relay agent, as it names itself (option 82, sub-option 2), or ""."""
        return _text(self._agent(2))

    @property
    def link(self) -> str | None:
        """The link the client is on: as its relay agent says (RFC 3527), as the client says (RFC 3011), or the relay's
        own address. A relay agent may send from an address of its own that is on no client's link.
        """
        return _option_address(self._agent(5)) or _option_address(self.options.get(_SUBNET)) or self.relay

    @property
    def architectures(self) -> tuple[int, ...]:
        """The client's firmware (option 93): numbers of ``ARCHITECTURES``."""
        data = self.options.get(_ARCHITECTURE, b"")
        return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))

    @property
    def uuid(self) -> str:
        """The machine's UUID (option 97) in its usual writing, or "".

        The first three fields travel with their lowest byte first, as SMBIOS holds them.
        """
        data = self.options.get(_MACHINE, b"")
        if len(data) != 17 or data[0] != 0:
            return ""
        raw = data[1:]
        fields = (raw[3::-1], raw[5:3:-1], raw[7:5:-1], raw[8:10], raw[10:])
        return "-".join(part.hex() for part in fields)

    @property
    def is_installer(self) -> bool:
        """Whether firmware, a boot loader or an installer sent it, by its own words."""
        return any(word.startswith(_INSTALLERS) for word in (self.vendor, *self.user_classes))

    def _agent(self, wanted: int) -> bytes:
        rest = self.options.get(_RELAY, b"")
        while len(rest) >= 2 and len(rest) >= 2 + rest[1]:
            if rest[0] == wanted:
                return rest[2 : 2 + rest[1]]
            rest = rest[2 + rest[1] :]
        return b""


def parse_frame(frame: bytes) -> Packet:
    """Read an Ethernet frame.

    Checksums are not looked at: a frame that this machine itself sent carries none yet, and the driver dropped others.

    Raises:
        DhcpError: it holds no DHCP packet, or a broken one.
    """
    if len(frame) > MAX_FRAME:
        raise DhcpError(f"{len(frame)} bytes are no frame")
    if len(frame) < 14:
        raise DhcpError(f"the frame ends after {len(frame)} bytes")
    vlans: list[int] = []
    at = 12
    while (kind := int.from_bytes(frame[at : at + 2], "big")) in _ETHERTYPES_VLAN:
        if len(vlans) == _MAX_TAGS or len(frame) < at + 6:
            raise DhcpError("a VLAN tag without a packet in it")
        vlans.append(int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF)
        at += 4
    if kind != _ETHERTYPE_IPV4:
        raise DhcpError(f"the frame holds protocol {kind:#06x}, not IPv4")
    source, payload = _datagram(frame[at + 2 :])
    return _message(payload, sender=frame[6:12].hex(":"), source=source, vlans=tuple(vlans))


def parse_message(message: bytes) -> Packet:
    """Read the payload of a UDP datagram.

    Raises:
        DhcpError: it is no DHCP packet, or a broken one.
    """
    if len(message) > MAX_FRAME:
        raise DhcpError(f"{len(message)} bytes are no DHCP message")
    return _message(message, sender=None, source=None, vlans=())


def _datagram(packet: bytes) -> tuple[str, bytes]:
    """Take IPv4 and UDP off; returns who sent it, and the message."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        raise DhcpError("no whole IPv4 header")
    header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    if not 20 <= header <= total <= len(packet):
        raise DhcpError(f"the IPv4 packet says it has {total} bytes, its header {header}; {len(packet)} are there")
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        raise DhcpError("a fragment of a packet")
    if packet[9] != _UDP:
        raise DhcpError(f"the IPv4 packet holds protocol {packet[9]}, not UDP")
    datagram = packet[header:total]
    if len(datagram) < 8:
        raise DhcpError("no whole UDP header")
    port, size = int.from_bytes(datagram[2:4], "big"), int.from_bytes(datagram[4:6], "big")
    if port not in (SERVER_PORT, CLIENT_PORT):
        raise DhcpError(f"sent to UDP port {port}, not to DHCP's")
    if not 8 <= size <= len(datagram):
        raise DhcpError(f"the UDP datagram says it has {size} bytes, {len(datagram)} are there")
    return ".".join(map(str, packet[12:16])), datagram[8:size]


def _message(message: bytes, *, sender: str | None, source: str | None, vlans: tuple[int, ...]) -> Packet:
    if len(message) < _FIXED:
        raise DhcpError(f"the message ends after {len(message)} bytes; a whole one has at least {_FIXED}")
    operation, hardware, size = message[0], message[1], message[2]
    if operation not in (1, 2):
        raise DhcpError(f"operation {operation} is neither a request nor a reply")
    if size > 16:
        raise DhcpError(f"a hardware address of {size} bytes; 16 are the most")
    options = _options(message)
    return Packet(
        kind=_kind(options, is_reply=operation == 2),
        is_reply=operation == 2,
        mac=message[28:34].hex(":") if (hardware, size) == (_ETHERNET, 6) else None,
        hardware=hardware,
        transaction=int.from_bytes(message[4:8], "big"),
        seconds=int.from_bytes(message[8:10], "big"),
        client=_address(message[12:16]),
        offered=_address(message[16:20]),
        server=_address(message[20:24]),
        relay=_address(message[24:28]),
        options=options,
        sender=sender,
        source=source,
        vlans=vlans,
    )


def _kind(options: Mapping[int, bytes], *, is_reply: bool) -> str:
    data = options.get(_KIND)
    if data is None:
        return "BOOTREPLY" if is_reply else "BOOTREQUEST"
    if len(data) != 1:
        raise DhcpError(f"option 53 has {len(data)} bytes instead of one")
    return KINDS.get(data[0], f"TYPE {data[0]}")


def _options(message: bytes) -> dict[int, bytes]:
    """Collect the options, from the fields for file and server name, too, when option 52 says so."""
    if message[_FIXED : _FIXED + 4] != _COOKIE:
        return {}  # BOOTP as RFC 951 knew it: what stands there is its vendor's
    found: dict[int, bytes] = {}
    _collect(message[_FIXED + 4 :], found, "options")
    overload = found.get(_OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        raise DhcpError("option 52 is not 1, 2 or 3")
    if overload[0] & 1:
        _collect(message[_FILE], found, "options in the field 'file'")
    if overload[0] & 2:
        _collect(message[_SNAME], found, "options in the field 'sname'")
    return found


def _collect(data: bytes, found: dict[int, bytes], where: str) -> None:
    # A missing end mark is forgiven, as servers do: some firmware forgets it.
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise DhcpError(f"{where}: option {data[at]} is cut off")
        number, value = data[at], data[at + 2 : at + 2 + data[at + 1]]
        found[number] = found.get(number, b"") + value
        at += 2 + len(value)


def _address(data: bytes) -> str | None:
    return ".".join(map(str, data)) if any(data) else None


def _option_address(data: bytes | None) -> str | None:
    return _address(data) if data is not None and len(data) == 4 else None


def _text(data: bytes) -> str:
    """Make a client's words printable: nothing in them may steer a terminal, a log, or a table."""
    text = data.rstrip(b"\0").decode("utf-8", "backslashreplace")[:MAX_TEXT]
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown[:MAX_TEXT]
