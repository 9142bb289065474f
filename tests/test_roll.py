"""Rolls over rolls: what later ones replace, extend and put aside."""

from __future__ import annotations

import pytest

from avalanche.errors import GraphError
from avalanche.graph import Edge, Graph, parse_graph
from avalanche.roll import Roll, RollSet, Source


def roll(name: str, *files: str, graph: Graph | None = None) -> Roll:
    sources = {
        file: Source(f"{name}/nodes/{file}.xml", f"<kickstart><package>{name}-{file}</package></kickstart>".encode())
        for file in files
    }
    return Roll(name, graph or Graph(), sources)


def contributions(rolls: RollSet, node: str) -> list[str]:
    return [f"{file.roll}/{file.path.removeprefix('nodes/').removesuffix('.xml')}" for file in rolls.node(node)]


@pytest.mark.parametrize(
    ("rolls", "expected"),
    [
        ([roll("a", "x")], ["a/x"]),
        ([roll("a", "x", "extend-x")], ["a/x", "a/extend-x"]),
        ([roll("a", "x", "extend-x", "replace-x")], ["a/replace-x"]),
        ([roll("a", "replace-x")], ["a/replace-x"]),
        ([roll("a", "x"), roll("b", "x")], ["b/x"]),
        ([roll("a", "x", "extend-x"), roll("b", "replace-x")], ["b/replace-x"]),
        ([roll("a", "x", "extend-x"), roll("b", "x")], ["b/x", "a/extend-x"]),
        ([roll("a", "extend-x"), roll("b", "x")], ["b/x", "a/extend-x"]),
        ([roll("a", "replace-x", "extend-x"), roll("b", "x")], ["b/x", "a/extend-x"]),
        ([roll("a", "x"), roll("b", "extend-x"), roll("c", "extend-x")], ["a/x", "b/extend-x", "c/extend-x"]),
        ([roll("a", "x"), roll("b", "replace-x"), roll("c", "extend-x")], ["b/replace-x", "c/extend-x"]),
        ([roll("a", "x"), roll("b", "extend-x"), roll("c", "replace-x")], ["c/replace-x"]),
    ],
)
def test_later_rolls_lie_on_top(rolls: list[Roll], expected: list[str]) -> None:
    assert contributions(RollSet(rolls), "x") == expected


def test_what_is_put_aside_is_known_with_what_hides_it() -> None:
    rolls = RollSet([roll("a", "x", "extend-x"), roll("b", "x", "replace-x"), roll("c", "extend-x")])
    told = [(hidden.source.file, hidden.by.file) for hidden in rolls.hidden]
    by = "b/nodes/replace-x.xml"
    assert told == [("a/nodes/x.xml", by), ("b/nodes/x.xml", by), ("a/nodes/extend-x.xml", by)]
    assert contributions(rolls, "x") == ["b/replace-x", "c/extend-x"]


def test_every_file_of_a_node_has_a_name_of_its_own() -> None:
    rolls = RollSet([roll("a", "x"), roll("b", "extend-x"), roll("c", "extend-x")])
    assert [file.name for file in rolls.node("x")] == ["x", "extend-x@b", "extend-x@c"]
    assert rolls.names == ("x",)


def test_an_unknown_node_is_told_with_the_edge_that_asks_for_it() -> None:
    rolls = RollSet([roll("a", "r"), roll("b")])
    with pytest.raises(GraphError) as caught:
        rolls.node("x", included_by=Edge("r", "x", file="b/graphs/default/b.xml", line=4))
    assert str(caught.value) == (
        "b/graphs/default/b.xml:4: r includes the unknown node 'x': none of the rolls a, b has nodes/x.xml"
    )
    with pytest.raises(GraphError, match=r"^unknown root node 'q': none of the rolls"):
        rolls.node("q")


def test_a_node_that_is_only_extended_is_unknown_and_the_extension_named() -> None:
    with pytest.raises(GraphError, match=r"which a/nodes/extend-x\.xml extends"):
        RollSet([roll("a", "extend-x")]).node("x")


def test_what_is_mentioned_covers_edges_and_node_files_within_reach() -> None:
    graph = parse_graph(
        b'<graph><edge from="r" to="x" cond="p"/><edge from="r" to="gone" cond="never"/></graph>', file="g"
    )
    nodes = {
        "r": Source("nodes/r.xml", b"<kickstart/>"),
        "x": Source("nodes/x.xml", b"<kickstart><package cond='q'>&s;</package><post>&no;</post></kickstart>"),
        "y": Source("nodes/y.xml", b"<kickstart><package cond='far'>z</package></kickstart>"),
    }
    assert RollSet([Roll("a", graph, nodes)]).mentioned("r") == {"p", "never", "q", "s"}


def test_what_is_weighed_are_the_mentioned_names_whose_values_decide() -> None:
    graph = parse_graph(b'<graph><edge from="r" to="x" cond="p is not None and q"/></graph>', file="g")
    nodes = {
        "r": Source("nodes/r.xml", b"<kickstart><post cond='here is None'><file name='/&in;'/></post></kickstart>"),
        "x": Source("nodes/x.xml", b"<kickstart><post><file name='/a' cond='s is None' arch='x'/></post></kickstart>"),
    }
    rolls = RollSet([Roll("a", graph, nodes)])
    assert rolls.mentioned("r") == {"p", "q", "here", "in", "s", "arch"}
    assert rolls.weighed("r") == {"q", "in", "arch"}


def test_what_an_eval_may_ask_is_weighed() -> None:
    node = b"<kickstart><post cond='a is None'>x</post><eval>&b;</eval></kickstart>"
    rolls = RollSet([Roll("a", Graph(), {"r": Source("nodes/r.xml", node)})])
    assert rolls.mentioned("r") == rolls.weighed("r") == {"a", "b"}
