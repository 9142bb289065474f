"""graph order, profile and kickstart with --legacy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avalanche.adapters.state import State
from tests.frontend.rig import avalanche, make_roll, run

MICRO = Path(__file__).parent.parent / "micro"


def source(case: str) -> tuple[object, ...]:
    return ("--root", "r", "--roll", MICRO / case, "--attrs", MICRO / case / "attrs.json", "--no-eval", "--legacy")


def test_order_and_kickstart_are_the_originals() -> None:
    case = "edge_attr_cond_false_children_kept"
    assert avalanche("graph", "order", *source(case)) == "c\nr\n"
    assert json.loads(avalanche("graph", "order", *source(case), "--json")) == ["c", "r"]
    assert avalanche("kickstart", *source(case)) == (MICRO / case / "out.ks").read_text()


def test_the_profile_is_the_originals_document() -> None:
    text = avalanche("profile", *source("file_modes"))
    assert text.startswith('<?xml version="1.0" standalone="no"?>\n<!DOCTYPE rocks-graph [\n')
    assert '<post roll="unknown" file="./nodes/r.xml"><file name="/a" rcs="no"' in text


def test_where_the_original_stopped_one_line_says_so_after_the_nodes_it_could_read() -> None:
    result = run("graph", "order", *source("undefined_entity"))
    place = f"{MICRO}/undefined_entity/nodes/r.xml:3: "
    words = "the original compiler stops here: SAXParseException: undefined entity\n"
    assert (result.status, result.out, result.err) == (1, "r2\n", place + words)
    for command in ("kickstart", "profile"):
        result = run(command, *source("undefined_entity"))
        assert (result.status, result.out, result.err) == (1, "", place + words)


def test_later_rolls_override_file_by_file_and_one_may_have_no_graph(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "r.xml").write_text("<kickstart><package>other</package></kickstart>")
    text = avalanche("kickstart", *source("two_edges_true_first"), "--roll", tmp_path)
    assert "\nb\nother\nz\n%end" in text


def test_a_host_of_the_database_is_as_good_as_a_root(state: State) -> None:
    avalanche("host", "add", "compute-0-0")
    assert avalanche("graph", "order", "compute-0-0", "--legacy") == "base\ncompute\n"
    assert "\nalpha\n" in avalanche("kickstart", "compute-0-0", "--legacy")


def test_a_profile_shows_no_secret(state: State) -> None:
    avalanche("host", "add", "compute-0-0")
    avalanche("attr", "set", "--secret", "pass", "hunter2")
    assert "***" in avalanche("profile", "compute-0-0", "--legacy")
    assert "hunter2" not in avalanche("profile", "compute-0-0", "--legacy")


@pytest.mark.parametrize("verb", ["check", "why"])
def test_only_commands_that_have_an_original_take_it(verb: str, tmp_path: Path) -> None:
    assert run("graph", verb, "--root", "compute", "--roll", make_roll(tmp_path / "roll"), "--legacy", "x").status == 2


def test_a_folder_that_is_no_roll_is_one_line(tmp_path: Path) -> None:
    result = run("graph", "order", "--root", "x", "--roll", tmp_path, "--legacy")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "a roll folder holds them" in result.err
