"""A state directory for commands, made once and copied for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.adapters.state import State
from tests.frontend.rig import copy_template, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def state(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    found = copy_template(template, tmp_path)
    monkeypatch.setenv("AVALANCHE_STATE", str(found.root))
    return found
