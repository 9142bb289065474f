"""What is missing on this machine, said before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from avalanche.errors import ConfigError
from lab.cache import require_space
from lab.settings import Settings

_PROGRAMS = (
    "curl", "dhcpcd", "dnsmasq", "gpg", "ip", "mmdebstrap", "nsenter", "rpm", "rpmbuild", "rpmsign", "setpriv",
    "tc", "udhcpc", "unshare", "xargs",
)  # fmt: skip
# Measured with the whole set: install root 0.85 GB, dnf's and the agent's packages 0.3 GB each.
_HOST_MB = {"install": 1500, "download": 700}
_FRONTEND_MB = 800
# Measured: mini installer, dnf and agent of a host, and the frontend with its generation.
_HOST_MEMORY_MB = 250
_FRONTEND_MEMORY_MB = 600


def require_machine() -> None:
    """Check what every command of the lab needs.

    Raises:
        ConfigError: the first thing that is missing, and the remedy.
    """
    if os.geteuid() != 0:
        raise ConfigError("the lab makes namespaces and package roots: run it as root")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} missing: install the system packages the Makefile lists (make setup)")


def require_demo(settings: Settings, var: Path) -> None:
    """Check what a demo needs beyond that: namespaces, overlayfs, disk and memory.

    Raises:
        ConfigError: the first thing that is missing, and the remedy.
    """
    probe = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        raise ConfigError("this machine forbids network, mount or PID namespaces: the lab needs CAP_SYS_ADMIN")
    _require_overlay(var)
    need = settings.hosts * _HOST_MB[settings.mode] + _FRONTEND_MB
    require_space(var, need, purpose=f"a demo with {settings.hosts} hosts")
    memory = settings.hosts * _HOST_MEMORY_MB + _FRONTEND_MEMORY_MB
    available = available_memory_mb()
    if available < memory:
        raise ConfigError(
            f"{settings.hosts} hosts need about {memory} MB of memory, {available} MB are free: lower HOSTS"
        )


def _require_overlay(var: Path) -> None:
    existing = next(parent for parent in (var, *var.parents) if parent.is_dir())
    probe = existing / f".overlay-probe-{os.getpid()}"
    script = 'cd "$1" && mkdir l u w m && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m'
    probe.mkdir()
    try:
        command = ["unshare", "--mount", "sh", "-c", script, "probe", str(probe)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise ConfigError(
                f"{existing} cannot hold an overlayfs (a container's root?): set VAR to a folder on ext4 or xfs"
            )
    finally:
        shutil.rmtree(probe)


def available_memory_mb() -> int:
    """What programs can still have, in MB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise ConfigError("/proc/meminfo does not say how much memory is available")
