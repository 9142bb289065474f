"""``avalanche init``: what it makes, that it keeps what is there, and that it completes what is not."""

from __future__ import annotations

import io
import json
import re
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from avalanche.adapters.state import State
from lab.mariadb import PASSWORD, USER, MariaDB
from tests.frontend.rig import avalanche, make_roll, run
from tests.smalldisk import SmallDisk


@pytest.fixture
def fresh(tmp_path: Path) -> State:
    make_roll(tmp_path / "roll")
    return State(tmp_path / "new" / "state")


def init(state: State, *options: object) -> dict[str, list[str]]:
    roll = state.root.parent.parent / "roll"
    arguments = ("init", "--state", state.root, "--address", "127.0.0.1", "--roll", roll, "--json", *options)
    found: dict[str, list[str]] = json.loads(avalanche(*arguments))
    return found


def content(state: State) -> dict[str, bytes]:
    names = ("avalanche.toml", "order.key", "authority/ca.crt", "authority/server.pem")
    return {name: (state.root / name).read_bytes() for name in names}


def test_a_new_state_directory_has_everything_and_is_closed_to_others(fresh: State) -> None:
    assert init(fresh)["kept"] == []
    assert stat.S_IMODE(fresh.root.stat().st_mode) == 0o700
    for path in (fresh.config_file, fresh.database_file, fresh.order_key_file, fresh.authority / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(fresh.order_key()) == 32
    assert fresh.config().frontend.address == ("127.0.0.1",)
    assert "compute" in avalanche("appliance", "list", "--state", fresh.root)
    attributes = json.loads(avalanche("attr", "list", "--state", fresh.root, "--json"))
    assert {row["name"]: row["value"] for row in attributes} == {
        "Kickstart_Lang": "en_US.UTF-8",
        "Kickstart_Keyboard": "us",
        "Kickstart_Timezone": "UTC",
    }


def test_a_second_init_changes_nothing_and_says_what_is_there(fresh: State) -> None:
    init(fresh)
    avalanche("attr", "remove", "Kickstart_Lang", "--state", fresh.root)
    before = content(fresh)
    again = init(fresh)
    assert again["made"] == []
    assert len(again["kept"]) == 8
    assert content(fresh) == before
    assert "Kickstart_Lang" not in avalanche("attr", "list", "--state", fresh.root)


@pytest.mark.parametrize(
    "missing", ["avalanche.db", "order.key", "authority/ca.crt", "authority/server.pem", "avalanche.toml"]
)
def test_a_half_made_state_directory_is_completed(fresh: State, missing: str) -> None:
    init(fresh)
    before = content(fresh)
    (fresh.root / missing).unlink()
    assert init(fresh)["made"] != []
    assert (fresh.root / missing).exists()
    kept = set(before) - {missing} - ({"authority/server.pem"} if missing == "authority/ca.crt" else set())
    assert {name: content(fresh)[name] for name in kept} == {name: before[name] for name in kept}


def test_an_open_state_directory_is_closed(fresh: State) -> None:
    fresh.root.mkdir(parents=True, mode=0o755)
    assert any("mode 0700" in line for line in init(fresh)["made"])
    assert stat.S_IMODE(fresh.root.stat().st_mode) == 0o700


def test_settings_that_were_written_before_are_used(fresh: State) -> None:
    fresh.root.mkdir(parents=True, mode=0o700)
    fresh.config_file.write_text('[frontend]\naddress = "10.1.1.1"\nhttp_port = 8080\n')
    result = run("init", "--state", fresh.root, "--address", "10.1.1.2")
    assert result.status == 0
    assert "edit it to change the addresses" in result.err
    assert fresh.config().frontend.address == ("10.1.1.1",)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "avalanche init --address ADDRESS"),
        (("--address", "not an address"), "neither an IP address nor a host name"),
        (("--address", "10.1.1.1", "--roll", "/nonexistent"), "/nonexistent is not a roll"),
        (("--address", "10.1.1.1", "--roll", "{broken}"), "graphs/default/test.xml"),
        (("--address", "10.1.1.1", "--roll", "{roll}", "--database", "mysql://u:secret@127.0.0.1:1/x"), "running?"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing_behind(
    fresh: State, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    broken = make_roll(tmp_path / "broken")
    (broken / "graphs" / "default" / "test.xml").write_text("<graph>")
    places = {"broken": broken, "roll": tmp_path / "roll"}
    before = sorted(tmp_path.rglob("*"))
    for more in ("new", "new/state", "new/state/mine"):
        result = run("init", "--state", fresh.root, *(option.format_map(places) for option in options))
        assert (result.status, result.err.count("\n")) == (1, 1)
        assert why in result.err
        assert sorted(tmp_path.rglob("*")) == before
        (tmp_path / more).mkdir()
        before = sorted(tmp_path.rglob("*"))


def test_a_server_s_password_that_was_wrong_is_not_kept(
    fresh: State, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"mysql+pymysql://{USER}:{{}}@127.0.0.1:{mariadb.port}/{mariadb.make_database().database}"
    monkeypatch.setattr("sys.stdin", io.StringIO(url.format("wrong")))
    options = ("--state", fresh.root, "--address", "127.0.0.1", "--roll", fresh.root.parent.parent / "roll")
    assert "the user or password of database.url is wrong" in run("init", *options, "--database", "-").err
    assert not fresh.root.parent.exists()
    right = url.format(quote(PASSWORD, safe=""))
    monkeypatch.setattr("sys.stdin", io.StringIO(right))
    assert init(fresh, "--database", "-")["kept"] == []
    # From then on the file is the operator's.
    result = run("init", *options, "--database", url.format("another"))
    assert (result.status, result.err) == (
        0, f"{fresh.database_password_file} has another password, or none; edit it to change the password\n"
    )  # fmt: skip
    assert fresh.database_password_file.read_text() == f"{PASSWORD}\n"
    assert run("init", *options, "--database", right).err == ""


def test_a_disk_that_is_full_leaves_nothing_or_what_the_next_run_completes(
    tmp_path: Path, small_disk: SmallDisk
) -> None:
    roll = make_roll(tmp_path / "roll")
    command = ("init", "--state", small_disk.folder / "state", "--address", "127.0.0.1", "--roll", roll, "--json")
    for leave in (0, 400_000):
        with small_disk.full(leave=leave):
            result = small_disk.run(*command)
            assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
            assert re.search(r"No space left on device|disk is full", result.stderr)
            assert [name for name in small_disk.names() if "/." in name] == []  # nothing half written
    made = small_disk.run(*command)
    assert made.returncode == 0, made.stderr
    assert (small_disk.root / "state" / "authority" / "server.pem").exists()


def test_the_working_directory_is_the_base_roll_when_it_is_one(
    fresh: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "roll")
    avalanche("init", "--state", fresh.root, "--address", "127.0.0.1")
    assert fresh.config().frontend.rolls == (str(tmp_path / "roll"),)


def test_every_appliance_of_the_base_roll_is_there_at_once(fresh: State) -> None:
    base = Path(__file__).parents[2]
    avalanche("init", "--state", fresh.root, "--address", "127.0.0.1", "--roll", base)
    rows = json.loads(avalanche("appliance", "list", "--state", fresh.root, "--json"))
    names = {"compute", "devel", "gpu", "login", "monitor", "nas"}
    assert {row["appliance"]: row["memberships"] for row in rows} == {name: [name.capitalize()] for name in names}
    avalanche("host", "add", "login-0-0", "--appliance", "login", "--state", fresh.root)
    assert "login" in avalanche("graph", "order", "login-0-0", "--state", fresh.root).split()


def test_an_appliance_that_was_removed_does_not_come_back(fresh: State) -> None:
    graph = fresh.root.parent.parent / "roll" / "graphs" / "default" / "test.xml"
    graph.write_text(graph.read_text().replace("</graph>", '<edge from="gpu" to="base"/></graph>'))
    graph.write_text(graph.read_text().replace('<edge from="compute" to="gpu" cond="has_gpu"/>', ""))
    assert "appliances compute, gpu; 3 global attributes" in init(fresh)["made"]
    avalanche("appliance", "remove", "gpu", "--state", fresh.root)
    init(fresh)
    assert "gpu" not in avalanche("appliance", "list", "--state", fresh.root)


def test_a_roll_that_is_wrong_is_told_and_init_goes_on_when_it_is_mended(fresh: State) -> None:
    graph = fresh.root.parent.parent / "roll" / "graphs" / "default" / "test.xml"
    whole = graph.read_text()
    graph.write_text("<graph>")
    roll = fresh.root.parent.parent / "roll"
    result = run("init", "--state", fresh.root, "--address", "127.0.0.1", "--roll", roll)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "test.xml:1" in result.err
    graph.write_text(whole)
    assert "appliances compute; 3 global attributes" in init(fresh)["made"]
