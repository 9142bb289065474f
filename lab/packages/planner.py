"""Which RPM gets which file: reads a configured Debian root and plans the whole set.

No maintainer script travels into the RPMs. What such scripts had generated when the root was configured and no package
owns (alternatives, wants-links, PAM stacks, certificate links) goes into one RPM, ``debian-base-config``. As in
Enterprise Linux, ``setup`` (accounts) and ``filesystem`` (folders and the links of a merged /usr) come first.
"""

from __future__ import annotations

import os
import re
import stat
from functools import cached_property
from pathlib import Path

from lab.packages.debian import DebianPackage, Evr, dependency_tags, evr, parse_status, virtual_names
from lab.packages.spec import FileEntry, RpmPlan

_MERGED = frozenset({"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"})
_ACCOUNTS = re.compile(r"^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$")
_OWN_VERSION = Evr("", "1", "1")

# State of the machine that built the root, and what a program regenerates; such trees are made empty.
_LEFT_OUT_TREES = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/root", "/var/log",
    "/var/lib/apt", "/var/lib/dpkg", "/var/lib/ucf", "/var/lib/rpm", "/var/cache/apt",
    "/var/cache/debconf", "/var/cache/ldconfig", "/var/cache/man", "/etc/apt",
)  # fmt: skip
_LEFT_OUT = re.compile(
    r"^/boot/initrd|^/initrd\.img|^/vmlinuz|\.pyc$|/ld\.so\.cache$|^/etc/dpkg/|\.dpkg-(dist|old)$"
    # These belong to one machine, not to a package: names, keys, mounts.
    r"|^/etc/(hostname|hosts|machine-id|fstab|mtab|\.?resolv\.conf.*|\.pwd\.lock|ssh/ssh_host_.*)$"
)

# Real work at the end of a transaction, as on any distribution: library cache, and keys of the host's own.
_BASE_POSTTRANS = """\
/sbin/ldconfig || :
chgrp shadow /etc/shadow* /etc/gshadow* || :
if command -v ssh-keygen >/dev/null; then ssh-keygen -A >/dev/null || :; fi"""


class Root:
    """A configured Debian root, read-only to us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._resolved: dict[str, str] = {}

    @cached_property
    def packages(self) -> list[DebianPackage]:
        return parse_status(self._at("/var/lib/dpkg/status").read_text())

    @cached_property
    def _users(self) -> dict[int, str]:
        return self._names("/etc/passwd")

    @cached_property
    def _groups(self) -> dict[int, str]:
        return self._names("/etc/group")

    def _names(self, path: str) -> dict[int, str]:
        rows = (line.split(":") for line in self._at(path).read_text().splitlines())
        return {int(row[2]): row[0] for row in rows}

    def _at(self, path: str) -> Path:
        return self.path / path.lstrip("/")

    def canonical(self, path: str) -> str:
        """Return the path with the links in its folders resolved inside the root (``/bin/sh`` is ``/usr/bin/sh``)."""
        folder, name = os.path.split(path)
        return os.path.join(self._canonical_folder(folder), name)  # noqa: PTH118 - paths of the root, not of this machine

    def _canonical_folder(self, folder: str) -> str:
        if folder in ("", "/"):
            return "/"
        known = self._resolved.get(folder)
        if known is None:
            candidate = self.canonical(folder)
            if self._at(candidate).is_symlink():
                target = os.path.normpath(os.path.join(os.path.dirname(candidate), self._at(candidate).readlink()))  # noqa: PTH118, PTH120
                candidate = self._canonical_folder(target)
            known = self._resolved[folder] = candidate
        return known

    def listed(self, package: DebianPackage) -> list[str]:
        """Return the canonical paths of the package's files that exist and are not folders."""
        info = self._at("/var/lib/dpkg/info")
        lists = [info / f"{package.name}{suffix}.list" for suffix in ("", f":{package.architecture}")]
        found = next((path for path in lists if path.exists()), None)
        if found is None:
            return []
        names = (self.canonical(line) for line in found.read_text().splitlines() if line not in ("", "/."))
        return [name for name in names if name not in _MERGED and self._is_file(name)]

    def _is_file(self, path: str) -> bool:
        full = self._at(path)
        return full.is_symlink() or (full.exists() and not full.is_dir())

    def walk(self) -> tuple[list[str], list[str]]:
        """Return all folders, and all files outside the trees that are left out."""
        folders: list[str] = []
        files: list[str] = []
        for top, below, names in os.walk(self.path):
            folder = "/" + os.path.relpath(top, self.path) if top != str(self.path) else "/"
            folders.append(folder)
            if folder in _LEFT_OUT_TREES:
                below[:] = []
                continue
            links = [name for name in below if os.path.islink(f"{top}/{name}")]  # noqa: PTH114 - 25,000 of them
            below[:] = sorted(set(below) - set(links))
            files += [f"{folder.rstrip('/')}/{name}" for name in sorted(names + links)]
        return folders, files

    def entry(self, path: str, *, conffiles: frozenset[str] = frozenset()) -> FileEntry:
        status = self._at(path).lstat()
        if stat.S_ISLNK(status.st_mode):
            return FileEntry(path, "link")
        # Group `shadow` does not exist yet when these files are unpacked; a scriptlet corrects it.
        group = "root" if path.startswith("/etc/") and "shadow" in path else self._groups.get(status.st_gid, "root")
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "config" if path in conffiles else "file"
        return FileEntry(path, kind, stat.S_IMODE(status.st_mode), self._users.get(status.st_uid, "root"), group)


def plan_rpms(root: Root) -> list[RpmPlan]:
    """Return the plans of the whole set: three of our own first, then one per Debian package."""
    owned: dict[str, list[str]] = {}
    owner: set[str] = set()
    for package in root.packages:
        paths = [path for path in dict.fromkeys(root.listed(package)) if path not in owner]
        owner.update(paths)
        owned[package.name] = paths
    folders, files = root.walk()
    unowned = [path for path in files if path not in owner and not _LEFT_OUT.search(path)]
    virtual = virtual_names(root.packages)
    plans = _own_plans(root, folders, unowned)
    plans += [_package_plan(root, package, owned[package.name], virtual) for package in root.packages]
    return plans


def _own_plans(root: Root, folders: list[str], unowned: list[str]) -> list[RpmPlan]:
    accounts = [path for path in unowned if _ACCOUNTS.match(path)]
    merged = [path for path in unowned if path in _MERGED]
    generated = [path for path in unowned if path not in _MERGED and not _ACCOUNTS.match(path)]
    # dpkg never names essential packages in dependencies, so somebody has to.
    essential = [f"Requires: {package.name}" for package in root.packages if package.is_essential]
    # Anaconda asks for dracut whatever the distribution; the root has a program of that name.
    base_tags = ["Requires: setup", "Requires: filesystem", *essential, "Provides: dracut = 1"]
    configuration = frozenset(accounts)

    def plan(name: str, summary: str, tags: list[str], files: list[FileEntry], posttrans: str = "") -> RpmPlan:
        return RpmPlan(name, _OWN_VERSION, True, summary, summary, tuple(tags), tuple(files), posttrans)

    return [
        plan("setup", "Accounts and groups", [], [root.entry(path, conffiles=configuration) for path in accounts]),
        plan(
            "filesystem",
            "The folders of the system",
            ["Requires(pre): setup"],
            [root.entry(path) for path in [*(folder for folder in folders if folder != "/"), *merged]],
        ),
        plan(
            "debian-base-config",
            "Configuration that no package owns",
            base_tags,
            [root.entry(path) for path in generated],
            _BASE_POSTTRANS,
        ),
    ]


def _package_plan(root: Root, package: DebianPackage, paths: list[str], virtual: frozenset[str]) -> RpmPlan:
    tags = ["Requires(pre): setup"]
    if package.name != "base-files":
        tags.append("Requires(pre): filesystem")
    tags += dependency_tags(package, virtual=virtual)
    posttrans = ""
    kernel = next((path for path in paths if path.startswith("/boot/vmlinuz-")), None)
    if kernel is not None:
        posttrans = f"update-initramfs -c -k {kernel.removeprefix('/boot/vmlinuz-')} || :"
        tags.append(f"Provides: kernel = {package.version.rpartition(':')[2]}")
    conffiles = frozenset(root.canonical(path) for path in package.conffiles)
    return RpmPlan(
        name=package.name,
        evr=evr(package.version),
        is_noarch=package.is_noarch,
        summary=package.summary,
        description=package.description,
        tags=tuple(tags),
        files=tuple(root.entry(path, conffiles=conffiles) for path in paths),
        posttrans=posttrans,
        finds_sonames=not package.is_noarch,
    )
