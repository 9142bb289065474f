"""A state directory for commands, made once and copied for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avalanche.adapters.state import State
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import avalanche, copy_template, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def state(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    found = copy_template(template, tmp_path)
    monkeypatch.setenv("AVALANCHE_STATE", str(found.root))
    return found


@pytest.fixture(params=["sqlite", "mariadb"])
def engine_state(request: pytest.FixtureRequest, state: State) -> Iterator[State]:
    """A state directory whose database is on either engine."""
    if request.param == "sqlite":
        yield state
        return
    server: MariaDB = request.getfixturevalue("mariadb")
    url = server.borrow_database()
    plain = f"mysql+pymysql://{USER}@127.0.0.1:{server.port}/{url.database}"
    settings = state.config_file.read_text()
    state.config_file.write_text(settings.replace('url = ""', f'url = "{plain}"'))
    state.database_password_file.write_text(f"{PASSWORD}\n")
    avalanche("init")
    state.database_file.unlink()
    yield state
    server.give_back(url)
