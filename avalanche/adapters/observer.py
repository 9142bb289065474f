"""Watching DHCP on the wire with packet sockets: every packet, whoever answers it. Nothing is ever sent.

The kernel filters, so that a busy interface costs nothing: only IPv4 UDP to the ports 67 and 68 comes up, with up to
two VLAN tags. Needs root or CAP_NET_RAW.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv4Network

from avalanche.dhcp import CLIENT_PORT, MAX_FRAME, SERVER_PORT, DhcpError, parse_frame
from avalanche.errors import AvalancheError, ConfigError
from avalanche.ethers import Sighting, sighting_of

READ_AT_ONCE = 64  # frames; then others get their turn
BUFFER = 4 << 20  # bytes the kernel keeps for us: thousands of packets of a power-on

_ETH_P_ALL = 0x0003
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_STATISTICS = 263, 8, 6
_PACKET_OUTGOING = 4
_VLAN_VALID = 1 << 4  # TP_STATUS_VLAN_VALID
_AUXDATA = struct.Struct("=IIIHHHH")  # status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_SIOCGIFADDR = 0x8915
_ETHERNET = 1  # ARPHRD_ETHER

# Classic BPF: load half word, load byte, jump if equal, jump if any bit is set, header length, indirect load, return.
_LDH, _LDB, _JEQ, _JSET, _LDX, _LDH_X, _RET = 0x28, 0x30, 0x15, 0x45, 0xB1, 0x48, 0x06


class ObserverStopped(AvalancheError):
    """An interface is down or gone; it may come back."""


class Observer:
    """The packet socket of one interface.

    Raises:
        ConfigError: there is no such interface, or this user may not watch it.
    """

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket = _open(interface)

    def __repr__(self) -> str:
        return f"<Observer {self.interface}>"

    def fileno(self) -> int:
        """The socket, to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def read(self, now: float) -> list[Sighting]:
        """What came since the last call, in order; frames that are no DHCP packets tell why.

        Raises:
            ObserverStopped: the interface is down or gone.
        """
        found: list[Sighting] = []
        for _ in range(READ_AT_ONCE):
            try:
                frame, ancillary, _, sender = self._socket.recvmsg(MAX_FRAME + 1, socket.CMSG_SPACE(_AUXDATA.size))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in (errno.ENETDOWN, errno.ENODEV, errno.ENXIO):
                    raise ObserverStopped(f"interface {self.interface} is down") from error
                raise
            seen = self._sighting(frame, _tag(ancillary), now)
            # What this machine itself asks for concerns other servers; what its own server answers is shown.
            if sender[2] != _PACKET_OUTGOING or seen.is_answer:
                found.append(seen)
        return found

    def lost(self) -> int:
        """How many packets came too fast since the last call."""
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return int(dropped)

    def _sighting(self, frame: bytes, tag: int | None, now: float) -> Sighting:
        interface = self.interface if tag is None else f"{self.interface}.{tag}"
        try:
            packet = parse_frame(frame)
        except DhcpError as error:
            sender = frame[6:12].hex(":") if len(frame) >= 12 else None
            return Sighting(now, "observer", "", sender, interface=interface, problem=str(error))
        if packet.vlans:
            interface = ".".join([interface, *map(str, packet.vlans)])
        return sighting_of(packet, at=now, interface=interface)


def interfaces_in(network: IPv4Network) -> list[str]:
    """The interfaces of this machine whose (first) address is in a network."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            if IPv4Address(answer[20:24]) in network:
                found.append(name)
    return found


def _open(interface: str) -> socket.socket:
    try:
        # No protocol yet: nothing may come in before the filter is there.
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except PermissionError as error:
        raise ConfigError(
            f"watching {interface} needs root or the capability CAP_NET_RAW; or read a DHCP server's log: --source"
        ) from error
    try:
        _attach_filter(found)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        found.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        found.bind((interface, _ETH_P_ALL))
        kind = found.getsockname()[3]
        if kind != _ETHERNET:
            raise ConfigError(f"{interface} is no Ethernet interface; read a DHCP server's log there: --source")
    except OSError as error:
        found.close()
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise ConfigError(f"cannot watch interface {interface!r}: {error.strerror}; there are: {names}") from error
    except BaseException:
        found.close()
        raise
    return found


def _tag(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The VLAN tag that the driver took off a frame."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(data) >= _AUXDATA.size:
            status, *_, tag, _ = _AUXDATA.unpack(data[: _AUXDATA.size])
            if status & _VLAN_VALID and tag & 0xFFF:
                return int(tag & 0xFFF)
    return None


def _attach_filter(found: socket.socket) -> None:
    program = _filter()
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    # struct sock_fprog: how many instructions, and where they are.
    found.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))


def _filter() -> list[tuple[int, int, int, int]]:
    """The filter, for a frame without, with one and with two VLAN tags, one block after the other.

    A jump counts the instructions it leaves out, so every block ends with its own return.
    """
    program: list[tuple[int, int, int, int]] = []
    for tags in range(3):
        ethertype = 12 + 4 * tags
        ip = ethertype + 2
        check = [
            (_LDB, 0, 0, ip + 9),
            (_JEQ, 0, 7, socket.IPPROTO_UDP),
            (_LDH, 0, 0, ip + 6),
            (_JSET, 5, 0, 0x1FFF),  # a later fragment has no ports
            (_LDX, 0, 0, ip),
            (_LDH_X, 0, 0, ip + 2),
            (_JEQ, 1, 0, SERVER_PORT),
            (_JEQ, 0, 1, CLIENT_PORT),
            (_RET, 0, 0, 0x40000),
            (_RET, 0, 0, 0),
        ]
        program.append((_LDH, 0, 0, ethertype))
        program.append((_JEQ, 0, len(check), 0x0800))
        program += check
        if tags < 2:
            # A tag: go on with what follows it; anything else is of no interest.
            program += [(_JEQ, 2, 0, 0x8100), (_JEQ, 1, 0, 0x88A8), (_RET, 0, 0, 0)]
    program.append((_RET, 0, 0, 0))
    return program
