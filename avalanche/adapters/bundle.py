"""The agent bundle: one zip file that Python 3.9 and later runs as it is, with nothing compiled in it.

It holds the agent, the modules of ours that it imports (followed import by import, so that there is no list to forget),
and h11 as it is installed here, with its licence; all without docstrings, which every host would fetch and compile for
nothing. The same installation always gives the same bytes, so that the hash in a stub stays true after a restart.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from avalanche.errors import ConfigError

MAX_BYTES = 512 * 1024
LIBRARIES = ("h11",)

_MAIN = b"from avalanche.agent.__main__ import main\n\nraise SystemExit(main())\n"
_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest time a zip can hold: real ones would make every installation's bundle another


@dataclass(frozen=True, slots=True)
class Bundle:
    """The zip file, and the hash by which hosts know it."""

    data: bytes
    sha256: str


def build_bundle() -> Bundle:
    """Zip the agent and everything it imports.

    Raises:
        ConfigError: a library is missing, or the bundle is larger than what an installer should have to fetch.
    """
    content = {"__main__.py": _MAIN, **_agent()}
    for library in LIBRARIES:
        content.update(_library(library))
    data = _zip({path: without_docstrings(data) if path.endswith(".py") else data for path, data in content.items()})
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the agent bundle has {len(data)} bytes; an installer is given at most {MAX_BYTES}")
    return Bundle(data, hashlib.sha256(data).hexdigest())


def without_docstrings(source: bytes) -> bytes:
    """Take the docstrings out of a module; every other line stays where it was, so that tracebacks are true.

    Args:
        source: UTF-8.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
            continue
        first = node.body[0]
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)) or first.end_lineno is None:
            continue
        begin, end = first.lineno - 1, first.end_lineno - 1
        before, after = lines[begin][: first.col_offset], lines[end][first.end_col_offset :]
        if not isinstance(first.value.value, str) or before.strip() or after.strip():
            continue  # it shares its line with code
        instead = b"" if isinstance(node, ast.Module) or len(node.body) > 1 else before + b"pass"
        lines[begin : end + 1] = [instead + b"\n"] + [b"\n"] * (end - begin)
    return b"".join(lines)


def _agent() -> dict[str, bytes]:
    package = files("avalanche")
    content = {f"avalanche/agent/{path}": data for path, data in _sources(package / "agent")}
    content["avalanche/__init__.py"] = (package / "__init__.py").read_bytes()
    waiting = list(content.values())
    while waiting:
        for name in _imports(waiting.pop()):
            path = f"avalanche/{name}.py"
            if path not in content and (package / f"{name}.py").is_file():
                content[path] = (package / f"{name}.py").read_bytes()
                waiting.append(content[path])
    templates = (file for file in (package / "templates").iterdir() if file.is_file())  # the frontend's own are below
    return content | {f"avalanche/templates/{file.name}": file.read_bytes() for file in templates}


def _imports(source: bytes) -> Iterator[str]:
    """Name the language modules that a module imports."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package, _, module = name.partition(".")
            if package == "avalanche" and module:
                yield module.partition(".")[0]


def _library(name: str) -> dict[str, bytes]:
    try:
        content = {f"{name}/{path}": data for path, data in _sources(files(name))}
        licences = [path for path in importlib.metadata.files(name) or () if path.name.upper().startswith("LICENSE")]
    except (ModuleNotFoundError, importlib.metadata.PackageNotFoundError) as error:
        raise ConfigError(f"the agent bundle needs {name}, which is not installed: pip install {name}") from error
    for licence in licences:
        content[f"{name}/{licence.name}"] = licence.read_binary()
    return content


def _sources(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """The Python sources below a package, not its tests; compiled parts stay behind, their pure stand-ins go along."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in ("__pycache__", "tests"):
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()


def _zip(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(content):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content[path])
    return buffer.getvalue()
