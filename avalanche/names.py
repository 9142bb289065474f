"""How things of a cluster are called and written: host names, labels, MACs, addresses, rack and rank."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterable

from avalanche.errors import ClusterError

MAX_NUMBER = 999_999
"""The highest rack and rank."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RACK = re.compile(r"rack[0-9]+")
_HEX = re.compile(r"0x[0-9a-f]+")
_TITLE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_NUMBERS = re.compile(r".*?-(\d+)-(\d+)")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){14})?")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,31}")


def check_host_name(text: str) -> str:
    """Return a host name as it is: Rocks' rule, one DNS label, and lower case, because DNS knows no other.

    Raises:
        ClusterError: it is not one; says why.
    """
    if "." in text:
        raise ClusterError(f"{text!r} is not a host name: it has a dot; the domain is the zone of a network")
    if not _NAME.fullmatch(text):
        raise ClusterError(f"{text!r} is not a host name: at most 63 of a-z, 0-9 and '-', no '-' at its ends")
    if text.isdigit() or _HEX.fullmatch(text):  # the C library takes 0x10 for the address 0.0.0.16
        raise ClusterError(f"{text!r} is not a host name: it reads as a number")
    if _RACK.fullmatch(text):
        raise ClusterError(f"{text!r} is not a host name: it means a rack; add something like -node")
    return text


def is_host_name(text: str) -> bool:
    """Whether a host may be called so."""
    try:
        check_host_name(text)
    except ClusterError:
        return False
    return True


def check_name_is_no_group(name: str, appliances: Collection[str]) -> None:
    """See that a host is not called as an appliance is: commands take either.

    Raises:
        ClusterError: it is.
    """
    if name in appliances:
        raise ClusterError(f"{name!r} is not a host name: an appliance is called so; {name}-0-0 would do")


def check_label(what: str, text: str, size: int = 64) -> str:
    """Return the name of an appliance, a graph node and the like as it is.

    Raises:
        ClusterError: it is not one.
    """
    if not _LABEL.fullmatch(text) or len(text) > size:
        raise ClusterError(f"{what} {text!r} is not a name of letters, digits, '.', '_' and '-', at most {size} long")
    return text


def is_label(text: str) -> bool:
    """Whether ``check_label`` would take a name."""
    return _LABEL.fullmatch(text) is not None


def check_line(what: str, text: str, size: int) -> str:
    """Return a text of one printable line as it is.

    Raises:
        ClusterError: it is not one, or too long.
    """
    if not text.isprintable() or len(text) > size:
        raise ClusterError(f"{what} {text[:40]!r} is not one line of at most {size} printable characters")
    return text


def parse_mac(text: str) -> str:
    """Return a MAC in its canonical form: lower case, with colons; 6 octets, or 20 as InfiniBand has.

    Raises:
        ClusterError: it is not one.
    """
    found = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(found):
        raise ClusterError(f"{text!r} is not a MAC; write it like 52:54:00:12:34:56")
    return found


def parse_ip(text: str) -> str:
    """Return an IP address in its canonical form; an IPv4 address in IPv6 clothes becomes plain IPv4.

    Raises:
        ClusterError: it is not one.
    """
    if "%" in text:
        raise ClusterError(f"{text!r} is not an IP address: it has a zone, which means nothing on another machine")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ClusterError(f"{text!r} is not an IP address") from None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)


def check_address(text: str) -> str:
    """Return the address of a host as it is.

    Raises:
        ClusterError: it is the address of nobody or of many.
    """
    found = ipaddress.ip_address(text)
    if found.is_unspecified or found.is_multicast or text == "255.255.255.255":
        raise ClusterError(f"{text} is the address of nobody or of many; a host has one of its own")
    return text


def numbers_of(name: str) -> tuple[int, int]:
    """Read rack and rank from a name like ``compute-3-14``; (0, 0) when it has none."""
    match = _HOST_NUMBERS.fullmatch(name.partition(".")[0])
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def check_title(what: str, text: str) -> str:
    """Return the name of a membership as it is.

    Raises:
        ClusterError: it is not one.
    """
    if not _TITLE.fullmatch(text):
        raise ClusterError(f"{what} {text!r} is not a name of at most 64 letters, digits, spaces, '.', '_' and '-'")
    return text


def check_device(text: str) -> str:
    """Return the system's name for a network card as it is.

    Raises:
        ClusterError: it is not one.
    """
    if not _DEVICE.fullmatch(text):
        raise ClusterError(f"{text!r} is not a device like eno1")
    return text


def check_card(mac: str) -> str:
    """Return a canonical MAC that one card alone can have as it is.

    Raises:
        ClusterError: it belongs to nobody, or to many.
    """
    # The lowest bit of the first octet says "group" in Ethernet; InfiniBand's addresses are made otherwise.
    if not mac.strip("0:") or (len(mac) == 17 and int(mac[:2], 16) & 1):
        raise ClusterError(f"{mac} is the MAC of nobody or of many; a card has one of its own")
    return mac


def unknown(kind: str, name: str, known: Iterable[str], remedy: str) -> str:
    """Say that nothing has this name, which names are close, and how to add it."""
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = f" (close: {', '.join(near)})" if near else ""
    return f"no {kind} is called {name!r}{hint}; add it: {remedy}"
