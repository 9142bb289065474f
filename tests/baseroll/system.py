"""An installed system to run scripts in: this machine's files under an overlay, in namespaces of its own.

What only Enterprise Linux and Fedora have is stood in for: programs that write down how they were called, and the files
that their packages bring. Everything else (coreutils, sed, shadow-utils, bash) is real.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.baseroll.appliances import kickstart_of

CALLS = "/var/tmp/calls"
RECORDED = (
    "systemctl", "semanage", "restorecon", "grubby", "grub2-mkconfig", "update-ca-trust", "sshd", "dmidecode", "lspci",
)  # fmt: skip
PROGRAMS: Mapping[str, str] = {
    **{name: f'echo "{name} $*" >> {CALLS}' for name in RECORDED},
    "firewall-offline-cmd": f'echo "firewall-offline-cmd $*" >> {CALLS}\n[ "$1" != --get-zones ] || echo public\n'
    'case "$*" in *--query-source*) exit 1;; esac',
    "ssh-keygen": 'for word; do last=$word; done\n[ "$1" = -y ] && echo public || echo key > "$last"',
    "openssl": 'for word; do last=$word; done\necho der > "$last"',
    "rpm": "echo 5.14.0-1",
    "node_exporter": "exit 0",
    "systemd-escape": 'for word; do last=$word; done\necho "$last.mount" | sed -e "s,^/,," -e "s,/,-,g"',
    "efibootmgr": "exit 0",
}
FILES: Mapping[str, str] = {
    "/etc/default/grub": "GRUB_TIMEOUT=5\nGRUB_TERMINAL=console\n",
    "/etc/pam.d/password-auth": "account required pam_unix.so\nsession required pam_limits.so\n"
    "-session optional pam_systemd.so\n",
    "/etc/pam.d/sshd": "auth substack password-auth\naccount required pam_nologin.so\naccount include password-auth\n"
    "session required pam_selinux.so open\nsession include password-auth\n",
    "/etc/dnf/dnf.conf": "[main]\ngpgcheck=1\nbest=False\n",
    "/etc/dnf/plugins/README": "",
    "/etc/smartmontools/README": "",
    "/etc/sysconfig/README": "",
    "/etc/tuned/README": "",
    "/etc/grafana/README": "",
    "/etc/ssh/ssh_host_rsa_key": "of an image\n",
    "/etc/yum.repos.d/vendor.repo": "[vendor]\nenabled=1\n[vendor-debug]\nenabled = 0\n",
    "/etc/beegfs/beegfs-client.conf": "sysMgmtdHost =\nlogLevel = 3\n",
    "/etc/NetworkManager/system-connections/eno1.nmconnection": "[connection]\nid=eno1\n",
    "/etc/sssd/README": "",
    "/etc/fstab": "UUID=1 / xfs defaults 0 0\n",
    "/etc/mdadm.conf": "MAILADDR nobody\n",
    "/etc/resolv.conf": "nameserver 10.1.1.1\n",
    CALLS: "",
}
ACCOUNTS = "for name in sssd; do getent passwd $name > /dev/null || useradd --system --shell /bin/false $name; done\n"
_POST = re.compile(r"^%post --interpreter=/bin/bash[^\n]*\n(.*?)^%end$", re.MULTILINE | re.DOTALL)
_WATCHED = ("etc", "root", "state", "usr/local/sbin", "var/lib", "var/log/hosts", "export")
# Backups and locks of shadow-utils; the mirror of what this machine's own programs cache.
_UNWATCHED = re.compile(r".*-|.*\.lock|\.pwd\.lock|ld\.so\.cache")


@dataclass(frozen=True)
class Seen:
    """A file as it is: mode and text, or the place that a link leads to."""

    mode: int
    text: str


class System:
    """A root folder whose scripts may do what they like."""

    def __init__(self, folder: Path) -> None:
        self.upper, self.work, self.root = folder / "upper", folder / "work", folder / "root"
        for path in (self.upper, self.work, self.root):
            path.mkdir()
        for name, text in FILES.items():
            self._put(name, text, 0o644)
        for name, text in PROGRAMS.items():
            self._put(f"/opt/stand-in/{name}", f"#!/bin/sh\n{text}\n", 0o755)

    def _put(self, name: str, text: str, mode: int) -> None:
        path = self.upper / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash inside."""
        self._put("/opt/stand-in/.script", script, 0o755)
        options = f"lowerdir=/,upperdir={self.upper},workdir={self.work}"
        enter = (
            f"mount -t overlay overlay -o {options} {self.root} && mount --rbind /dev {self.root}/dev && "
            f"mount -t proc proc {self.root}/proc && exec chroot {self.root} /usr/bin/env -i "
            "PATH=/opt/stand-in:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash /opt/stand-in/.script"
        )
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def install(self, appliance: str, release: str, site: str) -> None:
        """Run the posts of an appliance, in order."""
        posts = _POST.findall(kickstart_of(appliance, release, site))
        done = self.run(ACCOUNTS + "".join(f"(\n{post}\n) || exit\n" for post in posts))
        assert done.returncode == 0, done.stderr + done.stdout

    def text(self, name: str) -> str:
        return (self.upper / name.lstrip("/")).read_text()

    @property
    def calls(self) -> list[str]:
        return self.text(CALLS).splitlines()

    @property
    def files(self) -> Mapping[str, Seen]:
        """What the scripts made of this machine's files."""
        found = {}
        for folder in _WATCHED:
            for path in sorted((self.upper / folder).rglob("*")):
                if _UNWATCHED.fullmatch(path.name) or not (path.is_file() or path.is_symlink()):
                    continue
                text = str(path.readlink()) if path.is_symlink() else path.read_bytes().decode(errors="replace")
                found[f"/{path.relative_to(self.upper)}"] = Seen(path.lstat().st_mode, text)
        return found
