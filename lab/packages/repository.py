"""Builds the RPM repository: plan, rpmbuild, sign, index, check."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lab.cache import Cache, key_of
from lab.contained import dependent, run
from lab.packages.check import check_closed
from lab.packages.comps import comps_xml, groups
from lab.packages.keyring import KEY_FILE, ThrowAwayKey
from lab.packages.planner import Root, plan_rpms
from lab.packages.spec import RpmPlan, inputs, spec_text
from lab.progress import progress, say
from lab.roots import configured_root, root_key

_JOBS = 2
_REPOSITORY_MB = 1500


def repository_key() -> str:
    """Return the key of the repository: the root it is made of, and this converter's own sources."""
    sources = {path.name: path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))}
    return key_of({"root": root_key(), "converter": sources})


def rpm_repository(cache: Cache) -> Path:
    """Return the signed repository: ``Packages``, ``repodata``, ``comps.xml`` and the key ``RPM-GPG-KEY-lab``."""

    def build(folder: Path) -> None:
        _build(Root(configured_root(cache)), folder)

    return cache.provide("rpms", repository_key(), build, megabytes=_REPOSITORY_MB)


def _build(root: Root, folder: Path) -> None:
    packages = folder / "Packages"
    packages.mkdir(exist_ok=True)
    key = ThrowAwayKey(folder / "gnupg")
    key.create()
    build_rpms(plan_rpms(root), root=root.path, packages=packages, work=folder / "work")
    with progress("signing", 1):
        key.sign_rpms(sorted(packages.glob("*.rpm")))
    (folder / KEY_FILE).write_text(key.export())
    (folder / "comps.xml").write_text(comps_xml(groups(root.packages)))
    index(folder, key)
    say(f"{check_closed(folder)} RPMs, no unmet requirement")
    # What remains is public: the key has signed all it ever will.
    shutil.rmtree(folder / "gnupg")
    shutil.rmtree(folder / "work")


def index(folder: Path, key: ThrowAwayKey) -> None:
    """Write signed ``repodata`` for the RPMs of a folder that has ``comps.xml``."""
    program = Path(sys.executable).with_name("createrepo_c")
    options = ("--quiet", "--workers", str(_JOBS), "--general-compress-type", "gz", "--groupfile", "comps.xml")
    run(dependent(str(program), *options, str(folder)))
    key.sign_detached(folder / "repodata" / "repomd.xml")


def build_rpms(plans: Sequence[RpmPlan], *, root: Path, packages: Path, work: Path) -> None:
    """Build the RPMs that ``packages`` does not hold yet.

    Raises:
        CommandFailed: rpmbuild refused one; it is named.
    """
    missing = [plan for plan in plans if not (packages / plan.filename).exists()]
    # The largest ones first: none of them is then left alone at the end.
    missing.sort(key=lambda plan: -len(plan.files))
    with progress("RPMs", len(plans)) as advance, ThreadPoolExecutor(_JOBS) as pool:
        jobs = [pool.submit(_build_rpm, plan, root, packages, work / plan.name) for plan in missing]
        try:
            for done, job in enumerate(as_completed(jobs), start=len(plans) - len(missing) + 1):
                job.result()
                advance(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _build_rpm(plan: RpmPlan, root: Path, packages: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name, content in inputs(plan).items():
        (work / name).write_bytes(content)
    (work / "package.spec").write_text(spec_text(plan, root=str(root), folder=str(work)))
    defines = {
        "_topdir": f"{work}/build",
        "_rpmdir": str(work),
        "_tmppath": str(work),
        "_dbpath": f"{work}/db",
        "_build_name_fmt": plan.filename.replace("%", "%%"),
        "_buildhost": "lab.invalid",
    }
    options = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    command = dependent("rpmbuild", "-bb", "--quiet", *options, "--target", plan.arch, str(work / "package.spec"))
    run(command, environment=environment)
    (work / plan.filename).rename(packages / plan.filename)
    shutil.rmtree(work)
