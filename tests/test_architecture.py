"""Imports run one way: programs -> adapters -> language; the agent keeps to its floor."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests import floor

ROOT = floor.ROOT
PROGRAMS = ("frontend", "agent", "cli")

# What would end the language's purity: it computes, and leaves sockets, files, clocks, chance and processes to others.
IMPURE = {
    "asyncio", "socket", "ssl", "selectors", "subprocess", "multiprocessing", "threading", "concurrent", "signal",
    "time", "random", "secrets", "uuid", "os", "pathlib", "shutil", "tempfile", "glob", "fcntl", "mmap",
    "urllib", "http", "sqlite3", "logging",
    "aiohttp", "h11", "sqlalchemy", "alembic", "pymysql", "libtorrent", "solv", "createrepo_c", "cryptography",
}  # fmt: skip

# Language modules that may look at one impure thing, and why.
EXCEPTIONS = {
    "avalanche.log": {"logging"},  # the one place that sets logging up
}


def modules(folder: str) -> list[str]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def layer(module: str) -> str:
    parts = module.split(".")
    if parts[0] != "avalanche":
        return parts[0]
    if len(parts) == 1 or parts[1] in {"__main__"}:
        return "package"
    return parts[1] if parts[1] in (*PROGRAMS, "adapters") else "language"


def ours(module: str) -> set[str]:
    """Return our modules that a module imports."""
    return {name for name in floor.imports(module) if floor.path_of(name) is not None}


LANGUAGE = [module for module in modules("avalanche") if layer(module) == "language"]


@pytest.mark.parametrize("module", LANGUAGE)
def test_the_language_is_pure(module: str) -> None:
    impure = {name.partition(".")[0] for name in floor.imports(module)} & IMPURE
    assert impure <= EXCEPTIONS.get(module, set())
    path = floor.path_of(module)
    assert path is not None
    opened = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"open", "eval", "exec", "print", "input"}
    ]
    assert not opened, f"{module} opens, prints or evaluates on lines {opened}"


@pytest.mark.parametrize("module", LANGUAGE)
def test_the_language_imports_only_itself(module: str) -> None:
    assert {layer(name) for name in ours(module)} <= {"language", "package"}


@pytest.mark.parametrize("module", modules("avalanche/adapters"))
def test_adapters_import_no_program(module: str) -> None:
    assert {layer(name) for name in ours(module)} <= {"language", "adapters", "package"}


@pytest.mark.parametrize("module", modules("avalanche/frontend") + modules("avalanche/agent"))
def test_programs_do_not_import_each_other(module: str) -> None:
    allowed = {"language", "adapters", "package", layer(module)}
    assert {layer(name) for name in ours(module)} <= allowed


def test_the_command_line_does_not_import_the_agent() -> None:
    # The agent travels as a bundle; the frontend's machine has no use for it in its own process.
    for module in modules("avalanche/cli"):
        assert "agent" not in {layer(name) for name in ours(module)}, module


def test_nothing_of_avalanche_imports_the_lab_or_the_tests() -> None:
    for module in modules("avalanche"):
        assert not {name.partition(".")[0] for name in floor.imports(module)} & {"lab", "tests"}, module


def test_language_modules_form_no_cycle() -> None:
    needs = {module: {name for name in ours(module) if name in LANGUAGE} - {module} for module in LANGUAGE}
    while needs:
        ready = {module for module, wanted in needs.items() if not wanted & needs.keys()}
        assert ready, f"these modules import each other: {sorted(needs)}"
        needs = {module: wanted for module, wanted in needs.items() if module not in ready}


def test_the_agent_imports_only_what_its_bundle_may_hold() -> None:
    closure = floor.closure()
    assert floor.foreign(closure - {floor.CLIENT}) <= floor.ALLOWED
    assert {layer(module) for module in closure} <= {"language", "agent", "package"}


def test_one_module_of_the_agent_knows_libtorrent_and_loads_it_when_an_order_says_so() -> None:
    assert floor.foreign({floor.CLIENT}) == {"libtorrent"}
    path = floor.path_of(floor.CLIENT)
    assert path is not None
    loaded_with_the_module = {
        alias.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import) for alias in node.names
    }
    assert "libtorrent" not in loaded_with_the_module


def test_the_agent_runs_on_python_3_9_as_far_as_vermin_can_tell() -> None:
    paths = [str(floor.path_of(module)) for module in sorted(floor.closure(floor.ENTRIES + floor.OTHERS_TESTED))]
    command = [str(Path(sys.executable).with_name("vermin")), "--no-tips", "--violations", "--target=3.9-", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_avalanche_imports_nothing_else() -> None:
    assert floor.imports("avalanche") == set()
