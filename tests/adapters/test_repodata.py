"""Repodata: what createrepo_c writes for us, read by createrepo_c's own tools."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import createrepo_c
import pytest

from avalanche.adapters.repodata import find_comps, find_modules, places, read_header, write_repodata
from avalanche.errors import RepositoryError
from avalanche.modules import parse_modules
from avalanche.repository import parse_comps
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


GROUP = "<comps><group><id>{id}</id><name>{id}</name><packagelist>{members}</packagelist></group></comps>"
STREAM = "document: modulemd\nversion: 2\ndata: {{name: {name}, stream: 1.10, version: 1, artifacts: {{rpms: []}}}}\n"


def repository(folder: Path, comps: str = "", modules: str = "", *, how: str = "gz") -> Path:
    """A repository without packages, as tools make it."""
    folder.mkdir(parents=True)
    programs = Path(sys.executable).parent

    def run(program: str, *arguments: object) -> None:
        subprocess.run([programs / program, *map(str, arguments)], cwd=folder, check=True, capture_output=True)

    (folder / "groups").write_text(comps or GROUP.format(id="x", members=""))
    run("createrepo_c", "--quiet", *(["--groupfile", "groups"] if comps else []), ".")
    if modules:
        (folder / "modules").write_text(modules)
        run("modifyrepo_c", "--mdtype=modules", f"--compress-type={how}", "modules", "repodata")
        (folder / "modules").unlink()
    (folder / "groups").unlink()
    return folder


@pytest.mark.parametrize("how", ["gz", "xz", "zstd", "bz2"])
def test_modules_are_found_where_tools_put_them(tmp_path: Path, how: str) -> None:
    text = STREAM.format(name="node")
    found = find_modules(repository(tmp_path / "one", modules=text, how=how))
    assert found == text.encode()
    assert [build.name for build in parse_modules(found, file="x").builds] == ["node:1.10"]


def test_a_folder_may_have_its_modules_beside_its_packages(tmp_path: Path) -> None:
    assert find_modules(tmp_path) is None
    (tmp_path / "modules.yaml").write_text(STREAM.format(name="node"))
    assert find_modules(tmp_path) == STREAM.format(name="node").encode()


def test_a_disc_s_repositories_are_put_together(tmp_path: Path) -> None:
    members = '<packagereq type="mandatory">{}</packagereq>'
    repository(tmp_path / "BaseOS", GROUP.format(id="core", members=members.format("bash")))
    streams = STREAM.format(name="node") + "...\n---\n" + STREAM.format(name="php")
    both = GROUP.format(id="core", members=members.format("vim")).replace("</comps>", "")
    both += GROUP.format(id="php", members=members.format("php")).removeprefix("<comps>")
    repository(tmp_path / "AppStream", both, streams)
    repository(tmp_path / "AppStream2", modules=STREAM.format(name="perl"))
    repository(tmp_path / ".old", GROUP.format(id="hidden", members=""))
    comps = parse_comps(find_comps(tmp_path) or b"", file="x")
    assert {group.id: [one.name for one in group.members] for group in comps.groups} == {
        "core": ["vim", "bash"], "php": ["php"]
    }  # fmt: skip
    modules = parse_modules(find_modules(tmp_path) or b"", file="x")
    assert [build.module for build in modules.builds] == ["node", "php", "perl"]
    # What the folder's own files say is all there is, and of these its repository data.
    (tmp_path / "comps.xml").write_text(GROUP.format(id="plain", members=""))
    assert [group.id for group in parse_comps(find_comps(tmp_path) or b"", file="x").groups] == ["plain"]
    (tmp_path / "own").mkdir()
    program = Path(sys.executable).with_name("createrepo_c")
    (tmp_path / "groups").write_text(GROUP.format(id="mine", members=""))
    subprocess.run([program, "--quiet", "--groupfile", "groups", "."], cwd=tmp_path, check=True, capture_output=True)
    assert [group.id for group in parse_comps(find_comps(tmp_path) or b"", file="x").groups] == ["mine"]


def test_groups_that_are_broken_are_named_by_the_file_they_stand_in(tmp_path: Path) -> None:
    repository(tmp_path / "BaseOS", GROUP.format(id="core", members=""))
    broken = repository(tmp_path / "AppStream", "<comps>\n<group><name>x</name></group></comps>")
    for folder in (tmp_path, broken):
        with pytest.raises(RepositoryError) as caught:
            find_comps(folder)
        assert str(caught.value) == f"{places(broken)['group']}:2: <group> has no <id>"
    (tmp_path / "comps.xml").write_text("\n<comps>")  # the folder's own file is all there is
    with pytest.raises(RepositoryError, match=rf"^{tmp_path}/comps\.xml:2: not well-formed"):
        find_comps(tmp_path)


def test_modules_that_are_broken_are_named_by_the_file_they_stand_in(tmp_path: Path) -> None:
    repository(tmp_path / "BaseOS", modules=STREAM.format(name="node"))
    broken = repository(tmp_path / "AppStream", modules=STREAM.format(name="php") + "}")
    for folder in (tmp_path, broken):
        with pytest.raises(RepositoryError) as caught:
            find_modules(folder)
        assert str(caught.value).startswith(f"{places(broken)['modules']}:4: not YAML")
    (tmp_path / "modules.yaml").write_text("\n[")  # the folder's own file is all there is
    with pytest.raises(RepositoryError, match=rf"^{tmp_path}/modules\.yaml:\d: not YAML"):
        find_modules(tmp_path)


def test_a_chunked_twin_is_passed_over_and_refused_where_it_stands_alone(tmp_path: Path) -> None:
    folder = repository(tmp_path / "one", GROUP.format(id="core", members=""), STREAM.format(name="node"))
    repomd = folder / "repodata" / "repomd.xml"
    chunked = folder / "repodata" / "chunked.zck"
    chunked.write_bytes(b"\0ZCK1" + bytes(100))
    plain = repomd.read_text()
    for kind in ("group", "modules"):
        twin = f'<data type="{kind}_zck"><location href="repodata/chunked.zck"/></data></repomd>'
        repomd.write_text(plain.replace("</repomd>", twin))
        assert find_comps(folder) is not None and find_modules(folder) is not None
        repomd.write_text(plain.replace(f'type="{kind}"', 'type="other"').replace("</repomd>", twin))
        with pytest.raises(
            RepositoryError, match=rf"chunked\.zck: the {kind}s? cannot be read: .*; unpack it \(unzck\)"
        ):
            find_comps(folder) if kind == "group" else find_modules(folder)


def test_what_modules_a_repository_has_is_written_as_dnf_reads_it(packages: Path, tmp_path: Path) -> None:
    text = STREAM.format(name="node").encode()
    files = write_repodata(tmp_path / "repodata", headers_of(packages), COMPS, text)
    assert files[-1].name.endswith("-modules.yaml.gz")
    assert gzip.decompress(files[-1].read_bytes()) == text
    again = write_repodata(tmp_path / "again", headers_of(packages), COMPS, text)
    assert [path.name for path in files] == [path.name for path in again]
    assert find_modules(tmp_path) == text
