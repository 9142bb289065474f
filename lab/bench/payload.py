"""What a data plane carries in a benchmark: packages with the sizes of real ones, for one appliance or for two."""

from __future__ import annotations

from pathlib import Path

from lab.bench.rpmfile import rpm_file
from lab.packages.comps import comps_xml
from lab.simulated import package_sizes

COMMON = 0.6
"""Part of appliance A that ``mixed`` wants, too; the rest of it is the same part of another set, B."""


def make_payload(folder: Path, *, size: int, files: int, seed: int, is_mixed: bool) -> None:
    """Fill ``folder`` with ``files`` packages of ``size`` bytes together: the closure of ``compute``.

    Of these, 60 % of the bytes are ``common``. When ``is_mixed``, there are more, as many bytes as ``compute`` has
    alone: those ``mixed`` has alone.
    """
    packages = folder / "Packages"
    packages.mkdir(parents=True)
    sizes = package_sizes(size, files, seed=seed)
    groups: dict[str, list[str]] = {"core": [], "common": [], "compute": [], "mixed": []}
    have = 0
    for number, each in enumerate(sizes):
        # Every stretch of packages has common ones and others, as the alphabet mixes them.
        is_common = have <= COMMON * sum(sizes[: number + 1])
        have += each if is_common else 0
        kinds = ["common"] if is_common else ["compute", "mixed"] if is_mixed else ["compute"]
        for kind in kinds:
            # The names begin alike: the canonical order is that of the paths.
            name = f"p{number:04d}-{kind}"
            groups[kind].append(name)
            (packages / f"{name}-1-1.noarch.rpm").write_bytes(rpm_file(name, each, seed=seed))
    (folder / "comps.xml").write_text(comps_xml(groups))
