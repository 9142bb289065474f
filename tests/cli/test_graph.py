"""profile, kickstart, graph: what the language says, with and without a database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avalanche.adapters.state import State
from avalanche.profile import parse_profile
from tests.frontend.rig import avalanche, make_roll, run


@pytest.fixture
def roll(tmp_path: Path) -> Path:
    return make_roll(tmp_path / "roll")


def attributes(folder: Path, **values: str) -> Path:
    file = folder / "attributes.json"
    file.write_text(json.dumps({"Kickstart_Lang": "en_US.UTF-8", **values}))
    return file


def test_a_profile_and_a_kickstart_need_no_database(roll: Path, tmp_path: Path) -> None:
    source = ("--root", "compute", "--roll", roll, "--attrs", attributes(tmp_path), "--state", "/nonexistent")
    profile = parse_profile(avalanche("profile", *source).encode())
    assert [node.name for node in profile.nodes] == ["base", "compute"]
    kickstart = avalanche("kickstart", *source)
    assert "lang en_US.UTF-8" in kickstart
    assert "alpha" in kickstart


def test_the_order_is_one_name_per_line(roll: Path, tmp_path: Path) -> None:
    source = ("--root", "compute", "--roll", roll)
    assert avalanche("graph", "order", *source) == "base\ncompute\n"
    gpu = ("--attrs", attributes(tmp_path, has_gpu="1"))
    assert avalanche("graph", "order", *source, *gpu).splitlines() == ["base", "compute", "gpu"]
    assert json.loads(avalanche("graph", "order", *source, "--json")) == ["base", "compute"]


def test_why_is_the_path_of_edges(roll: Path) -> None:
    told = avalanche("graph", "why", "--root", "compute", "--roll", roll, "base")
    assert told.splitlines() == ["compute", f"base  {roll}/graphs/default/test.xml:2"]
    result = run("graph", "why", "--root", "compute", "--roll", roll, "gpu")
    assert (result.status, result.err) == (1, "compute does not select gpu with these attributes\n")


def test_a_host_of_the_database_is_as_good_as_a_root(state: State) -> None:
    avalanche("host", "add", "compute-0-0")
    assert avalanche("graph", "order", "compute-0-0") == "base\ncompute\n"
    assert avalanche("graph", "check", "compute-0-0") == ""
    (edge,) = json.loads(avalanche("graph", "why", "compute-0-0", "base", "--json"))
    assert (edge["source"], edge["target"], edge["line"]) == ("compute", "base", 2)


def test_a_frontend_without_rolls_says_which_setting_is_empty(state: State) -> None:
    settings = state.config_file.read_text().replace(f'rolls = ["{state.root.parent}/roll"]', "rolls = []")
    state.config_file.write_text(settings)
    avalanche("host", "add", "compute-0-0")
    for command in (("kickstart", "compute-0-0"), ("order", "create", "compute-0-0")):
        result = run(*command)
        assert (result.status, result.err.count("\n")) == (1, 1)
        assert "frontend.rolls is empty" in result.err


def test_a_cycle_of_order_pairs_is_one_line_with_its_place(roll: Path) -> None:
    pairs = '<order head="base"><tail>compute</tail></order>\n<order head="compute"><tail>base</tail></order>'
    (roll / "graphs" / "default" / "cycle.xml").write_text(f"<graph>\n{pairs}\n</graph>")
    result = run("graph", "check", "--root", "compute", "--roll", roll)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "graphs/default/cycle.xml:" in result.err


def test_a_later_roll_overrides(roll: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "graphs" / "default").mkdir(parents=True)
    (other / "graphs" / "default" / "other.xml").write_text('<graph roll="other"/>')
    (other / "nodes").mkdir()
    (other / "nodes" / "compute.xml").write_text("<kickstart><package>theirs</package></kickstart>")
    source = ("--root", "compute", "--roll", roll, "--roll", other, "--attrs", attributes(tmp_path))
    assert "theirs" in avalanche("kickstart", *source)


def test_a_right_roll_has_nothing_to_tell(roll: Path, tmp_path: Path) -> None:
    assert avalanche("graph", "check", "--root", "compute", "--roll", roll, "--attrs", attributes(tmp_path)) == ""


def test_a_check_tells_everything_that_is_wrong_at_once(roll: Path, tmp_path: Path) -> None:
    (roll / "nodes" / "base.xml").write_text("<kickstart>\n<post><nonsense/></post>\n</kickstart>")
    (roll / "nodes" / "gpu.xml").write_text("<kickstart>\n\n<package>\n</kickstart>")
    (roll / "graphs" / "default" / "more.xml").write_text('<graph>\n<edge from="compute" to="ghost"/>\n</graph>')
    result = run("graph", "check", "--root", "compute", "--roll", roll)
    lines = result.err.splitlines()
    assert result.status == 1
    assert len(lines) == 3
    for place in ("nodes/base.xml:2: ", "nodes/gpu.xml:4: ", "graphs/default/more.xml:2: "):
        assert any(place in line for line in lines), place


def test_a_check_finds_an_attribute_without_a_value(roll: Path) -> None:
    base = roll / "nodes" / "base.xml"
    base.write_text(base.read_text().replace("Kickstart_Lang", "Kickstart_Mood"))
    result = run("graph", "check", "--root", "compute", "--roll", roll)
    assert result.status == 1
    assert "nodes/base.xml:3: " in result.err
    assert "Kickstart_Mood" in result.err


@pytest.mark.parametrize(
    ("text", "why"),
    [("[1]", "one JSON object of texts"), ('{"rack": 0}', "one JSON object of texts"), ("{", "not JSON")],
)
def test_wrong_attributes_are_one_line(roll: Path, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "attributes.json"
    file.write_text(text)
    result = run("graph", "order", "--root", "compute", "--roll", roll, "--attrs", file)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert result.err.startswith(f"{file}: ")
    assert why in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("profile",),
        ("profile", "x", "--root", "y"),
        ("graph", "order", "--root", "x"),
        ("kickstart", "x", "--roll", "y"),
    ],
)
def test_half_a_source_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).status == 2


def test_an_unknown_root_is_one_line(roll: Path) -> None:
    result = run("profile", "--root", "nix", "--roll", roll)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "nix" in result.err


def test_a_folder_that_is_no_roll_is_one_line(tmp_path: Path) -> None:
    result = run("graph", "check", "--root", "x", "--roll", tmp_path / "nix")
    assert (result.status, result.err.count("\n")) == (1, 1)
