"""Boot actions: what a machine does when it boots over the network, and the iPXE script that tells it so.

A host runs its system unless a live order says install; which action means "run" and which "install" is written on the
host (Rocks' ``runaction`` and ``installaction``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from avalanche.errors import ClusterError
from avalanche.names import check_line, unknown

RUN, INSTALL = "os", "install"
"""What every host has from birth. RUN need not be in the database: it is the disk."""

_LOCAL = re.compile(r"localboot(?: -?[0-9]{1,5})?")
_FILE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9./:_@%+=~?&,-]{0,254}")
_SCHEME = re.compile(r"(?:https?|tftp)://[^/]")
_KICKSTART = ("inst.ks=", "ks=")
_UNSPEAKABLE = re.compile(r"[^A-Za-z0-9 .,:/()'_=-]")


@dataclass(frozen=True, slots=True)
class BootAction:
    """What to boot.

    Attributes:
        kernel: the address of a kernel; a file name without ``http://`` or ``tftp://`` is one of the TFTP server that
            DHCP names, as in Rocks. ``localboot`` is the machine's own disk.
        ramdisk: likewise; "" for none.
        args: the kernel's command line. iPXE replaces ``${net0/mac}`` and the like in it.
    """

    name: str
    kernel: str
    ramdisk: str = ""
    args: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip():
            raise ClusterError(f"boot action {self.name!r} is not a name: it is empty, or has blanks around it")
        check_line("boot action", self.name, 64)
        if not self.is_local:
            _check_file("kernel", self.kernel)
        if self.ramdisk:
            _check_file("ramdisk", self.ramdisk)
        if self.is_local and (self.ramdisk or self.args):
            raise ClusterError(f"boot action {self.name}: who boots from disk takes no ramdisk and no args")
        check_line("args", self.args, 1024)
        for word in self.args.split():
            # iPXE would end the command there.
            if word in ("||", "&&", ";") or word.startswith("#"):
                raise ClusterError(f"args: {word!r} ends a command of iPXE; leave it out")

    @property
    def is_local(self) -> bool:
        """Whether it boots the machine's own disk."""
        return _LOCAL.fullmatch(self.kernel) is not None


DISK = BootAction(RUN, "localboot")


def _check_file(what: str, text: str) -> None:
    if not _FILE.fullmatch(text) or ("://" in text and not _SCHEME.match(text)):
        raise ClusterError(
            f"{what} {text[:60]!r} is not an address like http://10.1.1.1/vmlinuz, not a file of the TFTP server, and "
            "not localboot"
        )


def find_action(name: str, actions: Mapping[str, BootAction]) -> BootAction:
    """Return a boot action by its name.

    Raises:
        ClusterError: there is none; says how to add it.
    """
    found = actions.get(name)
    if found is not None:
        return found
    if name == RUN:
        return DISK
    raise ClusterError(unknown("boot action", name, actions, f"avalanche bootaction add '{name}' --kernel ADDRESS ..."))


def boot_script(action: BootAction, *, host: str, kickstart: str | None = None) -> str:
    """Write the iPXE script of an action.

    Args:
        kickstart: the address of the stub, for a host that installs; args that name one of their own win.
    """
    if action.is_local:
        return disk_script(f"{host} boots from its disk")
    args = action.args.split()
    if kickstart is not None and not any(word.startswith(_KICKSTART) for word in args):
        args += [f"inst.ks={kickstart}", "inst.ks.sendmac"]
    if action.ramdisk:
        args.append("initrd=initrd")  # a UEFI kernel finds it by this name
    lines = [
        "#!ipxe",
        _echo(f"{host} boots {action.name}"),
        " ".join(["kernel", _address(action.kernel), *args]) + " || goto failed",
    ]
    if action.ramdisk:
        lines.append(f"initrd --name initrd {_address(action.ramdisk)} || goto failed")
    lines += ["boot || goto failed", ":failed"]
    failed = f"{host} cannot boot {action.name}: mend its kernel and ramdisk with avalanche bootaction set"
    return "\n".join([*lines, _echo(failed), "sleep 10", "exit 1", ""])


def disk_script(why: str, *, seconds: int = 0) -> str:
    """Write the iPXE script that says why a machine boots from its disk; ``seconds`` for somebody to read it."""
    lines = ["#!ipxe", _echo(why), *([f"sleep {seconds}"] if seconds else [])]
    # A BIOS may not go on to its next device after iPXE; a UEFI has boot entries, and does.
    return "\n".join([*lines, "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 || exit", ""])


def _echo(text: str) -> str:
    # Nothing of a name or a message may be a command, a comment or a setting of iPXE.
    return f"echo avalanche: {_UNSPEAKABLE.sub('?', text)}"


def _address(file: str) -> str:
    return file if "://" in file else "tftp://${next-server}/" + file.lstrip("/")
