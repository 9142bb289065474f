"""Closures where packages are of modules: dnf's default streams, those that node files enable, and what is hidden."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.adapters.closure import Solver
from avalanche.adapters.distributions import Generation
from avalanche.errors import Unsatisfiable
from avalanche.modules import ModuleRequest
from tests.adapters.headers import NAMES, Dnf, Header, Repository, asked, headers, nevras, publish


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
