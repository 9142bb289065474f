"""Closures: the same packages as the real dnf, or a reason before a host starts (modules: test_closure_modules)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.adapters.closure import Solver
from avalanche.adapters.distributions import Distributions, Generation
from avalanche.errors import RepositoryError, Unsatisfiable
from tests.adapters.headers import NAMES, Dnf, Header, Repository, asked, headers, nevras, publish
from tests.adapters.rpms import Vendor, build_rpm

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
