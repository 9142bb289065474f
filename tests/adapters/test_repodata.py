"""Repodata: what createrepo_c writes for us, read by createrepo_c's own tools."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import createrepo_c
import pytest

from avalanche.adapters.repodata import find_comps, places, read_header, write_repodata
from avalanche.errors import RepositoryError
from tests.adapters.rpms import COMPS


def headers_of(packages: Path) -> list[createrepo_c.Package]:
    found = sorted(packages.rglob("*.rpm"))
    return [read_header(p, path=f"Packages/{p.name}", sha256=hashlib.sha256(p.read_bytes()).hexdigest()) for p in found]


def test_the_data_names_every_package_with_its_place_and_digest(packages: Path, tmp_path: Path) -> None:
    write_repodata(tmp_path / "repodata", headers_of(packages), COMPS)
    reader = createrepo_c.RepositoryReader.from_path(str(tmp_path))
    found = {package.nevra(): package for package in reader.iter_packages()}
    assert sorted(found) == [
        "alpha-0:1.0-1.noarch",
        "beta-2:1.0-1.noarch",
        "delta-0:1.0-1.noarch",
        "gcc-c++-0:1.0~rc1^git-1.noarch",
    ]
    assert found["delta-0:1.0-1.noarch"].location_href == "Packages/délta 100%+ x.rpm"
    alpha = next(packages.rglob("alpha*.rpm"))
    assert found["alpha-0:1.0-1.noarch"].pkgId == hashlib.sha256(alpha.read_bytes()).hexdigest()
    assert ("/usr/bin/", "alpha") in [entry[1:3] for entry in found["alpha-0:1.0-1.noarch"].files]


def test_the_files_come_in_the_order_in_which_dnf_asks(packages: Path, tmp_path: Path) -> None:
    files = write_repodata(tmp_path / "repodata", headers_of(packages), COMPS)
    assert [path.name.rpartition("-")[2] for path in files] == [
        "repomd.xml",
        "primary.xml.gz",
        "filelists.xml.gz",
        "comps.xml",
    ]
    assert sorted(files) == sorted((tmp_path / "repodata").iterdir())
    assert places(tmp_path) == dict(zip(("primary", "filelists", "group"), files[1:], strict=True))


def test_the_same_packages_give_the_same_bytes_whatever_the_files_times_are(packages: Path, tmp_path: Path) -> None:
    first = write_repodata(tmp_path / "one", headers_of(packages), COMPS)
    for package in packages.rglob("*.rpm"):
        os.utime(package, (1, 1))
    second = write_repodata(tmp_path / "two", headers_of(packages), COMPS)
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_groups_are_found_where_createrepo_c_put_them(packages: Path, tmp_path: Path) -> None:
    assert find_comps(tmp_path) is None
    (tmp_path / "comps.xml").write_bytes(COMPS)
    assert find_comps(tmp_path) == COMPS
    program = Path(sys.executable).with_name("createrepo_c")
    subprocess.run([program, "--quiet", "--groupfile", "comps.xml", "."], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "comps.xml").unlink()
    assert find_comps(tmp_path) == COMPS
    # Older tools list a compressed twin under a kind of its own, and nothing else need be there.
    repomd = tmp_path / "repodata" / "repomd.xml"
    repomd.write_text(repomd.read_text().replace('type="group"', 'type="group_gz"'))
    assert find_comps(tmp_path) == COMPS


def test_repository_data_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata" / "repomd.xml").write_text("<repomd")
    with pytest.raises(RepositoryError, match=r"repodata/repomd\.xml cannot be read"):
        find_comps(tmp_path)


def test_a_file_that_is_no_rpm_or_not_the_expected_one_is_named(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(RepositoryError, match=r"Packages/a\.rpm: not an RPM"):
        read_header(tmp_path / "text", path="Packages/a.rpm", sha256="0" * 64)
    with pytest.raises(RepositoryError, match=r"Packages/a\.rpm: the store's copy is damaged"):
        read_header(next(packages.rglob("*.rpm")), path="Packages/a.rpm", sha256="0" * 64)
