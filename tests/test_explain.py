"""Why, and why not: paths with conditions and values, and who asks for a package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.attributes import Attribute, Attributes
from avalanche.effects import Evaluation, Untrusted
from avalanche.errors import GraphError
from avalanche.explain import SECRET, Explainer
from avalanche.graph import Graph, parse_graph
from avalanche.roll import Roll, RollSet, Source

GRAPH = """<graph>
<edge from="r"><to>a</to><to cond="gpu">g</to></edge>
<edge from="a" to="c" cond="rack >= 2"/>
<edge from="g" to="c"/>
<edge from="g" to="d" cond="deep"/>
<edge from="a" to="d" cond="deep and token == 'x'"/>
<edge from="other" to="far"/>
<edge from="far" to="further"/>
</graph>"""
NODES = {
    "r": "<package>vim</package><package disable='1'>nano</package>",
    "a": "<package>vim\nemacs</package><package cond='rack > 9'>rare</package>",
    "g": "<package>cuda</package>",
    "c": "<package disable='1'>vim</package><package type='meta'>Development Tools</package>",
    "d": "<package>perl-*</package>",
    "far": "<package>distant</package>",
    "lonely": "",
    "extend-a": "<package>&flavour;</package>",
}


def explainer(**values: str) -> Explainer:
    sources = {
        name: Source(f"one/nodes/{name}.xml", f"<kickstart>{body}</kickstart>".encode()) for name, body in NODES.items()
    }
    rolls = RollSet([Roll("one", parse_graph(GRAPH.encode(), file="g.xml"), sources)])
    attributes = [Attribute(name, value, "host", secret=name == "token") for name, value in values.items()]
    return Explainer(rolls, "r", Attributes(attributes))


def test_the_path_tells_edges_conditions_and_values() -> None:
    answer = explainer(rack="3").node("c")
    assert answer.selected
    assert [str(step) for step in answer.path] == ["r -> a  g.xml:2", "a -> c  g.xml:3  if rack >= 2  (rack=3)"]
    assert answer.files == ("one/nodes/c.xml",)
    assert explainer().node("a").files == ("one/nodes/a.xml", "one/nodes/extend-a.xml")


def test_other_ways_that_are_open_are_told_too() -> None:
    answer = explainer(rack="3", gpu="yes").node("c")
    assert [str(step.edge) for step in answer.path] == ["r -> a", "a -> c"]
    assert [str(step.edge) for step in answer.others] == ["g -> c"]


def test_every_way_that_is_closed_is_told_with_the_values_that_close_it() -> None:
    answer = explainer(rack="1").node("c")
    assert not answer.selected
    assert [[str(step) for step in path if not step.decision.holds] for path in answer.obstacles] == [
        ["a -> c  g.xml:3  needs rack >= 2  (rack=1)"],
        ["r -> g  g.xml:2  needs gpu  (gpu has no value)"],
    ]


def test_the_nearest_way_comes_first() -> None:
    answer = explainer(token="y").node("d")
    closed = [sum(not step.decision.holds for step in path) for path in answer.obstacles]
    assert closed == [1, 2]


def test_a_secret_s_value_is_never_told() -> None:
    answer = explainer(token="open sesame").node("d")
    assert "open sesame" not in repr(answer)
    assert ("token", SECRET) in answer.obstacles[0][-1].decision.values


def test_a_node_out_of_reach_is_told_with_where_the_way_begins() -> None:
    answer = explainer().node("further")
    assert (answer.selected, answer.obstacles, answer.roots) == (False, (), ("other",))
    answer = explainer().node("lonely")
    assert (answer.obstacles, answer.roots, answer.files) == ((), (), ("one/nodes/lonely.xml",))


def test_an_unknown_node_is_told_with_the_closest() -> None:
    with pytest.raises(GraphError, match="no roll has a node 'lonley'; closest: lonely"):
        explainer().node("lonley")
    with pytest.raises(GraphError, match="no roll has a node 'lonley'"):
        explainer().order("a", "lonley")
    with pytest.raises(GraphError, match="are one node"):
        explainer().order("a", "a")


def test_the_root_selects_itself() -> None:
    answer = explainer().node("r")
    assert (answer.selected, answer.path) == (True, ())


@pytest.mark.parametrize(
    ("package", "values", "verdict", "counting"),
    [
        ("vim", {}, "asked for", ["a:1 asks", "r:1 asks"]),
        ("vim", {"rack": "5"}, "asked for", ["a:1 asks", "c:1 keeps out", "r:1 asks"]),
        ("nano", {}, "kept out", ["r:1 keeps out"]),
        ("emacs", {}, "asked for", ["a:1 asks"]),
        ("rare", {"rack": "3"}, "not asked for", []),
        ("rare", {"rack": "10"}, "asked for", ["a:2 asks"]),
        ("distant", {}, "not asked for", []),
        ("cuda", {}, "not asked for", []),
        ("cuda", {"gpu": "1"}, "asked for", ["g:1 asks"]),
        ("@development tools", {"rack": "5"}, "asked for", ["c:1 asks"]),
        ("Development Tools", {}, "not asked for", []),
        ("perl-libs", {"gpu": "1", "deep": "1"}, "asked for", ["d:1 asks"]),
        ("mint", {"flavour": "mint"}, "asked for", ["a:1 asks"]),
        ("nothing", {}, "not asked for", []),
    ],
)
def test_who_asks_for_a_package(package: str, values: dict[str, str], verdict: str, counting: list[str]) -> None:
    answer = explainer(**values).package(package)
    found = [
        f"{mention.node}:{mention.line} {'keeps out' if mention.disable else 'asks'}"
        for mention in answer.mentions
        if mention.counts
    ]
    assert (answer.verdict, found) == (verdict, counting)
    if package in ("rare", "distant", "cuda"):
        assert answer.mentions


def test_a_node_file_that_cannot_be_read_does_not_hide_the_answer() -> None:
    found = explainer()
    found.rolls.rolls[0].nodes["lonely"] = Source("one/nodes/lonely.xml", b"<kickstart>")  # type: ignore[index]
    answer = found.package("vim")
    assert (answer.verdict, len(answer.unreadable)) == ("asked for", 1)


class Frontend(Untrusted):
    """A frontend whose programs all ask for one package."""

    def evaluate(self, evaluation: Evaluation) -> str:
        return "<package>from-eval</package>"


def test_an_eval_may_ask_for_a_package() -> None:
    body = b'<kickstart><package>vim</package><eval mode="xml">a program</eval></kickstart>'
    sources = {"r": Source("one/nodes/r.xml", body)}
    rolls = RollSet([Roll("one", Graph(), sources)])
    trusting = Explainer(rolls, "r", Attributes(), effects=Frontend())
    assert trusting.package("from-eval").verdict == "asked for"
    cautious = Explainer(rolls, "r", Attributes()).package("vim")
    assert (cautious.verdict, len(cautious.unreadable)) == ("asked for", 1)


letters = st.sampled_from("rabcdefg")
conditions = st.sampled_from(["", "yes", "no", "not no", "n == 3", "unset"])
graphs = st.lists(st.tuples(letters, letters, conditions).filter(lambda edge: edge[0] != edge[1]), max_size=16)
VALUES = {"yes": "true", "no": "false", "n": "3"}


@given(graphs, letters)
def test_an_answer_agrees_with_the_traversal(edges: list[tuple[str, str, str]], node: str) -> None:
    body = "".join(f'<edge from="{a}" to="{b}" cond="{when}"/>' for a, b, when in edges)
    graph = parse_graph(f"<graph>{body}</graph>".encode(), file="g.xml")
    sources = {name: Source(f"nodes/{name}.xml", b"<kickstart/>") for name in "rabcdefg"}
    found = Explainer(RollSet([Roll("one", graph, sources)]), "r", Attributes.of(VALUES))
    answer = found.node(node)
    assert answer.selected == (node in graph.traverse("r", VALUES).nodes)
    reachable = graph.reachable("r")[0]
    assert bool(answer.obstacles) == (not answer.selected and node in reachable)
    for path in (answer.path, *answer.obstacles):
        if path:
            assert (path[0].edge.source, path[-1].edge.target) == ("r", node)
            assert all(left.edge.target == right.edge.source for left, right in zip(path, path[1:], strict=False))
    assert all(step.decision.holds for step in (*answer.path, *answer.others))
    assert all(any(not step.decision.holds for step in path) for path in answer.obstacles)
