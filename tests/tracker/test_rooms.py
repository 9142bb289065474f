"""The tracker is a program of its own: few modules of Avalanche, and decisions without clock, chance or socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import floor

MODULES = sorted(f"tracker.{path.stem}" for path in (floor.ROOT / "tracker").glob("*.py") if path.stem != "__init__")
PURE = {
    "addresses",
    "announce",
    "chains",
    "choice",
    "flow",
    "line",
    "lookup",
    "member",
    "messages",
    "pace",
    "policy",
    "progress",
    "standing",
    "starvation",
    "swarms",
}
IMPURE = {"asyncio", "aiohttp", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time"}
ALLOWED = {"bencode", "errors", "log", "manifest", "news", "tokens"}


@pytest.mark.parametrize("module", MODULES)
def test_a_tracker_module_imports_few_of_avalanches(module: str) -> None:
    ours = {name.split(".")[1] for name in floor.imports(module) if name.startswith("avalanche.")}
    assert ours <= ALLOWED


@pytest.mark.parametrize("name", sorted(PURE))
def test_decisions_are_pure(name: str) -> None:
    imported = floor.imports(f"tracker.{name}")
    assert not {each.partition(".")[0] for each in imported} & IMPURE
    inner = {each.split(".")[1] for each in imported if each.startswith("tracker.")}
    assert inner <= PURE | {"registry"}


def test_nothing_of_avalanche_but_the_command_line_imports_the_tracker() -> None:
    for path in sorted(Path(floor.ROOT, "avalanche").rglob("*.py")):
        parts = path.relative_to(floor.ROOT).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[1] != "cli":
            assert not {name for name in floor.imports(module) if name.split(".")[0] == "tracker"}, module
