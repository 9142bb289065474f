"""database, init --database: where everything is, and how it gets elsewhere."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from avalanche.adapters.state import State
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import avalanche, run

QUOTED = "se%20cret%2F%40%3A%25"


def facts(*arguments: object) -> Any:
    return json.loads(avalanche(*arguments, "--json"))


def address(server: MariaDB, *, password: str = f":{QUOTED}") -> str:
    return f"mysql+pymysql://{USER}{password}@127.0.0.1:{server.port}/{server.make_database().database}"


def test_a_frontend_is_made_on_mariadb_and_its_password_is_in_one_file_only(
    state: State, mariadb: MariaDB, tmp_path: Path
) -> None:
    fresh = State(tmp_path / "fresh")
    url = address(mariadb)
    made = avalanche(
        "init", "--state", fresh.root, "--address", "10.1.1.1", "--roll", tmp_path / "roll", "--database", url
    )
    assert "geheim" not in made and QUOTED not in made and PASSWORD not in made
    assert QUOTED not in fresh.config_file.read_text()
    assert fresh.database_password_file.read_text() == f"{PASSWORD}\n"
    assert stat.S_IMODE(fresh.database_password_file.stat().st_mode) == 0o600
    assert facts("database", "show", "--state", fresh.root)["engine"] == "mariadb"
    assert not fresh.database_file.exists()
    again = json.loads(avalanche("init", "--state", fresh.root, "--database", url, "--json"))
    assert again["made"] == []
    fresh.database_password_file.write_text("wrong\n")
    for command in (("host", "list"), ("host", "add", "x"), ("database", "backup", tmp_path / "b")):
        result = run(*command, "--state", fresh.root)
        assert (result.status, result.err.count("\n")) == (1, 1)
        assert "the user or password of database.url is wrong" in result.err


def test_the_password_may_be_in_a_file_that_the_address_names(state: State, mariadb: MariaDB, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    fresh = State(tmp_path / "fresh")
    url = f"{address(mariadb, password='')}?password_file={tmp_path / 'secret'}"
    avalanche("init", "--state", fresh.root, "--address", "10.1.1.1", "--roll", tmp_path / "roll", "--database", url)
    assert not fresh.database_password_file.exists()
    assert facts("host", "list", "--state", fresh.root) == []


def test_everything_moves_to_mariadb_and_back(state: State, mariadb: MariaDB, tmp_path: Path) -> None:
    avalanche("host", "add", "compute-0-[0-3]")
    avalanche("attr", "set", "color", "red", "--secret", "--host", "compute-0-1")
    before = facts("host", "list"), facts("attr", "list", "--show-secrets")
    avalanche("database", "move", "--to", address(mariadb))
    assert facts("database", "show")["engine"] == "mariadb"
    assert (facts("host", "list"), facts("attr", "list", "--show-secrets")) == before
    avalanche("host", "add", "compute-0-9")
    refused = run("database", "move", "--to", "sqlite")
    assert "is not empty; --force removes what is there" in refused.err
    assert facts("database", "show")["engine"] == "mariadb"
    avalanche("database", "move", "--to", "sqlite", "--force")
    assert facts("database", "show")["engine"] == "sqlite"
    assert len(facts("host", "list")) == 5
    assert "is the database that is used already" in run("database", "move", "--to", "sqlite").err


def test_a_backup_is_restored_with_force_into_what_init_made(engine_state: State, tmp_path: Path) -> None:
    avalanche("host", "add", "compute-0-[0-3]")
    told = facts("database", "backup", tmp_path / "backup")
    assert told["rows"] > 4
    assert "--force" in run("database", "backup", tmp_path / "backup").err
    avalanche("host", "remove", "@all")
    assert "--force" in run("database", "restore", tmp_path / "backup").err
    avalanche("database", "restore", tmp_path / "backup", "--force")
    assert len(facts("host", "list")) == 4


def test_a_query_prints_what_it_found(engine_state: State) -> None:
    avalanche("host", "add", "compute-0-[0-1]")
    query = "select name, rack as cabinet, name from nodes order by name"
    assert avalanche("database", "query", query).splitlines() == [
        "NAME         CABINET  NAME",
        "compute-0-0  0        compute-0-0",
        "compute-0-1  0        compute-0-1",
    ]
    assert facts("database", "query", "select count(*) as hosts from nodes") == [{"hosts": 2}]
    query = "select n.name, m.name, sum(n.rank) as of_ranks, avg(n.rank) as mean, x'61ff' as bytes from nodes n "
    query += "join memberships m on n.membership = m.id where n.rank = 1 group by n.name, m.name"
    row = {key.lower(): value for key, value in facts("database", "query", query)[0].items()}
    assert row == {"name": "compute-0-1", "name_2": "Compute", "of_ranks": 1, "mean": 1, "bytes": "a\\xff"}
    assert "OF_RANKS" in avalanche("database", "query", query)
    assert facts("database", "query", "select current_timestamp as now") != []
