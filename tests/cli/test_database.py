"""database, init --database: where everything is, and how it gets elsewhere."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from avalanche.adapters.state import State
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import avalanche, run
from tests.smalldisk import SmallDisk

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


def test_an_address_from_standard_input_is_nowhere_but_in_the_file_of_the_password(
    state: State, mariadb: MariaDB
) -> None:
    avalanche("host", "add", "compute-0-0")
    avalanche("database", "backup", state.root / "before")
    secrets = (PASSWORD, QUOTED, "%20cret", "e cret")
    said = []
    for url, status in (
        (address(mariadb, password=f":{QUOTED}%21"), 1),
        (f"{address(mariadb)}?charset=nonsense", 1),
        (f"{address(mariadb)} twice", 1),
        (address(mariadb).replace("mysql", "postgresql", 1), 1),
        (address(mariadb).replace("/avalanche_", "/nosuch_"), 1),
        (address(mariadb), 0),
    ):
        command = [sys.executable, "-m", "avalanche", "database", "move", "--to", "-"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # What everybody on the machine may see.
        said.append(Path(f"/proc/{process.pid}/cmdline").read_text())
        out, err = process.communicate(f"{url}\n", timeout=60)
        assert (process.returncode, err.count("\n")) == (status, status), err
        said += [out, err]
        kept = {
            path.name for path in state.root.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
        }
        assert kept == (set() if status else {"database.password"})
    said += [avalanche("audit", "--json"), avalanche("database", "show"), state.config_file.read_text()]
    assert [text for text in said if any(secret in text for secret in secrets)] == []
    assert facts("audit")[-1]["action"] == "database move"
    avalanche("database", "restore", state.root / "before", "--force")
    found = facts("audit")[-1]
    assert (found["action"], found["detail"]["file"]) == ("database restore", str(state.root / "before"))
    assert found["subject"] == facts("database", "show")["database"]


def test_a_move_that_cannot_be_finished_leaves_the_settings_and_the_old_database(
    state: State, mariadb: MariaDB, small_disk: SmallDisk
) -> None:
    avalanche("host", "add", "compute-0-0")
    shutil.copytree(state.root, small_disk.root / "state", symlinks=True, ignore=shutil.ignore_patterns("store"))
    place, root = small_disk.folder / "state", small_disk.root / "state"
    command = ("database", "move", "--to", address(mariadb), "--force", "--state", place)
    before = (root / "avalanche.toml").read_text()
    names = {*small_disk.names(), "state/avalanche.db-shm", "state/avalanche.db-wal"}
    wall = []  # what did not fit
    for pages in (9, 10, 100):
        with small_disk.full(leave=pages * 4096):
            result = small_disk.run(*command)
        if result.returncode == 0:
            break
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        wall.append(result.stderr.rpartition("/")[2].strip())
        assert (root / "avalanche.toml").read_text() == before
        assert set(small_disk.names()) <= names
    assert "avalanche.db: database or disk is full; free space on its file system" in wall
    assert any(line.endswith("No space left on device") for line in wall)
    show = small_disk.run("database", "show", "--state", place, "--json")
    assert json.loads(show.stdout)["hosts"] == 1, show.stderr


def test_who_is_killed_when_the_old_database_is_closed_finds_the_new_settings_beside_the_old_ones(
    state: State, mariadb: MariaDB
) -> None:
    avalanche("host", "add", "compute-0-0")
    killed = "import os, pathlib, sys; from avalanche.cli import main; "
    killed += "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), 9); main(sys.argv[1:])"
    move = ("database", "move", "--to", address(mariadb))
    assert subprocess.run([sys.executable, "-c", killed, *move], check=False).returncode == -9
    for command in (("host", "list"), ("host", "add", "x"), (*move, "--force"), ("database", "backup", "b")):
        result = run(*command)
        assert (result.status, result.err.count("\n")) == (1, 1)
        assert "the database was moved; restart with the new avalanche.toml" in result.err
    for settings in (state.config_file, state.database_password_file):
        (fresh,) = state.root.glob(f".{settings.name}.*")
        assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
        fresh.rename(settings)
    assert facts("database", "show")["engine"] == "mariadb"
    assert [row["host"] for row in facts("host", "list")] == ["compute-0-0"]


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
