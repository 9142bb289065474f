"""Repository data: what RPM headers say, written as dnf reads it.

Wraps createrepo_c. The same packages and groups always give the same bytes: no clock, no file time and no file order
gets in.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import createrepo_c

from avalanche.errors import RepositoryError
from avalanche.modules import joined_modules
from avalanche.repository import joined_comps

FORMAT = f"1 createrepo_c {createrepo_c.VERSION}"
"""Changes when the same packages would be described by other bytes."""


_COMPRESSED = ("gz", "xz", "zst", "bz2", "zck")
_WORDS = {
    "group": ("groups", "unpack it (unzck), and give --comps FILE"),
    "modules": ("modules", "unpack it (unzck) as modules.yaml of the folder, and remove the folder's repodata"),
}


def read_header(stored: Path, *, path: str, sha256: str) -> createrepo_c.Package:
    """Read the header of an RPM file whose digests were checked before.

    Args:
        stored: the file.
        path: where the generation will have it.
        sha256: what its bytes must be.

    Raises:
        RepositoryError: the file is no RPM, or not the expected one.
    """
    try:
        header = createrepo_c.package_from_rpm(str(stored), location_href=path, changelog_limit=0)
    except (OSError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(f"{path}: not an RPM that can be read: {error}") from error
    if header.pkgId != sha256:
        raise RepositoryError(f"{path}: the store's copy is damaged ({stored}): run 'avalanche dist check'")
    header.time_file = header.time_build
    return header


def places(folder: Path) -> dict[str, Path]:
    """The files that a folder's ``repomd.xml`` lists, by their kind: ``primary``, ``filelists``, ``group``...

    Raises:
        RepositoryError: there is no ``repomd.xml``, or it cannot be read.
    """
    repomd = folder / "repodata" / "repomd.xml"
    try:
        return {record.type: folder / record.location_href for record in createrepo_c.Repomd(str(repomd)).records}
    except (OSError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(f"{repomd} cannot be read: {error}") from error


def find_comps(folder: Path) -> bytes | None:
    """The groups a folder of packages comes with: those of its own repository data, else its ``comps.xml``, else those
    of the repositories below, put together (a disc of EL has ``BaseOS`` and ``AppStream``), else None.

    Raises:
        RepositoryError: its repository data cannot be read, or a file of groups holds something else.
    """
    found = _found(folder, "group", "comps.xml")
    return joined_comps([(data, str(file)) for file, data in found]) if found else None


def find_modules(folder: Path) -> bytes | None:
    """The modules a folder of packages comes with, as ``find_comps`` finds groups; its own file is ``modules.yaml``.

    Raises:
        RepositoryError: its repository data cannot be read, or a file of modules holds something else.
    """
    found = _found(folder, "modules", "modules.yaml")
    return joined_modules([(data, str(file)) for file, data in found]) if found else None


def _found(folder: Path, kind: str, plain: str) -> list[tuple[Path, bytes]]:
    """The files that say something of a folder's packages, and what is in them."""
    own = _place(folder, kind)
    if own is not None:
        return [(own, _read(own, kind))]
    if (folder / plain).exists():
        return [(folder / plain, (folder / plain).read_bytes())]
    below = sorted(
        path.parent.parent
        for path in folder.glob("*/**/repodata/repomd.xml")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return [(file, _read(file, kind)) for one in below if (file := _place(one, kind)) is not None]


def _place(folder: Path, kind: str) -> Path | None:
    """Where a repository has its file of a kind; tools list it compressed, too, or in that form only."""
    found = places(folder) if (folder / "repodata" / "repomd.xml").exists() else {}
    names = [name for name in (kind, *(f"{kind}_{suffix}" for suffix in _COMPRESSED)) if name in found]
    # A chunked twin stands beside another form, which every build of createrepo_c reads.
    return found[names[0]] if names else None


def _read(file: Path, kind: str) -> bytes:
    what, remedy = _WORDS[kind]
    try:
        return _decompressed(file)
    except (OSError, createrepo_c.CreaterepoCError) as error:
        raise RepositoryError(f"{file}: the {what} cannot be read: {error}; {remedy}") from error


def _decompressed(path: Path) -> bytes:
    if createrepo_c.detect_compression(str(path)) == createrepo_c.NO_COMPRESSION:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        plain = Path(directory, "plain")
        createrepo_c.decompress_file(str(path), str(plain), createrepo_c.AUTO_DETECT_COMPRESSION)
        return plain.read_bytes()


def write_repodata(
    directory: Path, headers: Sequence[createrepo_c.Package], comps: bytes | None, modules: bytes | None = None
) -> tuple[Path, ...]:
    """Write ``repomd.xml`` and what it lists into ``directory``.

    Args:
        directory: made when it is not there.
        headers: the packages, in canonical order.
        comps: the groups, as a comps document.
        modules: the modules, as YAML documents.

    Returns:
        The files in the order in which dnf asks for them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    newest = max((header.time_build for header in headers), default=0)
    records = [
        _packages_record("primary", createrepo_c.PrimaryXmlFile, directory, headers),
        _packages_record("filelists", createrepo_c.FilelistsXmlFile, directory, headers),
    ]
    if comps is not None:
        (directory / "comps.xml").write_bytes(comps)
        records.append(_record("group", directory / "comps.xml"))
    if modules is not None:
        path = directory / "modules.yaml.gz"
        path.write_bytes(gzip.compress(modules, mtime=0))
        records.append(_record("modules", path))
    repomd = createrepo_c.Repomd()
    repomd.set_revision(str(newest))
    for record in records:
        record.timestamp = newest
        repomd.set_record(record)
    index = directory / "repomd.xml"
    index.write_text(repomd.xml_dump(), encoding="utf-8")
    return (index, *(Path(record.location_real) for record in records))


def _packages_record(
    kind: str, writer: type, directory: Path, headers: Iterable[createrepo_c.Package]
) -> createrepo_c.RepomdRecord:
    headers = tuple(headers)
    path = directory / f"{kind}.xml.gz"
    opened = createrepo_c.ContentStat(createrepo_c.SHA256)
    with closing(writer(str(path), createrepo_c.GZ_COMPRESSION, opened)) as file:
        file.set_num_of_pkgs(len(headers))
        for header in headers:
            file.add_pkg(header)
    return _record(kind, path, opened)


def _record(kind: str, path: Path, opened: createrepo_c.ContentStat | None = None) -> createrepo_c.RepomdRecord:
    record = createrepo_c.RepomdRecord(kind, str(path))
    if opened is not None:
        record.load_contentstat(opened)
    record.fill(createrepo_c.SHA256)
    record.rename_file()
    return record
