"""profile, kickstart, graph: what the language says, with and without a database."""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_a_question_about_rolls_loads_no_database_server_or_event_loop(roll: Path) -> None:
    code = (
        "import sys; from avalanche.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'asyncio', 'aiohttp', 'sqlalchemy', 'libtorrent', 'cryptography', 'pykickstart'}; "
        "sys.exit(status or ' '.join(heavy & sys.modules.keys()) or None)"
    )
    command = (sys.executable, "-c", code, "graph", "order", "--root", "compute", "--roll", roll)
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "base\ncompute\n"


def test_the_order_is_one_name_per_line(roll: Path, tmp_path: Path) -> None:
    source = ("--root", "compute", "--roll", roll)
    assert avalanche("graph", "order", *source) == "base\ncompute\n"
    gpu = ("--attrs", attributes(tmp_path, has_gpu="1"))
    assert avalanche("graph", "order", *source, *gpu).splitlines() == ["base", "compute", "gpu"]
    assert json.loads(avalanche("graph", "order", *source, "--json")) == ["base", "compute"]


def test_why_is_the_path_of_edges(roll: Path) -> None:
    told = avalanche("graph", "why", "--root", "compute", "--roll", roll, "base")
    assert told.splitlines() == [
        "compute selects base:",
        f"  compute -> base  {roll}/graphs/default/test.xml:2",
        f"file {roll}/nodes/base.xml",
    ]
    assert avalanche("graph", "why", "base", "--root", "compute", "--roll", roll) == told


def test_why_not_is_the_way_that_is_closed_and_the_value_that_closes_it(roll: Path, tmp_path: Path) -> None:
    result = run("graph", "why", "--root", "compute", "--roll", roll, "gpu")
    assert (result.status, result.err) == (1, "compute does not select gpu with these attributes\n")
    assert "compute -> gpu" in result.out
    assert "needs has_gpu  (has_gpu has no value)" in result.out
    facts = json.loads(run("graph", "why", "--root", "compute", "--roll", roll, "gpu", "--json").out)
    assert facts["selected"] is False
    assert facts["obstacles"][0][0]["values"] == {"has_gpu": None}
    gpu = ("--attrs", attributes(tmp_path, has_gpu="yes"))
    assert "if has_gpu  (has_gpu=yes)" in avalanche("graph", "why", "--root", "compute", "--roll", roll, *gpu, "gpu")
    result = run("graph", "why", "--root", "compute", "--roll", roll, "gpus")
    assert (result.status, result.err) == (1, "no roll has a node 'gpus'; closest: gpu\n")


def test_why_a_package_is_who_asks_for_it(roll: Path) -> None:
    source = ("--root", "compute", "--roll", roll)
    told = avalanche("graph", "why", "--package", "alpha", *source)
    assert told == f"alpha: asked for\n  compute asks for alpha  {roll}/nodes/compute.xml:1\n"
    result = run("graph", "why", "--package", "gcc-c++", *source)
    assert result.status == 1
    assert result.out.startswith("gcc-c++: not asked for\n  gpu asks for gcc-c++, but is not selected")
    (mention,) = json.loads(run("graph", "why", "--package", "gcc-c++", *source, "--json").out)["mentions"]
    assert (mention["counts"], mention["why"]["selected"]) == (False, False)


def test_why_one_node_comes_before_another_is_told(roll: Path) -> None:
    source = ("--root", "compute", "--roll", roll)
    told = avalanche("graph", "order", *source, "--explain", "compute", "base")
    assert told == "base takes effect before compute: no pair speaks of either, so they stand by name\n"
    graph = roll / "graphs/default/order.xml"
    graph.write_text('<graph>\n<order head="compute" tail="base"/>\n</graph>')
    answer = json.loads(avalanche("graph", "order", *source, "--explain", "base", "compute", "--json"))
    assert (answer["first"], answer["chains"][0][0]["line"]) == ("compute", 2)


def test_a_drawing_is_printed_or_written(roll: Path, tmp_path: Path) -> None:
    source = ("--root", "compute", "--roll", roll)
    assert avalanche("graph", "draw", *source).startswith("<svg ")
    assert avalanche("graph", "draw", "--roll", roll, "--format", "dot", "--orders").startswith("digraph ")
    assert avalanche("graph", "draw", *source, "--output", tmp_path / "graph.dot") == ""
    assert (tmp_path / "graph.dot").read_text().startswith("digraph ")
    for name in ("nowhere/graph.svg", "graph.png"):
        result = run("graph", "draw", *source, "--output", tmp_path / name)
        assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert not (tmp_path / "graph.png").exists()


def test_two_profiles_are_compared_like_files(roll: Path, tmp_path: Path) -> None:
    left = attributes(tmp_path)
    right = left.rename(tmp_path / "right.json")
    left.write_text(right.read_text())
    right.write_text(json.dumps({"Kickstart_Lang": "it_IT", "has_gpu": "yes"}))
    told = avalanche("profile", "diff", "--root", "compute", "--roll", roll, "--attrs", left, "--attrs", right)
    assert told.splitlines() == [
        f"--- compute {left}", f"+++ compute {right}", "@@ nodes @@", "+gpu = test: nodes/gpu.xml", "@@ packages @@",
        "+gcc-c++ = installed", "@@ attributes @@", "-Kickstart_Lang = en_US.UTF-8", "+Kickstart_Lang = it_IT",
        "+has_gpu = yes",
    ]  # fmt: skip
    same = ("profile", "diff", "--root", "compute", "--root", "compute", "--roll", roll, "--attrs", left)
    assert avalanche(*same) == ""
    assert json.loads(avalanche(*same, "--json")) == []
    assert run("profile", "diff", "--root", "compute", "--roll", roll).status == 2
    assert run("profile", "diff", "one").status == 2


def test_two_hosts_are_compared_and_no_secret_is_told(state: State) -> None:
    for number in "01":
        avalanche("host", "add", f"compute-0-{number}")
        avalanche("attr", "set", "key", f"open-sesame-{number}", "--host", f"compute-0-{number}", "--secret")
    told = avalanche("profile", "diff", "compute-0-0", "compute-0-1")
    assert "-hostname = compute-0-0\n+hostname = compute-0-1\n" in told
    assert "-key = (secret)\n+key = (secret)\n" in told
    assert "sesame" not in told + avalanche("profile", "diff", "compute-0-0", "compute-0-1", "--json")


def test_a_host_of_the_database_is_as_good_as_a_root(state: State) -> None:
    avalanche("host", "add", "compute-0-0")
    assert avalanche("graph", "order", "compute-0-0") == "base\ncompute\n"
    assert avalanche("graph", "check", "compute-0-0") == ""
    (edge,) = json.loads(avalanche("graph", "why", "compute-0-0", "base", "--json"))["path"]
    assert (edge["source"], edge["target"], edge["line"]) == ("compute", "base", 2)
    assert avalanche("graph", "why", "compute-0-0", "--package", "alpha").startswith("alpha: asked for")
    assert avalanche("graph", "order", "compute-0-0", "--explain", "base", "compute").startswith("base takes effect")
    assert ">gpu</text>" in avalanche("graph", "draw", "compute-0-0")
    assert avalanche("graph", "check") == ""


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


def test_a_check_of_rolls_alone_looks_at_all_nodes(roll: Path) -> None:
    (roll / "nodes" / "lonely.xml").write_text("<kickstart>\n<nonsense>\n</kickstart>")
    result = run("graph", "check", "--roll", roll)
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert "nodes/lonely.xml:3: error: not well-formed" in result.err
    assert "lonely.xml: remark: no edge speaks of lonely" in result.out
    findings = json.loads(run("graph", "check", "--roll", roll, "--json").out)
    assert [sorted(finding) for finding in findings] == [["code", "file", "line", "message", "severity"]] * 2
    assert {finding["severity"]: finding["line"] for finding in findings} == {"error": 3, "remark": None}


def test_remarks_fail_a_strict_check_only(roll: Path) -> None:
    (roll / "nodes" / "lonely.xml").write_text("<kickstart/>")
    assert [run("graph", "check", "--roll", roll, *strict).status for strict in ((), ("--strict",))] == [0, 1]


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
        ("graph", "why", "--root", "x", "--roll", "y"),
        ("graph", "why", "host", "node", "--package", "x"),
        ("graph", "why", "host", "node", "--root", "x", "--roll", "y"),
        ("profile", "--root", "x", "--root", "y", "--roll", "z"),
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
