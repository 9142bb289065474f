"""Repositories of headers alone, which is all that dnf and libsolv read to decide; and the real dnf, to be asked."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import createrepo_c
from hypothesis import strategies as st

from avalanche.adapters.closure import Closure
from avalanche.adapters.distributions import Generation
from avalanche.adapters.repodata import write_repodata
from avalanche.manifest import Entry, Manifest, hash_stream
from avalanche.sections import PackageRequest

OPERATORS = {"=": "EQ", ">=": "GE", "<=": "LE", ">": "GT", "<": "LT"}


@dataclass(frozen=True)
class Header:
    """A package's header: what ``name`` is and says about others, as a spec file would."""

    name: str
    evr: str = "1-1"
    arch: str = "noarch"
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    supplements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def nevra(self) -> str:
        evr = self.evr if ":" in self.evr else f"0:{self.evr}"
        return f"{self.name}-{evr}.{self.arch}"


@dataclass(frozen=True)
class Repository:
    headers: tuple[Header, ...]
    groups: dict[str, str] = field(default_factory=dict)
    environment: str = ""
    modules: str = ""

    @property
    def comps(self) -> bytes:
        groups = "".join(
            f"<group><id>{id}</id><name>The {id}</name><packagelist>{members}</packagelist></group>"
            for id, members in self.groups.items()
        )
        return f"<comps>{groups}{self.environment}</comps>".encode()


def dependency(text: str) -> tuple[str, str | None, str | None, str | None, str | None, bool]:
    """createrepo_c's form of ``name``, ``name >= 1:2-3`` or ``(rich or dependency)``."""
    words = text.split()
    if text.startswith("(") or len(words) == 1:
        return (text, None, None, None, None, False)
    name, operator, evr = words
    epoch, _, rest = evr.rpartition(":")
    version, _, release = rest.partition("-")
    return (name, OPERATORS[operator], epoch or "0", version, release or None, False)


def described(header: Header) -> createrepo_c.Package:
    package = createrepo_c.Package()
    package.name, package.arch = header.name, header.arch
    epoch, _, rest = header.evr.rpartition(":")
    package.epoch = epoch or "0"
    package.version, package.release = rest.split("-")
    package.location_href = f"Packages/{header.nevra}.rpm"
    package.pkgId = hashlib.sha256(header.nevra.encode()).hexdigest()
    package.checksum_type = "sha256"
    package.rpm_sourcerpm = f"{header.name}.src.rpm"
    package.summary = package.description = package.url = header.name
    package.size_package = package.size_installed = package.size_archive = 1
    own = f"{header.name} = {header.evr}"
    package.provides = [dependency(text) for text in (own, *header.provides)]
    for kind in ("requires", "conflicts", "obsoletes", "recommends", "supplements"):
        setattr(package, kind, [dependency(text) for text in getattr(header, kind)])
    package.files = [("", str(Path(file).parent) + "/", Path(file).name) for file in header.files]
    return package


def publish(repository: Repository, directory: Path) -> Generation:
    """Write a generation that has repository data and no packages."""
    headers = sorted(map(described, repository.headers), key=lambda header: str(header.location_href))
    modules = repository.modules.encode() or None
    written = write_repodata(directory / "repodata", headers, repository.comps, modules)
    files = [Entry.of(hash_stream([path.read_bytes()]), str(path.relative_to(directory))) for path in written]
    some = hash_stream([b"a package"])
    packages = [Entry.of(some, header.location_href, header.nevra()) for header in headers]
    return Generation("g-0123456789abcdef", "test", directory, Manifest("g-0123456789abcdef", (*files, *packages)))


def asked(*names: str, node: str = "compute-node", line: int = 1, disable: bool = False) -> list[PackageRequest]:
    """Requests as a node file makes them, one per line; ``@name`` is a group."""
    return [
        PackageRequest(name.removeprefix("@"), name.startswith("@"), disable, node, f"nodes/{node}.xml", line + offset)
        for offset, name in enumerate(names)
    ]


def nevras(closure: Closure) -> list[str]:
    return sorted(entry.nevra or "" for entry in closure.packages)


class Dnf:
    """The oracle, asked through pipes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def install(
        self, repository: Path, install: Sequence[str], exclude: Sequence[str] = (), **modules: Sequence[str]
    ) -> list[str] | None:
        """The NEVRAs dnf would install, or None when it refuses; ``modules``: which to ``enable``, ``disable``."""
        question = {"repository": str(repository), "install": list(install), "exclude": list(exclude), **modules}
        assert self._process.stdin and self._process.stdout
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        packages: list[str] | None = answer.get("packages")
        return packages


NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
CAPABILITIES = (*NAMES, "service", "/usr/lib/thing", "absent")
VERSIONS = ("1-1", "2-1", "1:1-1")


@st.composite
def dependencies(draw: st.DrawFn) -> str:
    def simple() -> str:
        name = draw(st.sampled_from(CAPABILITIES))
        if name.startswith("/") or draw(st.booleans()):
            return name
        return f"{name} {draw(st.sampled_from(sorted(OPERATORS)))} {draw(st.sampled_from(VERSIONS))}"

    if draw(st.integers(0, 4)):
        return simple()
    operator = draw(st.sampled_from(["or", "and", "if", "unless", "with", "without"]))
    return f"({simple()} {operator} {simple()})"


@st.composite
def headers(draw: st.DrawFn) -> Header:
    def some(texts: st.SearchStrategy[str], most: int = 1) -> tuple[str, ...]:
        return tuple(draw(st.lists(texts, max_size=most)))

    names = st.sampled_from(NAMES)
    return Header(
        draw(names),
        draw(st.sampled_from(VERSIONS)),
        draw(st.sampled_from(["noarch", "x86_64", "x86_64", "i686"])),
        requires=some(dependencies(), 2),
        provides=some(st.sampled_from(["service", "service = 2-1", "alpha = 3-1"])),
        conflicts=some(names) if draw(st.integers(0, 5)) == 0 else (),
        obsoletes=some(names.map("{} < 2".format)) if draw(st.integers(0, 5)) == 0 else (),
        recommends=some(names),
        supplements=some(names),
        files=some(st.just("/usr/lib/thing")),
    )
