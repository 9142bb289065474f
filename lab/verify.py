"""The lab's own judgement of a host: it reads every file itself and believes nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from avalanche.manifest import Entry, Manifest
from lab.contained import CommandFailed, dependent, run

_QUERY = "%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n"


def packages_of(manifest: Manifest) -> tuple[Entry, ...]:
    """Return the packages among the objects of a manifest."""
    return tuple(entry for entry in manifest.entries if entry.nevra is not None)


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return name and SHA-256 of files."""
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def dnf_packages(root: Path) -> list[Path]:
    """Return the RPMs dnf kept in an install root."""
    return sorted((root / "var/cache/dnf").glob("*/packages/*.rpm"))


def installed_nevras(root: Path) -> set[str]:
    """Return what the RPM database of a root says, as ``name-epoch:version-release.arch``, without imported keys.

    Raises:
        CommandFailed: there is no database, or it is damaged.
    """
    if not (root / "var/lib/rpm").is_dir():
        raise CommandFailed(f"{root} has no RPM database")
    command = dependent("rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "--query", "--all")
    lines = run([*command, "--queryformat", _QUERY]).split()
    return {line for line in lines if not line.startswith("gpg-pubkey-")}


def package_problem(found: Mapping[str, str], closure: Manifest) -> str:
    """Return what is wrong with the RPMs a host got (name and SHA-256), or nothing."""
    wanted = {Path(entry.path).name: entry.sha256 for entry in packages_of(closure)}
    for name, digest in found.items():
        if wanted.get(name) != digest:
            return (
                f"{name} has bytes that are not the manifest's" if name in wanted else f"{name} is not in the closure"
            )
    missing = sorted(wanted.keys() - found.keys())
    return f"{len(missing)} packages missing, first {missing[0]}" if missing else ""


def install_problem(installed: set[str], closure: Manifest) -> str:
    """Return how the installed packages differ from the closure, or nothing."""
    wanted = {entry.nevra for entry in packages_of(closure) if entry.nevra is not None}
    if installed == wanted:
        return ""
    missing, more = sorted(wanted - installed), sorted(installed - wanted)
    return f"rpm -qa differs from the closure: {len(missing)} missing {missing[:2]}, {len(more)} more {more[:2]}"
