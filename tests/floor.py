"""Prove that the agent's import closure keeps to its floor: Python 3.9, standard library, h11.

``closure()`` follows imports from the bundle's entry points, wherever in a function they stand. The same list decides
what is checked by vermin, what is tested under the oldest and the newest Python (``python tests/floor.py --tests``),
and what the bundle must hold.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = ("avalanche.agent.__main__",)
OTHERS_TESTED = ("avalanche.stub",)  # its %pre runs on the host, and must be parsed there
CLIENT = "avalanche.agent.client"  # the swarm plane's module; libtorrent is fetched for it
ALLOWED = {"h11", "pykickstart"}  # pykickstart is the installer's own


def path_of(module: str) -> Path | None:
    """Return the source file of one of our modules, or None when it is not ours or not a module."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imports(module: str) -> set[str]:
    """Return the absolute names that a module imports, anywhere; ``from a import b`` gives ``a`` and ``a.b``."""
    path = path_of(module)
    assert path is not None, module
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def closure(entries: tuple[str, ...] = ENTRIES) -> set[str]:
    """Return every module of ours that the entries import, directly or not, with their packages."""
    reached: set[str] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        if module in reached or path_of(module) is None:
            continue
        reached.add(module)
        waiting.extend(imports(module))
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return reached


def foreign(modules: set[str]) -> set[str]:
    """Return the top-level names that a set of our modules imports from elsewhere, the standard library aside."""
    names = {name.partition(".")[0] for module in modules for name in imports(module)}
    return {name for name in names if name not in sys.stdlib_module_names and name != "avalanche"}


def tests_of(modules: set[str]) -> list[str]:
    """Return the test files that mirror the modules, and all of ``tests/agent``."""
    mirrored = {ROOT / "tests" / f"test_{module.split('.')[1]}.py" for module in modules if module.count(".") == 1}
    found = sorted(str(path.relative_to(ROOT)) for path in mirrored if path.is_file())
    return [*found, "tests/agent"]


if __name__ == "__main__":
    whole = closure(ENTRIES + OTHERS_TESTED)
    print(*(tests_of(whole) if "--tests" in sys.argv else sorted(whole)))
