"""Roll folders become RollSets, and are read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avalanche.adapters.rolls import RollFolders, load_rolls
from avalanche.errors import ConfigError, GraphError


def make_roll(folder: Path, graph: str = "<graph/>", **nodes: str) -> Path:
    folder.joinpath("graphs", "default").mkdir(parents=True)
    folder.joinpath("nodes").mkdir()
    folder.joinpath("graphs", "default", "g.xml").write_text(graph)
    for name, body in nodes.items():
        folder.joinpath("nodes", f"{name}.xml").write_text(f"<kickstart>{body}</kickstart>")
    return folder


def test_a_folder_becomes_a_roll_that_is_named_by_its_graph_or_itself(tmp_path: Path) -> None:
    one = make_roll(tmp_path / "one", '<graph roll="site"><edge from="r" to="a"/></graph>', r="", a="")
    two = make_roll(tmp_path / "two", b="")
    rolls = load_rolls([one, two])
    assert [roll.name for roll in rolls.rolls] == ["site", "two"]
    assert rolls.names == ("a", "b", "r")
    assert rolls.graph.traverse("r", {}).nodes == ("a", "r")
    assert rolls.node("a")[0].file == f"{one}/nodes/a.xml"
    assert rolls.node("a")[0].path == "nodes/a.xml"


def test_all_graph_files_make_one_graph_and_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one", '<graph><edge from="r" to="a"/></graph>', r="", a="", b="")
    folder.joinpath("graphs/default/h.xml").write_text('<graph><edge from="a" to="b"/></graph>')
    folder.joinpath("graphs/default/.h.xml.swp").write_text("not XML")
    folder.joinpath("nodes/README").write_text("not XML")
    assert load_rolls([folder]).graph.traverse("r", {}).nodes == ("a", "b", "r")


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one", a="")
    before = load_rolls([folder]).fingerprint
    assert load_rolls([folder]).fingerprint == before
    folder.joinpath("nodes/a.xml").write_text("<kickstart><post>x</post></kickstart>")
    assert load_rolls([folder]).fingerprint != before


def test_the_same_object_is_answered_until_a_file_changes(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one", a="")
    folders = RollFolders([folder])
    first = folders.current()
    assert folders.current() is first
    node = folder / "nodes" / "a.xml"
    node.write_text("<kickstart><package>x</package></kickstart>")
    second = folders.current()
    assert second is not first
    assert len(second.node("a")[0].sections) == 1
    # As an editor does: another file of the same size under the same name.
    other = folder / "nodes" / ".new"
    other.write_text("<kickstart><package>y</package></kickstart>")
    os.utime(other, ns=(node.stat().st_atime_ns, node.stat().st_mtime_ns))
    other.replace(node)
    assert folders.current() is not second
    folder.joinpath("nodes", "b.xml").write_text("<kickstart/>")
    assert "b" in folders.current().names


def test_a_broken_edit_is_told_and_a_mended_one_is_taken(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one")
    folders = RollFolders([folder])
    graph = folder / "graphs" / "default" / "g.xml"
    folders.current()
    graph.write_text("<graph>\n<edge/></graph>")
    for _ in range(2):
        with pytest.raises(GraphError, match=r"g\.xml:2: <edge> needs"):
            folders.current()
    graph.write_text("<graph></graph>")
    assert folders.current().graph.edges == ()


def test_what_is_no_roll_folder_is_told_with_what_one_holds(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"graphs/default: No such file or directory; a roll folder holds graphs/default"
    ):
        load_rolls([tmp_path])
    with pytest.raises(ConfigError, match="No such file"):
        RollFolders([tmp_path]).current()


def test_two_rolls_of_one_name_are_refused(tmp_path: Path) -> None:
    one = make_roll(tmp_path / "one", '<graph roll="x"/>')
    two = make_roll(tmp_path / "two", '<graph roll="x"/>')
    with pytest.raises(ConfigError, match="two rolls are named 'x'"):
        load_rolls([one, two])


def test_a_file_that_no_edge_could_name_is_refused(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one")
    folder.joinpath("nodes", "a b.xml").write_text("<kickstart/>")
    with pytest.raises(GraphError, match="the file's name is no node name"):
        load_rolls([folder])
