"""What --legacy says is for comparison: no program that serves or installs hosts can say it."""

from __future__ import annotations

import pytest

from tests import floor
from tests.test_architecture import modules

MODEL = "avalanche.legacy"
MAY_USE = {"avalanche.adapters.legacy_tree", "avalanche.cli.legacy"}
OTHERS = [
    name
    for name in modules("avalanche") + modules("tracker")
    if name not in MAY_USE and name != MODEL and not name.startswith(f"{MODEL}.")
]


@pytest.mark.parametrize("module", OTHERS)
def test_nothing_else_imports_the_model_of_the_original(module: str) -> None:
    used = {name for name in floor.imports(module) if name.startswith(MODEL) or name in MAY_USE}
    commands = {"avalanche.cli.graph", "avalanche.cli.profile", "avalanche.cli.kickstart"}
    assert {name for name in used if not name.startswith("avalanche.cli.legacy")} == set()
    assert not used or module in commands


def test_the_model_uses_nothing_of_the_compiler() -> None:
    for module in modules("avalanche/legacy"):
        used = {name for name in floor.imports(module) if floor.path_of(name) is not None}
        assert {name for name in used if not name.startswith(MODEL)} <= {"avalanche.errors"}, module
