"""The agent bundle: what is in it, and that it runs alone."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import avalanche
from avalanche.adapters.bundle import MAX_BYTES, build_bundle, without_docstrings

# What an installing host has; the lead's floor check sets it to a Python 3.9 without our libraries.
PYTHON = os.environ.get("AVALANCHE_PYTHON39", sys.executable)


def names() -> list[str]:
    return zipfile.ZipFile(io.BytesIO(build_bundle().data)).namelist()


def test_the_bundle_is_small_and_named_by_its_hash() -> None:
    bundle = build_bundle()
    assert len(bundle.data) <= MAX_BYTES
    assert bundle.sha256 == hashlib.sha256(bundle.data).hexdigest()


def test_two_builds_are_the_same_bytes() -> None:
    assert build_bundle() == build_bundle()


def test_only_sources_templates_and_licences_are_in_it() -> None:
    others = [name for name in names() if not name.startswith("avalanche/templates/") and "LICENSE" not in name]
    assert {Path(name).suffix for name in others} == {".py"}
    assert {name for name in names() if "__pycache__" in name or "/tests/" in name} == set()


def test_what_the_agent_reads_at_run_time_is_in_it() -> None:
    templates = Path(avalanche.__file__).parent / "templates"
    assert {f"avalanche/templates/{file.name}" for file in templates.iterdir() if file.is_file()} <= set(names())


def test_the_frontend_stays_at_home() -> None:
    folders = {name.split("/")[1] for name in names() if name.startswith("avalanche/") and name.count("/") > 1}
    assert folders == {"agent", "templates"}
    assert "avalanche/cluster.py" not in names()


def test_everything_in_it_imports_without_any_installed_library(tmp_path: Path) -> None:
    bundle = tmp_path / "agent.pyz"
    bundle.write_bytes(build_bundle().data)
    modules = [name[:-3].replace("/", ".").removesuffix(".__init__") for name in names() if name.endswith(".py")]
    wanted = [name for name in modules if name.startswith(("avalanche", "h11"))]
    code = f"""
import importlib, sys
sys.path[:] = [{str(bundle)!r}] + [entry for entry in sys.path if "site-packages" not in entry]
for name in {wanted!r}:
    if name not in ("avalanche.agent.__main__",):
        module = importlib.import_module(name)
        assert module.__file__.startswith({str(bundle)!r}), module
"""
    subprocess.run([PYTHON, "-I", "-S", "-c", code], check=True, cwd=tmp_path)


def parsed(source: bytes, *, docstrings: bool) -> str:
    """Return a module's syntax tree with the place of everything in it, perhaps without the docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree) if not docstrings else ():
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body.pop(0)
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass(lineno=first.lineno, col_offset=first.col_offset)]
    # A class that is nothing but its docstring ends elsewhere without it.
    return re.sub(r", end_\w+=\d+", "", ast.dump(tree, include_attributes=True))


def test_modules_lose_their_docstrings_and_no_line_moves() -> None:
    archive = zipfile.ZipFile(io.BytesIO(build_bundle().data))
    site = Path(pytest.__file__).parents[1]
    for name in names():
        if not name.endswith(".py") or name == "__main__.py":
            continue
        original = Path(avalanche.__file__).parents[1] / name if name.startswith("avalanche/") else site / name
        source = original.read_bytes()
        assert without_docstrings(source) == archive.read(name)
        is_same = parsed(archive.read(name), docstrings=True) == parsed(source, docstrings=False)
        assert is_same, name


@pytest.mark.parametrize(
    ("source", "lean"),
    [
        ('"""Doc."""\nfrom __future__ import annotations\n', "\nfrom __future__ import annotations\n"),
        ('class A:\n    """One\n\n    two."""\n\n    x = 1\n', "class A:\n\n\n\n\n    x = 1\n"),
        ('class A(Exception):\n    """Doc."""\n', "class A(Exception):\n    pass\n"),
        ('async def f():\n    r"""Doc."""\n    return """text"""', 'async def f():\n\n    return """text"""'),
        ('def f(): """Doc."""\n', 'def f(): """Doc."""\n'),
        ('def f():\n    """Doc."""; return 1\n', 'def f():\n    """Doc."""; return 1\n'),
        ('def f():\n    """D\xe9."""\n    return "\xe9"\n', 'def f():\n\n    return "\xe9"\n'),
        ("def f():\n    1\n", "def f():\n    1\n"),
    ],
)
def test_only_docstrings_that_stand_alone_are_taken_out(source: str, lean: str) -> None:
    assert without_docstrings(source.encode()).decode() == lean
