"""Kickstart commands: which of them the installer of a release takes, and which have had their day.

What pykickstart's handlers say, kept as a table, so that a compile needs no pykickstart; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Standing(Enum):
    """What to do with a command of a node file, for a release."""

    KNOWN = "written"
    SOURCE = "left out: packages come from the distribution"
    GONE = "left out: it has no effect any more"
    LATER = "refused: only other releases know it"
    UNKNOWN = "refused: no release knows it"


# Where packages come from is the agent's business: a byte from elsewhere would not be checked against the manifest.
SOURCES = frozenset({
    "url", "repo", "nfs", "cdrom", "harddrive", "hmc", "liveimg", "ostreesetup", "ostreecontainer", "bootc",
    "method",
})  # fmt: skip

_ALWAYS = frozenset({
    "autopart", "bootloader", "clearpart", "cmdline", "driverdisk", "eula", "fcoe", "firewall", "firstboot",
    "graphical", "group", "halt", "ignoredisk", "iscsi", "iscsiname", "keyboard", "lang", "logging", "logvol",
    "mediacheck", "network", "part", "partition", "poweroff", "raid", "realm", "reboot", "reqpart", "rescue",
    "rootpw", "selinux", "services", "shutdown", "skipx", "snapshot", "sshpw", "text", "timezone", "updates",
    "user", "volgroup", "xconfig", "zerombr", "zfcp",
})  # fmt: skip

# Those that pykickstart takes without complaint; what it calls deprecated is not among them.
_TAKEN: Mapping[str, frozenset[str]] = {
    "el7": frozenset({
        "auth", "authconfig", "autostep", "btrfs", "device", "deviceprobe", "dmraid", "install", "multipath",
        "nvdimm", "unsupported_hardware", "vnc",
    }),
    "el8": frozenset({
        "authselect", "autostep", "module", "mount", "nvdimm", "rhsm", "sshkey", "syspurpose", "vnc", "zipl",
    }),
    "el9": frozenset({
        "authselect", "module", "mount", "nvdimm", "rhsm", "sshkey", "syspurpose", "timesource", "vnc", "zipl",
    }),
    "el10": frozenset({"authselect", "mount", "rdp", "rhsm", "sshkey", "syspurpose", "timesource", "zipl"}),
    "fedora": frozenset({"authselect", "btrfs", "mount", "rdp", "sshkey", "timesource", "zipl"}),
}  # fmt: skip

# What installers once took, and some still do: old node files hold them, and a host installs as well without.
_OLD = frozenset({
    "auth", "authconfig", "autostep", "btrfs", "device", "deviceprobe", "dmraid", "install", "module", "multipath",
    "nvdimm", "unsupported_hardware", "upgrade", "vnc", "interactive", "key", "langsupport", "lilo", "lilocheck",
    "monitor", "mouse",
})  # fmt: skip

COMMANDS = _ALWAYS.union(*_TAKEN.values())
RELEASES = tuple(_TAKEN)


def standing(command: str, release: str) -> Standing:
    """Say what becomes of a command in a kickstart for a release."""
    if command in SOURCES:
        return Standing.SOURCE
    if command in _ALWAYS or command in _TAKEN[release]:
        return Standing.KNOWN
    if command in _OLD:
        return Standing.GONE
    return Standing.LATER if command in COMMANDS else Standing.UNKNOWN


def is_command(name: str) -> bool:
    """Say whether any release knows, or knew, a command."""
    return name in COMMANDS or name in SOURCES or name in _OLD
