"""Distributions: from a folder of RPMs to a generation, and what happens when something is in the way."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avalanche.adapters.distributions import Distributions, Generation
from avalanche.errors import ConfigError, RepositoryError
from avalanche.manifest import hash_stream
from tests.adapters.rpms import COMPS, Vendor, build_rpm

Import = Callable[..., Generation]


@pytest.fixture
def take(distributions: Distributions, packages: Path, vendor: Vendor) -> Import:
    """Import the signed folder, or what the arguments say."""

    def import_it(folder: Path = packages, **options: object) -> Generation:
        options.setdefault("keys", [vendor.public_key])
        return distributions.import_folder("default", folder, **options)  # type: ignore[arg-type]

    return import_it


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def unfinished(state: Path) -> list[Path]:
    return [*state.glob("distributions/*/.building-*"), *state.glob("store/.incoming-*")]


def unreferenced(state: Path) -> list[Path]:
    return [path for path in state.glob("store/??/*") if path.stat().st_nlink == 1]


def test_a_generation_holds_signed_repository_data_and_every_package(take: Import) -> None:
    generation = take()
    paths = [re.sub("[0-9a-f]{64}-", "", entry.path) for entry in generation.manifest.entries]
    assert paths == [
        "repodata/repomd.xml",
        "repodata/repomd.xml.asc",
        "RPM-GPG-KEY-avalanche",
        "RPM-GPG-KEY-packages",
        "repodata/primary.xml.gz",
        "repodata/filelists.xml.gz",
        "repodata/comps.xml",
        "Packages/alpha-1.0-1.noarch.rpm",
        "Packages/beta-1.0-1.noarch.rpm",
        "Packages/gcc-c++-1.0~rc1^git-1.noarch.rpm",
        "Packages/other/délta 100%+ x.rpm",
    ]
    assert [entry.nevra for entry in generation.manifest.entries if entry.nevra] == [
        "alpha-0:1.0-1.noarch",
        "beta-2:1.0-1.noarch",
        "gcc-c++-0:1.0~rc1^git-1.noarch",
        "delta-0:1.0-1.noarch",
    ]
    for entry in generation.manifest.entries:
        identity = hash_stream([generation.object_path(entry.path).read_bytes()])
        assert (identity.size, identity.sha256, identity.root, identity.pieces) == (
            entry.size,
            entry.sha256,
            entry.root,
            entry.pieces,
        )


def test_every_object_is_a_link_to_the_store(take: Import, distributions: Distributions) -> None:
    generation = take()
    for entry in generation.manifest.entries:
        assert generation.object_path(entry.path).samefile(distributions.store.path(entry.sha256))
        assert generation.object_path(entry.path).stat().st_mode & 0o7777 == 0o444


def test_the_same_folder_gives_the_same_generation_and_is_not_read_again(
    take: Import, packages: Path, tmp_path: Path
) -> None:
    first = take()
    made = (first.path / "manifest.jsonl").stat().st_mtime_ns
    assert take().id == first.id
    copy = shutil.copytree(packages, tmp_path / "copy")
    again = take(copy)
    assert again.id == first.id and again.manifest.digest == first.manifest.digest
    assert (again.path / "manifest.jsonl").stat().st_mtime_ns == made


def test_a_generation_built_again_is_the_same_to_the_last_byte(take: Import, state: Path) -> None:
    first = take()
    before = tree(first.path)
    shutil.rmtree(state / "distributions")
    again = take()
    assert again.id == first.id and tree(again.path) == before


def test_what_decides_about_the_content_decides_about_the_id(
    take: Import, packages: Path, tmp_path: Path, new_vendor: Callable[[], Vendor], vendor: Vendor
) -> None:
    ids = [take().id]
    ids.append(take(keys=[vendor.public_key, new_vendor().public_key]).id)
    (tmp_path / "comps.xml").write_bytes(COMPS.replace(b"Core", b"Kern"))
    ids.append(take(comps=tmp_path / "comps.xml").id)
    fewer = shutil.copytree(packages, tmp_path / "fewer")
    next(fewer.rglob("gcc*.rpm")).unlink()
    ids.append(take(fewer).id)
    assert len(set(ids)) == 4
    assert all(re.fullmatch("g-[0-9a-f]{16}", generation) for generation in ids)


def test_a_disc_s_modules_are_in_the_generation_and_decide_about_its_id(
    take: Import, packages: Path, tmp_path: Path
) -> None:
    before = take().id
    folder = Path(shutil.copytree(packages, tmp_path / "folder"))
    (folder / ".treeinfo").write_text("[general]\nname = disc\n")  # names places that a generation has not
    modules = folder / "modules.yaml"
    text = "document: modulemd\nversion: 2\ndata: {name: m, stream: a, version: 1, artifacts: {rpms: []}}\n"
    modules.write_text(text)
    generation = take(folder)
    assert generation.id != before
    entry = next(entry for entry in generation.manifest.entries if "modules" in entry.path)
    assert gzip.decompress(generation.object_path(entry.path).read_bytes()).decode() == text
    assert not [entry for entry in generation.manifest.entries if "treeinfo" in entry.path]
    modules.unlink()
    assert take(folder).id == before
    modules.write_text("nonsense")
    with pytest.raises(RepositoryError, match=r"modules\.yaml: document 1 is no module"):
        take(folder)


def test_current_follows_the_last_import_and_older_generations_stay(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path
) -> None:
    first = take()
    more = shutil.copytree(packages, tmp_path / "more")
    build_rpm(more, "epsilon")
    second = take(more, allow_unsigned=True, keys=[])
    assert distributions.current("default").id == second.id
    assert distributions.open(first.id).manifest == first.manifest
    assert [generation.id for generation in distributions.generations("default")] == [first.id, second.id]
    assert distributions.names() == ("default",)
    assert take().id == first.id == distributions.current("default").id


def test_a_removed_generation_gives_back_what_only_it_held(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path, state: Path
) -> None:
    more = shutil.copytree(packages, tmp_path / "more")
    epsilon = build_rpm(more, "epsilon", files={"/usr/share/epsilon": os.urandom(100_000)})
    old = take(more, allow_unsigned=True, keys=[])
    with pytest.raises(RepositoryError, match="is the current one of default"):
        distributions.remove("default", old.id)
    kept = take()
    assert distributions.remove("default", old.id) > 100_000
    assert [generation.id for generation in distributions.generations("default")] == [kept.id]
    assert epsilon.exists() and not unreferenced(state) and not unfinished(state)
    assert distributions.check("default") == ()
    with pytest.raises(RepositoryError, match="does not exist"):
        distributions.remove("default", old.id)


def test_two_distributions_share_the_store_but_not_their_names(
    take: Import, distributions: Distributions, packages: Path
) -> None:
    take()
    other = distributions.import_folder("other", packages, allow_unsigned=True)
    assert other.name == "other" and distributions.names() == ("default", "other")
    with pytest.raises(RepositoryError, match="is not one of default"):
        distributions.remove("default", other.id)


@pytest.mark.parametrize("generation", ["g-0000000000000000", "../../gnupg", "g-*", ""])
def test_an_unknown_generation_is_refused_whatever_it_is_called(
    take: Import, distributions: Distributions, generation: str
) -> None:
    take()
    with pytest.raises(RepositoryError, match="does not exist"):
        distributions.open(generation)


def test_asking_for_what_is_not_there_says_what_is(take: Import, distributions: Distributions) -> None:
    with pytest.raises(
        RepositoryError, match=r"'default' has no generation \(known: none yet\): 'avalanche dist import'"
    ):
        distributions.current("default")
    generation = take()
    with pytest.raises(RepositoryError, match=rf"manifest\.jsonl is not in generation {generation.id} of default"):
        generation.object_path("manifest.jsonl")


def test_unsigned_packages_are_refused_by_name_unless_allowed(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path, state: Path
) -> None:
    mixed = shutil.copytree(packages, tmp_path / "mixed")
    build_rpm(mixed / "Packages", "unsigned")
    with pytest.raises(
        RepositoryError, match=r"1 of 5 packages .* Packages/unsigned-1\.0-1\.noarch\.rpm is not signed: .*keys"
    ):
        take(mixed)
    assert distributions.names() == () and not unreferenced(state) and not unfinished(state)
    assert take(mixed, allow_unsigned=True).manifest.find("Packages/unsigned-1.0-1.noarch.rpm")
    # What was allowed once is not thereby signed.
    with pytest.raises(RepositoryError, match="is not signed"):
        take(mixed)


def test_without_any_key_every_package_is_refused_and_only_some_are_named(take: Import, tmp_path: Path) -> None:
    for number in range(7):
        build_rpm(tmp_path / "many", f"p{number}")
    with pytest.raises(RepositoryError, match=r"7 of 7 packages are refused: .*p4.*, and 2 more"):
        take(tmp_path / "many", keys=[])


def test_a_corrupt_package_is_refused_by_name_and_the_old_generation_stays(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path
) -> None:
    good = take()
    bad = shutil.copytree(packages, tmp_path / "bad")
    package = next(bad.rglob("beta*.rpm"))
    package.write_bytes(package.read_bytes()[:-1000])
    for allowed in (False, True):
        with pytest.raises(
            RepositoryError, match=r"1 of 4 packages .* Packages/beta-1\.0-1\.noarch\.rpm is damaged or cut off"
        ):
            take(bad, allow_unsigned=allowed)
    assert distributions.current("default").id == good.id


def test_one_package_under_two_names_is_taken_once(take: Import, packages: Path, tmp_path: Path) -> None:
    twice = shutil.copytree(packages, tmp_path / "twice")
    shutil.copy(next(twice.rglob("alpha*.rpm")), twice / "Packages" / "zeta.rpm")
    (twice / "Packages" / "linked.rpm").symlink_to("alpha-1.0-1.noarch.rpm")
    generation = take(twice)
    assert [entry.path for entry in generation.manifest.entries if (entry.nevra or "").startswith("alpha")] == [
        "Packages/alpha-1.0-1.noarch.rpm"
    ]


def test_two_packages_of_one_name_and_version_are_refused(take: Import, packages: Path, tmp_path: Path) -> None:
    twice = shutil.copytree(packages, tmp_path / "twice")
    build_rpm(twice / "Packages", "alpha", rpm="zeta.rpm", files={"/usr/bin/alpha": b"other"})
    with pytest.raises(
        RepositoryError,
        match=r"Packages/alpha-1\.0-1\.noarch\.rpm and Packages/zeta\.rpm are both alpha-0:1\.0-1\.noarch but differ",
    ):
        take(twice, allow_unsigned=True)


def test_links_are_followed_but_not_in_circles_and_sources_and_hidden_files_are_left(
    take: Import, packages: Path, tmp_path: Path
) -> None:
    farm = tmp_path / "farm"
    farm.mkdir()
    (farm / "Packages").symlink_to(packages / "Packages")
    (farm / "circle").symlink_to(farm)
    (farm / ".hidden").mkdir()
    shutil.copy(next(packages.rglob("délta*")), farm / ".hidden" / "d.rpm")
    (farm / "alpha-1.0-1.src.rpm").write_bytes(b"never read")
    (farm / ".alpha.rpm").write_bytes(b"half downloaded")
    generation = take(farm)
    assert [entry.path for entry in generation.manifest.entries if entry.nevra] == [
        "Packages/alpha-1.0-1.noarch.rpm",
        "Packages/beta-1.0-1.noarch.rpm",
        "Packages/gcc-c++-1.0~rc1^git-1.noarch.rpm",
    ]


def test_a_link_that_leads_nowhere_is_named(take: Import, packages: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(packages, tmp_path / "odd"))
    (odd / "Packages" / "gone.rpm").symlink_to("nowhere")
    with pytest.raises(RepositoryError, match=r"odd/Packages/gone\.rpm: No such file"):
        take(odd)


def test_a_name_no_host_could_ask_for_is_refused(take: Import, packages: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(packages, tmp_path / "odd")
    shutil.copy(next(odd.rglob("alpha*.rpm")), os.fsencode(odd) + b"/Packages/\xff.rpm")
    with pytest.raises(RepositoryError, match=r"\\xff\.rpm' cannot be in a generation: .*: rename it"):
        take(odd)


@pytest.mark.parametrize(
    ("folder", "complaint"), [("nowhere", "is not a directory"), ("empty", r"holds no RPM \(\*\.rpm\)")]
)
def test_a_folder_without_packages_is_refused(take: Import, tmp_path: Path, folder: str, complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryError, match=complaint):
        take(tmp_path / folder)


def test_bad_groups_a_bad_name_and_a_missing_key_are_refused(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path, state: Path
) -> None:
    (tmp_path / "comps.xml").write_text("<comps>")
    with pytest.raises(RepositoryError, match=r"comps\.xml:1: not well-formed"):
        take(comps=tmp_path / "comps.xml")
    with pytest.raises(RepositoryError, match=r"gone\.xml: No such file"):
        take(comps=tmp_path / "gone.xml")
    with pytest.raises(RepositoryError, match=r"distribution name '\.\./x'"):
        distributions.import_folder("../x", packages)
    shutil.rmtree(state / "gnupg")
    with pytest.raises(ConfigError, match="run 'avalanche init'"):
        take()


def test_a_damaged_object_is_named_and_importing_again_mends_it_in_place(
    take: Import, distributions: Distributions, packages: Path
) -> None:
    generation = take()
    victim = generation.object_path("Packages/beta-1.0-1.noarch.rpm")
    good, inode = victim.read_bytes(), victim.stat().st_ino
    victim.chmod(0o644)
    victim.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    (problem,) = distributions.check("default")
    assert problem.startswith(f"{victim}: damaged: its SHA-256 is not the manifest's") and "again" in problem
    assert take().id == generation.id
    assert distributions.check("default") == ()
    assert victim.read_bytes() == good
    # The file was replaced where it is, so that whoever serves it, serves the right bytes.
    assert victim.stat().st_ino == inode


def test_an_older_generation_is_checked_too(
    take: Import, distributions: Distributions, packages: Path, tmp_path: Path
) -> None:
    old = take()
    fewer = Path(shutil.copytree(packages, tmp_path / "fewer"))
    next(fewer.rglob("beta*")).unlink()
    take(fewer)
    victim = old.object_path("Packages/beta-1.0-1.noarch.rpm")
    victim.chmod(0o644)
    victim.write_bytes(b"short")
    (problem,) = distributions.check("default")
    assert problem.startswith(f"{victim}: damaged: its size is not the manifest's")


@pytest.mark.parametrize("victim", ["Packages/alpha-1.0-1.noarch.rpm", "repodata/repomd.xml.asc", "manifest.jsonl"])
def test_a_generation_that_lost_a_file_is_built_again(
    take: Import, distributions: Distributions, state: Path, victim: str
) -> None:
    generation = take()
    before = tree(generation.path)
    (generation.path / victim).unlink()
    if victim != "manifest.jsonl":
        assert len(distributions.check("default")) == 1
    fresh = Distributions(state)
    if victim == "manifest.jsonl":
        with pytest.raises(RepositoryError, match=r"is damaged .*: import its folder again"):
            fresh.current("default")
    assert take().id == generation.id
    assert tree(generation.path) == before and not unfinished(state)


CHILD = """
import os, signal, sys
from pathlib import Path
from avalanche.adapters.distributions import Distributions
state, folder, key, stage, count = sys.argv[1:]
def progress(at, done, total):
    if (at, done) == (stage, int(count)):
        os.kill(os.getpid(), signal.SIGKILL)
Distributions(Path(state)).import_folder("default", Path(folder), keys=[Path(key)], progress=progress)
"""


@pytest.mark.parametrize(("stage", "count"), [("copy", 1), ("copy", 4), ("check", 0), ("describe", 2)])
def test_an_import_that_is_killed_leaves_the_old_generation_and_the_next_one_succeeds(
    take: Import,
    distributions: Distributions,
    packages: Path,
    vendor: Vendor,
    state: Path,
    tmp_path: Path,
    stage: str,
    count: int,
) -> None:
    fewer = shutil.copytree(packages, tmp_path / "fewer")
    next(fewer.rglob("alpha*")).unlink()
    old = take(fewer)
    arguments = [str(state), str(packages), str(vendor.public_key), stage, str(count)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert distributions.current("default").id == old.id
    assert distributions.check("default") == ()
    (state / "store" / ".incoming-half").write_bytes(b"half a package")
    new = take()
    assert distributions.current("default").id == new.id != old.id
    assert not unfinished(state) and not unreferenced(state)


def test_two_imports_at_once_are_refused(take: Import, packages: Path) -> None:
    complaints: list[str] = []

    def during(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("copy", 1):
            with pytest.raises(RepositoryError, match="another import is running") as refusal:
                take()
            complaints.append(str(refusal.value))

    take(progress=during)
    assert len(complaints) == 1


FULL = """
import os, shutil, sys
from pathlib import Path
from avalanche.adapters.distributions import Distributions
from avalanche.errors import StoreFull
disk, small, large, key, fill = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5]
distributions = Distributions(disk / "state")
old = distributions.import_folder("default", small, keys=[key])
free = os.statvfs(disk).f_bavail
def progress(stage, done, total):
    if fill == stage and not (disk / "filler").exists():
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)): pass
            except OSError: pass
try:
    distributions.import_folder("default", large, allow_unsigned=True, progress=progress)
    sys.exit("the import succeeded")
except StoreFull as error:
    print(error)
(disk / "filler").unlink(missing_ok=True)
assert distributions.current("default").id == old.id
assert distributions.check("default") == ()
assert not list(disk.rglob(".building-*")) and not list(disk.rglob(".incoming-*")), list(disk.rglob("*"))
assert os.statvfs(disk).f_bavail >= free - 16, (os.statvfs(disk).f_bavail, free)
"""


@pytest.mark.parametrize(("megabytes", "fill"), [(3, "never"), (8, "copy"), (8, "check"), (8, "describe")])
def test_a_full_disk_is_an_error_with_both_figures_and_the_old_generation_stays(
    packages: Path, vendor: Vendor, state: Path, tmp_path: Path, megabytes: int, fill: str
) -> None:
    large = tmp_path / "large"
    for number in range(3):
        build_rpm(large, f"big{number}", files={f"/usr/share/big{number}": os.urandom(1_000_000)})
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={megabytes}m none {disk} && cp -a {state} {disk}/state && exec "$@"'
    child = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", FULL,
         str(disk), str(packages), str(large), str(vendor.public_key), fill],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert re.search(r"(is full|has no room): \d+ bytes are needed.*, \d+ are free: make room", child.stdout)
