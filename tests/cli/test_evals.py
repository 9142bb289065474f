"""Evals, includes and lax rolls, from the settings and options to the kickstart and the installation document."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.adapters.database import Database
from avalanche.adapters.distributions import Distributions
from avalanche.adapters.state import State
from avalanche.cli.plan import make_planner
from avalanche.errors import NodeFileError
from avalanche.frontend.planner import Planner
from tests.frontend.rig import avalanche, run

EXTENSION = """<kickstart>
<post>
# <eval>echo evaluated for &amp;appliance; at $$</eval>
<copy src="FILE" dst="/etc/key"/>
</post>
<include file="more.xml" mode="xml"/>
</kickstart>
"""


@pytest.fixture
def roll(state: State, tmp_path: Path) -> Path:
    avalanche("host", "add", "compute-0-0")
    avalanche("host", "add", "compute-0-1")
    folder = state.root.parent / "roll"
    (tmp_path / "key").write_text("one")
    extension = EXTENSION.replace("FILE", str(tmp_path / "key")).replace("&amp;", "&")
    (folder / "nodes" / "extend-compute.xml").write_text(extension)
    (folder / "include").mkdir()
    (folder / "include" / "more.xml").write_text("<post>false\necho included</post>")
    return folder


def set_rolls(state: State, text: str) -> None:
    state.config_file.write_text(f"{state.config_file.read_text()}\n[rolls]\n{text}\n")


def planner_of(state: State) -> Planner:
    config = state.config()
    return make_planner(state, config, Distributions(state.root))


def test_a_roll_is_not_trusted_by_itself(roll: Path) -> None:
    for command in ("profile", "kickstart"):
        result = run(command, "compute-0-0")
        assert result.status == 1
        assert "nodes/extend-compute.xml:3: <eval> failed: the roll test is not trusted" in result.err
        assert result.err.count("\n") == 1
    assert run("order", "create", "compute-0-0").status == 1
    assert "is not trusted" in run("graph", "check", "compute-0-0").err


def test_evals_and_includes_can_be_left_out(roll: Path) -> None:
    for source in (["compute-0-0"], ["--root", "compute", "--roll", roll]):
        attributes = [] if source == ["compute-0-0"] else ["--attrs", write_attributes(roll)]
        said = avalanche("kickstart", *source, *attributes, "--no-eval")
        assert "evaluated" not in said
        assert "included" not in said


def write_attributes(roll: Path) -> Path:
    path = roll / "attributes.json"
    path.write_text('{"hostname": "compute-0-0", "Kickstart_Lang": "C"}')
    return path


def test_a_roll_is_trusted_by_an_option_without_a_database(roll: Path) -> None:
    said = avalanche(
        "kickstart", "--root", "compute", "--roll", roll, "--attrs", write_attributes(roll), "--trust", "test"
    )
    assert "# evaluated for compute at " in said
    assert "echo included" in said
    assert " lax || exit" not in said


def test_a_roll_is_trusted_and_lax_by_the_settings(roll: Path, state: State) -> None:
    set_rolls(state, 'trusted = ["test"]\nlax = ["test"]')
    said = avalanche("kickstart", "compute-0-0")
    assert "# evaluated for compute at " in said
    assert "nodes/extend-compute.xml 6 lax || exit" in said
    assert avalanche("order", "create", "compute-0-0")


def test_equal_hosts_run_an_eval_once_and_a_changed_file_shows(roll: Path, state: State, tmp_path: Path) -> None:
    set_rolls(state, 'trusted = ["test"]')
    planner = planner_of(state)
    with Database(state.database_file).snapshot() as transaction:
        cluster = transaction.cluster()
    first, second = (planner.profile_of(cluster, f"compute-0-{rank}")[1] for rank in (0, 1))
    assert first is second
    seen = planner.look(())
    assert planner.look(()) == seen
    (tmp_path / "key").write_text("three")
    assert planner.look(()) != seen
    third = planner.profile_of(cluster, "compute-0-0")[1]
    assert third.body != first.body
    evaluated = [line for line in third.body.decode().splitlines() if "evaluated" in line]
    assert evaluated == [line for line in first.body.decode().splitlines() if "evaluated" in line]
    assert planner.profile_of(cluster, "compute-0-1")[1] is third


def test_a_changed_include_shows_in_the_next_request(roll: Path, state: State) -> None:
    set_rolls(state, 'trusted = ["test"]')
    planner = planner_of(state)
    with Database(state.database_file).snapshot() as transaction:
        cluster = transaction.cluster()
    assert b"echo included" in planner.profile_of(cluster, "compute-0-0")[1].body
    (roll / "include" / "more.xml").write_text("<post>echo changed it</post>")
    planner.look(())
    assert b"echo changed it" in planner.profile_of(cluster, "compute-0-0")[1].body


def test_without_trust_the_frontend_refuses(roll: Path, state: State) -> None:
    with Database(state.database_file).snapshot() as transaction:
        cluster = transaction.cluster()
    with pytest.raises(NodeFileError, match="not trusted"):
        planner_of(state).profile_of(cluster, "compute-0-0")
