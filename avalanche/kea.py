"""The settings of Kea's DHCPv4 server, as the document it reads. Written for Kea 2.2 and later."""

from __future__ import annotations

from typing import Any

from avalanche.config import DhcpConfig
from avalanche.roster import Reservation, Roster, Segment

# Classes that ask who a client is are evaluated when its reservation is known, and with it "noboot".
_BOOTS = "not member('noboot') and (member('KNOWN') or member('UNKNOWN'))"
_IPXE = "substring(option[77].hex, 0, 4) == 'iPXE'"


def kea_settings(roster: Roster) -> dict[str, Any]:
    """The document."""
    return {
        "Dhcp4": {
            "interfaces-config": {"interfaces": list(roster.dhcp.interfaces)},
            "lease-database": {"type": "memfile", "persist": True},
            "valid-lifetime": roster.dhcp.lease_seconds,
            "authoritative": True,
            "host-reservation-identifiers": ["hw-address"],
            # Any card of a host may be the one that boots: they share an address.
            "ip-reservations-unique": False,
            "client-classes": _classes(roster.dhcp),
            "subnet4": [_subnet(roster, segment) for segment in roster.served],
        }
    }


def _classes(dhcp: DhcpConfig) -> list[dict[str, Any]]:
    not_ipxe = f" and not ({_IPXE})" if dhcp.ipxe else ""
    found: list[dict[str, Any]] = [{"name": "noboot"}]
    for name, file, codes in (
        ("bios", dhcp.bios, (0,)),
        ("efi", dhcp.efi, (7, 9)),
        ("efi-arm", dhcp.efi_arm, (11,)),
        ("http", dhcp.http, (16,)),
        ("http-arm", dhcp.http_arm, (19,)),
    ):
        if not file:
            continue
        asks = " or ".join(f"option[93].hex == 0x{code:04x}" for code in codes)
        boot: dict[str, Any] = {"name": name, "test": f"{_BOOTS} and ({asks}){not_ipxe}", "boot-file-name": file}
        if name.startswith("http"):
            # A UEFI that boots over HTTP passes over an answer that does not say so.
            told = {"name": "vendor-class-identifier", "data": "HTTPClient", "always-send": True}
            boot |= {"option-data": [told]}
        elif dhcp.next_server:
            boot |= {"next-server": dhcp.next_server}
        found.append(boot)
    if dhcp.ipxe:
        found.append({"name": "ipxe", "test": f"{_BOOTS} and {_IPXE}", "boot-file-name": dhcp.ipxe})
    return found


def _subnet(roster: Roster, segment: Segment) -> dict[str, Any]:
    options = {
        "routers": ", ".join(segment.routers),
        "domain-name-servers": ", ".join(segment.servers),
        "domain-name": segment.zone or "",
        "interface-mtu": str(segment.mtu) if segment.mtu != 1500 else "",
    }
    mine = [one for one in roster.reservations if one.segment is segment]
    return {
        # Leases are stored under it: it must not change when another network is added.
        "id": int(segment.subnet.network_address) or 1,
        "subnet": str(segment.subnet),
        "pools": [{"pool": f"{first} - {last}"} for first, last in segment.pools],
        "option-data": [{"name": name, "data": data} for name, data in options.items() if data],
        "reservations": [_reservation(one, mac, roster.dhcp) for one in mine for mac in one.macs],
    }


def _reservation(one: Reservation, mac: str, dhcp: DhcpConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"hw-address": mac, "ip-address": one.ip, "hostname": one.host.name}
    if not one.host.boots:
        return found | {"client-classes": ["noboot"]}
    if one.host.filename:
        found["boot-file-name"] = one.host.filename
    if one.host.tag and (one.host.next_server or dhcp.next_server):
        found["next-server"] = one.host.next_server or dhcp.next_server
    return found
