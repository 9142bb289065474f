"""A frontend on loopback, from a state directory that is made once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avalanche.adapters.state import State
from tests.frontend.rig import Rig, copy_template, make_template, running


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def state(template: Path, tmp_path: Path) -> State:
    return copy_template(template, tmp_path)


@pytest.fixture
async def rig(state: State) -> AsyncIterator[Rig]:
    async with running(state) as found:
        yield found
