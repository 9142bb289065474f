"""The names of packages that releases have: tests/golden/names/RELEASE.txt, a line each: name, repository, source.

    python -m tests.baseroll.names el10 /mnt/AlmaLinux-10/BaseOS BaseOS

looks in a repository (a folder with repodata/) for the names that the base roll asks for, and adds those it has to the
list; what is listed already gets the new source. What no list has is printed at the end: look it up, and add a line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.baseroll.appliances import APPLIANCES, RELEASES, SITES, attributes_of, profile_of

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "names"

# What a site cannot choose on Fedora: nobody builds it for that.
NOT_ON_FEDORA = frozenset({
    "beegfs-client", "beegfs-helperd", "beegfs-utils", "kmod-lustre-client", "lmod-ohpc", "lustre-client",
    "lustre-client-dkms", "nhc-ohpc", "ohpc-slurm-client", "openmpi5-gnu13-ohpc", "slurm-ohpc",
    "slurm-pam_slurm-ohpc", "slurm-slurmd-ohpc",
})  # fmt: skip


def header(release: str) -> list[str]:
    return [line for line in _path(release).read_text().splitlines() if line.startswith("#")]


def listed(release: str) -> Mapping[str, tuple[str, str]]:
    """Every name with its repository and where that is written."""
    rows = [line.split("\t") for line in _path(release).read_text().splitlines() if line and not line.startswith("#")]
    return {name: (repository, source) for name, repository, source in rows}


def asked_for(release: str) -> frozenset[str]:
    """The packages that some appliance of some site asks for or keeps out. A name in an attribute is the site's."""
    names = {
        package.name
        for site in SITES
        for appliance in APPLIANCES
        for package in profile_of(appliance, release, site).packages
        if not package.meta and package.name != attributes_of(appliance, release, site).get("toolset")
    }
    return frozenset(names - NOT_ON_FEDORA if release == "fedora" else names)


def groups(release: str) -> frozenset[str]:
    return frozenset(
        f"@{package.name}"
        for site in SITES
        for appliance in APPLIANCES
        for package in profile_of(appliance, release, site).packages
        if package.meta
    )


def _path(release: str) -> Path:
    return FOLDER / f"{release}.txt"


def _add(release: str, repository: Path, tag: str) -> None:
    import createrepo_c

    wanted, rows = asked_for(release), dict(listed(release))
    found: set[str] = set()
    reader = createrepo_c.RepositoryReader.from_path(str(repository))
    for package in reader.iter_packages():
        found.add(package.name)
    rows |= {name: (tag, f"repodata of {repository.name}") for name in found & wanted}
    lines = [*header(release), *("\t".join((name, *rows[name])) for name in sorted(rows))]
    _path(release).write_text("".join(f"{line}\n" for line in lines))
    for name in sorted((wanted | groups(release)) - rows.keys()):
        print(name)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in RELEASES:
        sys.exit(f"usage: python -m tests.baseroll.names {'|'.join(RELEASES)} REPOSITORY TAG")
    _add(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
