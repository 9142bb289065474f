"""Roll folders become RollSets, and are read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avalanche.adapters.rolls import RollFolders, load_rolls, survey_rolls
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


def test_a_roll_whose_name_is_taken_is_known_by_its_folder(tmp_path: Path) -> None:
    folders = [make_roll(tmp_path / name, '<graph roll="base"/>') for name in ("one", "two", "a/7.0", "b/7.0")]
    assert [roll.name for roll in load_rolls(folders).rolls] == ["base", "two", "7.0", "b-7.0"]
    with pytest.raises(ConfigError, match="two rolls are named 'base'"):
        load_rolls([folders[0]] * 4)


def test_a_roll_may_have_node_files_only_or_graphs_only(tmp_path: Path) -> None:
    one, two = make_roll(tmp_path / "one", r=""), make_roll(tmp_path / "two", '<graph><edge from="r" to="x"/></graph>')
    one.joinpath("graphs/default/g.xml").unlink()
    one.joinpath("graphs/default").rmdir()
    two.joinpath("nodes").rmdir()
    rolls = load_rolls([one, two])
    assert (rolls.names, rolls.graph.nodes) == (("r",), {"r", "x"})
    folders = RollFolders([one, two])
    before = folders.current()
    two.joinpath("nodes").mkdir()
    two.joinpath("nodes/x.xml").write_text("<kickstart/>")
    assert before is not folders.current()
    assert folders.current().names == ("r", "x")


def test_the_site_s_node_files_beside_a_roll_s_own_fill_and_override_it(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one", r="", a="")
    site = folder / "site-nodes"
    site.mkdir()
    for name in ("replace-a", "extend-r", "b", "r"):
        site.joinpath(f"{name}.xml").write_text("<kickstart/>")
    rolls = load_rolls([folder])
    assert [file.path for name in rolls.names for file in rolls.node(name)] == [
        "site-nodes/replace-a.xml", "site-nodes/b.xml", "nodes/r.xml", "site-nodes/extend-r.xml",
    ]  # fmt: skip
    (remark,) = rolls.rolls[0].remarks
    assert remark.file.endswith("site-nodes/r.xml")
    assert "call it replace-r.xml" in remark.message


def test_a_survey_reads_on_after_what_is_wrong(tmp_path: Path) -> None:
    one = make_roll(tmp_path / "one", '<graph><edge from="a b" to="c"/><edge from="r" to="x"/></graph>', r="")
    one.joinpath("graphs/default/h.xml").write_text("<graph>")
    one.joinpath("nodes/a b.xml").write_text("")
    one.joinpath("nodes/dir.xml").mkdir()
    pallet = tmp_path / "pallet"
    pallet.joinpath("graph").mkdir(parents=True)
    rolls, faults = survey_rolls([one, tmp_path / "nowhere", pallet])
    assert [str(edge) for edge in rolls.graph.edges] == ["r -> x"]
    assert len(faults) == 6
    assert sum("pallet of Stacki" in str(fault) for fault in faults) == 1
    assert all("\n" not in str(fault) for fault in faults)


def test_the_folder_above_a_roll_is_answered_with_the_roll(tmp_path: Path) -> None:
    make_roll(tmp_path / "site-profiles" / "7.0")
    with pytest.raises(ConfigError, match=r"did you mean .*site-profiles/7\.0\?"):
        load_rolls([tmp_path / "site-profiles"])


def test_a_file_that_no_edge_could_name_is_refused(tmp_path: Path) -> None:
    folder = make_roll(tmp_path / "one")
    folder.joinpath("nodes", "a b.xml").write_text("<kickstart/>")
    with pytest.raises(GraphError, match="the file's name is no node name"):
        load_rolls([folder])
