"""The configured Debian root, made once, with two uses: RPMs are made of it, and hosts run the installer in it."""

from __future__ import annotations

import compileall
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from avalanche.errors import ConfigError
from lab.archive import SUITE, apt_options, sources_list
from lab.cache import Cache, key_of
from lab.contained import CommandFailed, contained, run, tail
from lab.progress import Advance, progress

# What a compute host of the lab is made of (beside Debian's standard system), and what the mini installer runs on.
_HOST = (
    "linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "systemd-resolved", "dbus", "openssh-server",
    "grub-pc-bin", "grub-efi-amd64-bin", "python3", "zstd", "kmod", "gcc", "make", "openmpi-bin", "environment-modules",
    "nfs-common", "rsync", "strace", "ethtool", "tcpdump",
    "numactl", "pdsh",
)  # fmt: skip
_INSTALLER = (
    "dnf",
    "python3-dnf",
    "rpm",
    "gnupg",
    "curl",
    "iproute2",
    "util-linux",
    "ca-certificates",
    "python3-requests",
)
_OPTIONS = (
    "--mode=root", "--format=directory", "--variant=standard", "--verbose", "--dpkgopt=force-unsafe-io",
    '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"',
    # The index of manual pages would be rebuilt after every phase.
    '--essential-hook=echo "man-db man-db/auto-update boolean false" | chroot "$1" debconf-set-selections',
)  # fmt: skip
_FILES = {
    # Debian's rpm keeps its database in root's home; an installed system has it where everybody looks.
    "etc/rpm/macros": "%_dbpath /var/lib/rpm\n",
    # Each host builds its initramfs at the end of its transaction: real work, kept small for few processors.
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n",
    "usr/bin/dracut": "#!/bin/sh\n# Anaconda asks for a program of this name.\nexec update-initramfs -u -k all\n",
}
_EXPECTED_STEPS = 800  # unpacking and configuring about 400 packages
_ROOT_MB = 3000
_DIST_PACKAGES = "usr/lib/python3/dist-packages"


def root_key() -> str:
    """Return the key of the root: all that decides its content, but for the state of the Debian archive."""
    return key_of({"suite": SUITE, "host": _HOST, "installer": _INSTALLER, "options": _OPTIONS, "files": _FILES})


def configured_root(cache: Cache) -> Path:
    """Return the configured Debian root, made if the cache has none."""
    return cache.provide("root", root_key(), _make_root, megabytes=_ROOT_MB) / "root"


def _make_root(folder: Path) -> None:
    root = folder / "root"
    run(["rm", "-rf", "--one-file-system", str(root)])
    options = [*_OPTIONS, *(f"--aptopt={option}" for option in apt_options())]
    command = ["mmdebstrap", *options, f"--include={','.join((*_HOST, *_INSTALLER))}", SUITE, str(root), "-"]
    with progress("Debian root", _EXPECTED_STEPS) as advance:
        _bootstrap(command, sources_list(), advance)
    root.chmod(0o755)
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)


def _bootstrap(command: list[str], sources: str, advance: Advance) -> None:
    # INITRD=No: the kernel's script would build an initramfs that no RPM takes.
    environment = {**os.environ, "INITRD": "No", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    process = subprocess.Popen(
        contained(*command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    said: list[str] = []
    with process:
        process.stdin.write(sources)
        process.stdin.close()
        steps = 0
        for line in process.stdout:
            said = [*said[-30:], line]
            steps += line.startswith(("Unpacking ", "Setting up "))
            advance(steps)
    if process.returncode:
        errors = [line for line in said if line.startswith(("E:", "W:", "dpkg:"))]
        raise CommandFailed(f"mmdebstrap: exit {process.returncode}: {tail(''.join(errors or said))}")


def installer_layer(cache: Cache) -> Path:
    """Return what the installer root has on top of the configured root: pykickstart, as Anaconda's image has it."""
    version = importlib.metadata.version("pykickstart")
    key = key_of({"pykickstart": version, "into": _DIST_PACKAGES, "compiled": sys.version_info[:2]})
    return cache.provide("installer", key, _layer_maker("pykickstart"), megabytes=20)


def _layer_maker(module: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        found = importlib.util.find_spec(module)
        if found is None or not found.submodule_search_locations:
            raise ConfigError(f"the Python package {module} is missing: run make setup")
        # Pure Python: the copy that judges kickstarts in our tests judges them on the hosts.
        target = folder / _DIST_PACKAGES / module
        source = Path(next(iter(found.submodule_search_locations)))
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        # Every host would do it again.
        compileall.compile_dir(target, quiet=1, stripdir=folder)

    return build
