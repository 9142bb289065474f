"""Closures: the same packages as the real dnf, or a reason before a host starts.

Repositories here consist of headers alone: neither dnf nor libsolv reads a package to decide about it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import createrepo_c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.adapters.closure import Closure, Solver
from avalanche.adapters.distributions import Distributions, Generation
from avalanche.adapters.repodata import write_repodata
from avalanche.errors import RepositoryError, Unsatisfiable
from avalanche.manifest import Entry, Manifest, hash_stream
from avalanche.modules import ModuleRequest
from avalanche.sections import PackageRequest
from tests.adapters.rpms import Vendor, build_rpm

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


@pytest.fixture(scope="session")
def dnf() -> Iterator[Dnf]:
    program = ["/usr/bin/python3", str(Path(__file__).with_name("dnf_oracle.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Dnf(process)
        assert process.stdin
        process.stdin.close()


ENVIRONMENT = (
    "<environment><id>server</id><name>Server</name><grouplist><groupid>core</groupid></grouplist>"
    "<optionlist><groupid>extra</groupid></optionlist></environment>"
)
WORLD = Repository(
    (
        Header(
            "base", "1.0-1", "x86_64", requires=("lib >= 1", "/usr/share/deep/file", "/bin/sh"), recommends=("fancy",)
        ),
        Header("deep", files=("/usr/share/deep/file",)),
        Header("shell", provides=("/bin/sh",)),
        Header("lib", "2.0-1", "x86_64"),
        Header("lib", "2.0-1", "i686"),
        Header("lib", "1:0.5-1", "x86_64"),
        Header("lib", "1:0.5~rc1-1", "x86_64"),
        Header("fancy", requires=("lib",)),
        Header("addon", supplements=("base",)),
        Header("old", "1-1"),
        Header("new", "2-1", obsoletes=("old < 2",)),
        Header("postfix", provides=("mta",)),
        Header("exim", provides=("mta = 4-1",)),
        Header("needs-mta", requires=("mta",)),
        Header("needs-new-mta", requires=("mta >= 4",)),
        Header("choice", requires=("(shell2 or lib)",)),
        Header("together", requires=("(postfix with mta)",)),
        Header("if-base", requires=("(fancy if base)",)),
        Header("unless-base", requires=("(fancy unless base else addon)",)),
        Header("red", conflicts=("blue",)),
        Header("blue"),
        Header("kernel", "5-1", "x86_64", provides=("kernel-core",)),
        Header("kernel", "6-1", "x86_64", provides=("kernel-core",)),
        Header("module", requires=("kernel = 5-1",)),
        Header("broken", "2-1", requires=("nowhere >= 3",)),
        Header("needs-broken", requires=("broken",)),
        Header("wants-broken", requires=("needs-broken",)),
        Header("half-broken", "2-1", requires=("nowhere",)),
        Header("half-broken", "1-1"),
        Header("python3-a", requires=("python3-b",)),
        Header("python3-b"),
        Header("gcc-c++", "1.0~rc1^git-1", "x86_64"),
    ),
    {
        "core": '<packagereq type="mandatory">base</packagereq><packagereq type="mandatory">ghost</packagereq>'
        '<packagereq type="default">postfix</packagereq><packagereq type="optional">blue</packagereq>'
        '<packagereq type="conditional" requires="exim">fancy</packagereq>',
        "extra": '<packagereq type="default" basearchonly="true">lib</packagereq><packagereq>old</packagereq>',
        "bad": '<packagereq type="mandatory">shell</packagereq><packagereq type="mandatory">needs-broken</packagereq>',
    },
    ENVIRONMENT,
)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    return publish(WORLD, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def solver(world: Generation) -> Solver:
    return Solver(world)


@pytest.mark.parametrize(
    ("install", "exclude"),
    [
        (["base"], []),
        (["@core"], []),
        (["@The core"], []),
        (["@core", "exim"], []),
        (["@core", "blue"], ["postfix"]),
        (["@server"], []),
        (["@server", "@extra"], []),
        (["@extra"], ["old"]),
        (["@bad"], []),
        (["old"], []),
        (["old"], ["new"]),
        (["new", "old"], []),
        (["lib"], []),
        (["lib.i686"], []),
        (["lib.i686", "lib"], []),
        (["lib-2.0"], []),
        (["lib-2.0-1.x86_64"], []),
        (["lib-1:0.5-1"], []),
        (["needs-mta"], []),
        (["needs-mta"], ["exim"]),
        (["needs-mta"], ["exim", "postfix"]),
        (["needs-mta", "postfix"], []),
        (["needs-new-mta"], []),
        (["mta"], []),
        (["/usr/share/deep/file"], []),
        (["/bin/sh"], []),
        (["choice"], []),
        (["choice"], ["lib"]),
        (["together"], []),
        (["if-base"], []),
        (["if-base", "base"], []),
        (["unless-base"], []),
        (["unless-base", "base"], []),
        (["red", "blue"], []),
        (["red"], []),
        (["kernel"], []),
        (["module"], []),
        (["module", "kernel"], []),
        (["broken"], []),
        (["wants-broken"], []),
        (["half-broken"], []),
        (["half-broken"], ["half-broken"]),
        (["python3-*"], []),
        (["python3-*"], ["python3-b"]),
        (["python3-a"], ["python3-*"]),
        (["*"], ["*broken", "red", "new"]),
        (["gcc-c++"], []),
        (["nothing"], []),
        (["nothing*"], []),
        (["@nothing"], []),
        ([], []),
    ],
)
def test_the_closure_is_what_dnf_installs(
    solver: Solver, world: Generation, dnf: Dnf, install: list[str], exclude: list[str]
) -> None:
    try:
        closure = nevras(solver.solve(asked(*install), asked(*exclude, disable=True)))
    except Unsatisfiable:
        closure = None
    assert closure == dnf.install(world.path, install, exclude)


def stream(
    module: str, name: str, packages: Sequence[str], *, needs: str = "", version: int = 1, context: str = "c0ffee"
) -> str:
    """A modulemd document; ``needs`` are other modules, as YAML."""
    rpms = "".join(f"      - {nevra}\n" for nevra in packages)
    return (
        f"---\ndocument: modulemd\nversion: 2\ndata:\n  name: {module}\n  stream: {name}\n  version: {version}\n"
        f"  context: {context}\n  arch: x86_64\n  summary: x\n  description: x\n  license: {{module: [MIT]}}\n"
        f"  dependencies:\n  - requires: {{{needs or 'platform: [el9]'}}}\n"
        + (f"  artifacts:\n    rpms:\n{rpms}" if rpms else "")
        + "...\n"
    )


def default(module: str, name: str) -> str:
    return (
        f"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {module}\n  stream: '{name}'\n"
        "  profiles: {}\n...\n"
    )


MODULAR = Repository(
    (
        Header("node", "1:20-1.module", "x86_64", requires=("node-libs = 1:20-1.module",)),
        Header("node-libs", "1:20-1.module", "x86_64"),
        Header("node", "1:18-1.module", "x86_64", requires=("node-libs = 1:18-1.module",)),
        Header("node-libs", "1:18-1.module", "x86_64"),
        Header("node", "2:99-1", "x86_64"),  # of no module: newer, and hidden by the default stream
        Header("old-node", "99-1", "x86_64", provides=("node",)),
        Header("npm", "7-1", "x86_64", requires=("node",)),
        Header("php", "8.3-1.module", "x86_64"),
        Header("php", "8.0-1", "x86_64"),
        Header("maven", "3-1.module", "x86_64", requires=("java",)),
        Header("java", "11-1.module", "x86_64"),
        Header("java", "17-1.module", "x86_64"),
        Header("ruby", "3-1.module", "x86_64"),
        Header("perl", "5.30-2.module", "x86_64"),
        Header("perl", "5.30-1.module", "x86_64"),
        Header("lonely", "1-1.module", "x86_64"),
    ),
    {"core": '<packagereq type="mandatory">node</packagereq><packagereq type="mandatory">ruby</packagereq>'},
    modules=stream(
        "node", "'20'", ["node-1:20-1.module.x86_64", "node-libs-1:20-1.module.x86_64", "node-1:20-1.module.src"]
    )
    + stream("node", "'18'", ["node-1:18-1.module.x86_64", "node-libs-1:18-1.module.x86_64"])
    + default("node", "18")
    + stream("php", "'8.3'", ["php-0:8.3-1.module.x86_64"])
    + stream("maven", "'3.10'", ["maven-0:3-1.module.x86_64"], needs="platform: [el9], java: ['17']")
    + default("maven", "3.10")
    + stream("java", "'11'", ["java-0:11-1.module.x86_64"])
    + stream("java", "'17'", ["java-0:17-1.module.x86_64"])
    + stream("ruby", "'3'", ["ruby-0:3-1.module.x86_64"])
    + stream("perl", "'5.30'", ["perl-0:5.30-2.module.x86_64"], version=1)
    + stream("perl", "'5.30'", ["perl-0:5.30-1.module.x86_64"], version=2)
    + default("perl", "5.30")
    + stream("lonely", "a", ["lonely-0:1-1.module.x86_64"], needs="platform: [el9], absent: []"),
)


@pytest.fixture(scope="session")
def modular(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    return publish(MODULAR, tmp_path_factory.mktemp("modular"))


@pytest.mark.parametrize("install", [*sorted({header.name for header in MODULAR.headers}), "@core", "*", "node-20*"])
def test_dnf_sees_the_modules_and_the_closure_what_dnf_sees(modular: Generation, dnf: Dnf, install: str) -> None:
    try:
        closure = nevras(Solver(modular).solve(asked(install)))
    except Unsatisfiable:
        closure = None
    assert closure == dnf.install(modular.path, [install])


def enabled(*names: str, disable: bool = False) -> list[ModuleRequest]:
    """Requests as a node file makes them; ``module:stream``."""
    parts = (name.partition(":") for name in names)
    return [ModuleRequest(module, name or None, disable, "web", "nodes/web.xml", 3) for module, _, name in parts]


@pytest.mark.parametrize("install", ["node", "npm", "php", "ruby", "java", "maven", "*"])
@pytest.mark.parametrize(
    ("enable", "disable"),
    [
        (["node:20"], []),
        (["node"], []),
        (["php:8.3", "ruby:3"], []),
        (["java:11"], ["maven"]),
        ([], ["node"]),
        ([], ["maven", "node", "perl"]),
    ],
)
def test_a_stream_that_a_node_file_enables_is_seen(
    modular: Generation, dnf: Dnf, install: str, enable: list[str], disable: list[str]
) -> None:
    modules = [*enabled(*enable), *enabled(*disable, disable=True)]
    try:
        closure = nevras(Solver(modular).solve(asked(install), modules=modules))
    except Unsatisfiable:
        closure = None
    assert closure == dnf.install(modular.path, [install], enable=enable, disable=disable)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("node:21", "module node, stream 21: the generation has node:18, node:20"),
        ("php", "module php, stream by default: the generation has php:8.3"),
        ("nix:1", "module nix, stream 1: the generation has no such module"),
    ],
)
def test_a_stream_that_is_not_there_names_the_line_that_enables_it(modular: Generation, name: str, why: str) -> None:
    with pytest.raises(Unsatisfiable) as refusal:
        Solver(modular).solve(asked("npm"), modules=enabled(name))
    assert str(refusal.value) == f"nodes/web.xml:3: web enables {why}"


def test_a_package_that_only_a_hidden_stream_has_says_so(modular: Generation) -> None:
    with pytest.raises(Unsatisfiable) as refusal:
        Solver(modular).solve(asked("ruby"))
    assert str(refusal.value) == (
        "nodes/compute-node.xml:1: compute-node asks for package ruby, which only module ruby:3 has: it is no default"
        " stream, so dnf does not see it"
    )


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


@st.composite
def repositories(draw: st.DrawFn) -> Repository:
    found = draw(st.lists(headers(), min_size=3, max_size=14, unique_by=lambda header: header.nevra))
    kinds = st.sampled_from(
        [
            'type="mandatory"',
            'type="default" basearchonly="true"',
            'type="default"',
            'type="optional"',
            'type="conditional" requires="beta"',
        ]
    )
    members = draw(st.lists(st.tuples(kinds, st.sampled_from((*NAMES, "ghost"))), max_size=3))
    group = "".join(f"<packagereq {kind}>{name}</packagereq>" for kind, name in members)
    return Repository(tuple(found), {"core": group})


@settings(max_examples=settings().max_examples // 2)
@given(
    repository=repositories(),
    install=st.lists(
        st.sampled_from((*NAMES, "@core", "*a", "service", "alpha.i686")), min_size=1, max_size=3, unique=True
    ),
    exclude=st.lists(st.sampled_from((*NAMES, "z*")), max_size=1),
)
def test_whatever_the_repository_the_closure_is_what_dnf_installs(
    dnf: Dnf, repository: Repository, install: list[str], exclude: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        generation = publish(repository, Path(directory))
        try:
            closure = nevras(Solver(generation).solve(asked(*install), asked(*exclude, disable=True)))
        except Unsatisfiable as error:
            closure = None
            assert error.file == "nodes/compute-node.xml" and error.line in range(1, len(install) + 1)
        assert closure == dnf.install(generation.path, install, exclude)


@st.composite
def modular_repositories(draw: st.DrawFn) -> Repository:
    """Packages, of which some are of streams of two modules that may need each other."""
    found = draw(st.lists(headers(), min_size=3, max_size=10, unique_by=lambda header: header.nevra))
    of = [draw(st.sampled_from(("", "m:1", "m:2", "n:1", "n:2"))) for _ in found]
    documents = ""
    for module, other in (("m", "n"), ("n", "m")):
        for name in ("1", "2"):
            mine = [header.nevra for header, owner in zip(found, of, strict=True) if owner == f"{module}:{name}"]
            needs = "platform: [el9]"
            if module == "n" and draw(st.booleans()):
                needs += f", {other}: [{draw(st.sampled_from(['', repr('1'), repr('2')]))}]"
            documents += stream(module, f"'{name}'", mine, needs=needs)
        if draw(st.booleans()):
            documents += default(module, draw(st.sampled_from("12")))
    return Repository(tuple(found), modules=documents)


@settings(max_examples=settings().max_examples // 2)
@given(repository=modular_repositories(), install=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
def test_whatever_the_modules_the_closure_is_what_dnf_installs(
    dnf: Dnf, repository: Repository, install: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        generation = publish(repository, Path(directory))
        try:
            closure = nevras(Solver(generation).solve(asked(*install)))
        except Unsatisfiable:
            closure = None
        assert closure == dnf.install(generation.path, install)


@pytest.mark.parametrize(
    ("install", "exclude", "line", "message"),
    [
        (["base", "wants-broken"], [], 2, "compute-node asks for wants-broken: nothing provides nowhere >= 3 needed by "
         "broken-2-1.noarch, needed by needs-broken-1-1.noarch, needed by wants-broken-1-1.noarch"),
        (["broken"], [], 1, "compute-node asks for broken: nothing provides nowhere >= 3 needed by broken-2-1.noarch"),
        (["@core", "@bad"], [], 2, "compute-node asks for group bad with needs-broken: nothing provides nowhere >= 3 "
         "needed by broken-2-1.noarch, needed by needs-broken-1-1.noarch"),
        (["red", "blue"], [], 2, "compute-node asks for blue: package red-1-1.noarch conflicts with blue provided by "
         "blue-1-1.noarch"),
        (["python3-a"], ["python3-b"], 1, "compute-node asks for python3-a: nodes/site.xml:7 keeps out "
         "python3-b-1-1.noarch, needed by python3-a-1-1.noarch"),
        (["base", "python3-a"], ["python3-*"], 2, "compute-node asks for package python3-a, which nodes/site.xml:7 "
         "keeps out"),
        (["base", "postfx"], [], 2, "compute-node asks for package postfx, which generation g-0123456789abcdef does "
         "not have; closest: postfix"),
        (["@cor"], [], 1, "compute-node asks for group cor, which generation g-0123456789abcdef does not have; "
         "closest: core"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_names_the_cause_and_the_line_that_asks(
    solver: Solver, install: list[str], exclude: list[str], line: int, message: str
) -> None:
    with pytest.raises(Unsatisfiable) as refusal:
        solver.solve(asked(*install), asked(*exclude, node="site", line=7, disable=True))
    assert str(refusal.value) == f"nodes/compute-node.xml:{line}: {message}"


def test_a_closure_holds_repository_data_first_and_packages_in_the_generation_s_order(
    solver: Solver, world: Generation
) -> None:
    closure = solver.solve(asked("@core"))
    places = [world.manifest.entries.index(entry) for entry in closure.entries]
    assert places == sorted(places) and places[:4] == [0, 1, 2, 3]
    assert [entry.nevra is None for entry in closure.entries] == [True] * 4 + [False] * len(closure.packages)
    assert closure.absent == ("ghost",)
    assert closure.manifest.generation == world.id


def test_closures_of_several_threads_do_not_disturb_each_other(solver: Solver) -> None:
    alone = [nevras(solver.solve(asked(*install), asked(*exclude, disable=True))) for install, exclude in QUESTIONS]
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(solver.solve, asked(*install), asked(*exclude, disable=True))
            for _ in range(20)
            for install, exclude in QUESTIONS
        ]
        assert [nevras(future.result()) for future in futures] == alone * 20


QUESTIONS: list[tuple[list[str], list[str]]] = [
    (["@core"], []),
    (["needs-mta"], ["exim"]),
    (["needs-mta"], ["postfix"]),
    (["lib.i686", "lib"], []),
    (["*"], ["*broken", "red", "new"]),
]


def test_repository_data_that_cannot_be_read_is_named(world: Generation, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(world.path, tmp_path / "broken"))
    next(broken.rglob("*primary.xml.gz")).write_bytes(b"nonsense")
    with pytest.raises(RepositoryError, match=r"primary\.xml\.gz cannot be read: .*: import its folder again"):
        Solver(replace(world, path=broken))


class _Recorder(SimpleHTTPRequestHandler):
    """Serves a generation and notes what is asked for."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(unquote(self.path.lstrip("/")))
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


def test_dnf_trusts_a_generation_and_asks_for_its_objects_in_canonical_order(
    distributions: Distributions, packages: Path, vendor: Vendor, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(packages, tmp_path / "folder"))
    more = [build_rpm(folder / "Packages", f"p{number % 5}{number // 5}") for number in range(20)]
    vendor.sign(*more)
    generation = distributions.import_folder("default", folder, keys=[vendor.public_key])
    closure = Solver(generation).solve(asked("@core", "p*", "gcc-c++", "delta"))
    _Recorder.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Recorder, directory=str(generation.path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            download(f"http://127.0.0.1:{server.server_port}/", tmp_path, "@core", "p*", "gcc-c++", "delta")
        finally:
            server.shutdown()
            thread.join()
    order = list(dict.fromkeys(_Recorder.asked))
    assert sorted(order) == sorted(entry.path for entry in closure.entries)
    # dnf has three requests in flight, so that neighbours may change places.
    places = [order.index(entry.path) for entry in closure.entries]
    assert max(abs(place - wanted) for wanted, place in enumerate(places)) <= 3


def download(address: str, directory: Path, *specs: str) -> None:
    """Let the real dnf fetch and check everything, signatures too."""
    keys = " ".join(address + key for key in ("RPM-GPG-KEY-avalanche", "RPM-GPG-KEY-packages"))
    settings = {
        "reposdir": "/none",
        "install_weak_deps": "0",
        "cachedir": str(directory / "cache"),
        "av.gpgcheck": "1",
        "av.repo_gpgcheck": "1",
        "av.gpgkey": keys,
    }
    result = subprocess.run(
        ["dnf", "-y", f"--installroot={directory / 'root'}", "--releasever=9", "--disablerepo=*",
         f"--repofrompath=av,{address}", "--enablerepo=av", *(f"--setopt={k}={v}" for k, v in settings.items()),
         "--downloadonly", "install", *specs],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    for home in (directory / "cache").glob("*/pubring"):  # dnf leaves an agent behind
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    assert result.returncode == 0, result.stdout + result.stderr
