"""The graph: selection by true paths, one total order, and errors that name the place."""

from __future__ import annotations

import pytest

from avalanche.errors import ConditionError, GraphError
from avalanche.graph import Graph, parse_graph, survey_graph

ATTRIBUTES = {"os": "linux", "arch": "x86_64", "release": "7.0", "flag": "yes", "noflag": "no"}


def graph(body: str, file: str = "g.xml") -> Graph:
    return parse_graph(f"<graph>{body}</graph>".encode(), file=file)


def nodes(body: str, root: str = "r") -> str:
    return " ".join(graph(body).traverse(root, ATTRIBUTES).nodes)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # rocks.md's table of micro cases, with the intended answers
        ('<edge from="r" to="b" cond="noflag"/><edge from="b" to="c"/>', "r"),
        ('<edge from="r" cond="noflag"><to>b</to></edge><edge from="b"><to>c</to></edge>', "r"),
        ('<edge from="r"><to>a</to><to>b</to></edge><edge from="a" to="b" cond="noflag"/>', "a b r"),
        ('<edge from="r"><to>b</to><to>z</to></edge><edge from="z" to="b" cond="noflag"/>', "b r z"),
        ('<edge from="r"><to cond="flag">b</to></edge>', "b r"),
        ('<edge from="r" cond="flag"><to cond="flag">b</to><to cond="noflag">c</to></edge>', "b r"),
        ('<edge from="r" arch="i386"><to cond="flag">b</to></edge>', "r"),
        ('<edge from="r"><to arch="i386, x86_64">b</to><to arch="i386">c</to></edge>', "b r"),
        ('<edge from="r" arch="i386" cond="noflag or flag"><to>b</to></edge>', "r"),
        ('<edge from="r"><to>\n b </to></edge>', "b r"),
        ('<edge from="r" to="b"/><edge from="b" to="r"/>', "b r"),
        ('<edge from="r" to="b"/><edge from="r" to="b" cond="noflag"/>', "b r"),
        ('<edge to="b"><from>r</from><from>x</from></edge>', "b r"),
        ('<edge from="r" to="a"><to>b</to></edge>', "a b r"),
        ("<description>any <b>text</b></description><changelog/><copyright/>", "r"),
        # order
        ('<edge from="r"><to>a</to><to>z</to></edge><order head="z" tail="m"/><order head="m" tail="a"/>', "z a r"),
        (
            '<edge from="r"><to>y</to><to>z</to><to>a</to><to>b</to></edge>'
            '<order head="z" tail="HEAD"/><order head="TAIL" tail="a"/><order head="HEAD"><tail>b</tail></order>',
            "z b r y a",
        ),
        ('<edge from="r"><to>a</to><to>b</to></edge><order head="b" tail="x"/>', "b a r"),
        ('<edge from="r"><to>a</to><to>b</to></edge><order tail="r"><head>b</head></order>', "b r a"),
        # transitive through the zone: w is before HEAD because z is
        ('<edge from="r"><to>w</to><to>z</to></edge><order head="z" tail="HEAD"/><order head="w" tail="z"/>', "w z r"),
        ('<edge from="r"><to>b</to><to>c</to></edge><order head="TAIL" tail="c"/><order head="c" tail="b"/>', "r c b"),
    ],
)
def test_the_nodes_and_their_order_are_the_intended_ones(body: str, expected: str) -> None:
    assert nodes(body) == expected


def test_the_path_to_a_node_is_a_shortest_one_of_true_edges() -> None:
    body = (
        '<edge from="r"><to>a</to>\n<to>b</to></edge>\n<edge from="a" to="c"/>\n'
        '<edge from="c" to="d"/><edge from="b" to="d"/>'
    )
    traversal = graph(body).traverse("r", ATTRIBUTES)
    assert [(str(edge), edge.line) for edge in traversal.path("d")] == [("r -> b", 2), ("b -> d", 4)]
    assert traversal.path("r") == ()


def test_a_cycle_of_order_pairs_is_printed_with_its_places() -> None:
    merged = Graph.merge(
        [
            graph('<order head="b" tail="c"/>\n<order head="x" tail="b"/>', "one.xml"),
            graph('\n\n<order tail="a"><head>c</head></order><order head="a" tail="b"/>', "two.xml"),
        ]
    )
    with pytest.raises(GraphError) as caught:
        merged.traverse("r", ATTRIBUTES)
    assert str(caught.value) == (
        "two.xml:3: the order of nodes is a cycle: a -> b (two.xml:3) -> c (one.xml:1) -> a (two.xml:3); "
        "remove one of these pairs"
    )


def test_a_cycle_through_the_marks_is_found() -> None:
    with pytest.raises(GraphError, match=r"cycle: HEAD -> TAIL \(by definition\) -> a \(g.xml:1\) -> HEAD \(g.xml:1\)"):
        nodes('<order head="a" tail="HEAD"/><order head="TAIL" tail="a"/>')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<edge to=""><from>a</from></edge>', "to names no node"),
        ("<edge><to>a</to></edge>", "needs from= and to="),
        ('<edge from="a"><from>b</from></edge>', "<from> cannot stand in this <edge>; it takes <to>"),
        ('<edge from="a"><tail>b</tail></edge>', "<tail> cannot stand"),
        ('<edge from="a"><to>b</to>stray</edge>', "holds elements only; move or remove the text 'stray'"),
        ('<edge from="a"><to>b<i/></to></edge>', "<i> cannot stand in <to>"),
        ('<edge from="a" to="../b"/>', "to '../b' is no node name"),
        ('<edge from="a" to="HEAD"/>', "HEAD is a mark for <order>"),
        ('<edge from="a"><to>&os;-b</to></edge>', "an attribute reference cannot name a node"),
        ('<edge from="&os;" to="b"/>', "&os; cannot stand in from= of <edge>"),
        ('<edge from="a" to="b" conds="x"/>', "<edge> has no attribute 'conds'; it takes from, to"),
        ('<order from="base"><tail>a</tail></order>', "<order> has no from=; write head="),
        ('<order head="base" to="a"/>', "<order> has no to=; write tail="),
        ('<order head="TAIL" tail="HEAD"/>', "TAIL cannot stand before HEAD"),
        ("<edge from='a'>\n<to cond='('>b</to></edge>", "2: condition"),
    ],
)
def test_a_wrong_graph_file_is_refused_with_its_line(body: str, message: str) -> None:
    with pytest.raises((GraphError, ConditionError)) as caught:
        graph(body)
    assert str(caught.value).startswith("g.xml:")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('\n<order head="a" tail="a"/>', "self-pair", "a is paired with itself"),
        ('\n<edge from="a"><to>a</to></edge>', "self-pair", "a is paired with itself"),
        ('\n<edge from="r" to="b" gen="kgen"/>', "gen-ignored", "gen= means nothing"),
        ('\n<order gen="other" head="b"><tail>c</tail></order>', "gen-ignored", "gen= means nothing"),
        ('<order head="b">\n<tail gen="other">c</tail></order>', "gen-ignored", "gen= means nothing"),
        ('\n<edge from="a"/>', "pair-ignored", "<edge> has no to"),
        ('\n<order tail="a"><!-- <head>b</head> --></order>', "pair-ignored", "<order> has no head"),
        ('\n<order head="a" tail="b" cond="x"/>', "attribute-unknown", "cond= of <order> means nothing"),
        ("\n<edges/>", "tag-unknown", "<edges> means nothing here"),
        ("\nstray", "text-passed-by", "the text 'stray' means nothing"),
    ],
)
def test_what_means_nothing_is_a_remark(body: str, code: str, message: str) -> None:
    (remark,) = graph(body).remarks
    assert (remark.file, remark.line, remark.code) == ("g.xml", 2, code)
    assert message in remark.message


def test_a_wrong_element_does_not_hide_the_rest() -> None:
    body = (
        '<order from="base"><tail>a</tail></order>\n<edge from="r"><to>../x</to>\n<to cond="(">y</to><to>b</to></edge>'
    )
    found = survey_graph(f"<graph>{body}</graph>".encode(), file="g.xml")
    assert [(fault.file, fault.line) for fault in found.faults] == [("g.xml", 1), ("g.xml", 2), ("g.xml", 3)]
    assert [str(edge) for edge in found.edges] == ["r -> b"]
    (fault,) = survey_graph(b"<graph>\n<edge>", file="g.xml").faults
    assert str(fault).startswith("g.xml:2: not well-formed")


def test_another_document_is_no_graph() -> None:
    with pytest.raises(GraphError, match=r"^g.xml:1: a graph file holds <graph>, not <kickstart>"):
        parse_graph(b"<kickstart/>", file="g.xml")
    with pytest.raises(GraphError, match=r"^g.xml:1: not well-formed"):
        parse_graph(b"<graph>", file="g.xml")


def test_the_roll_s_name_is_the_file_s_own_or_the_given_one() -> None:
    assert parse_graph(b'<graph roll="site"/>', file="g.xml", roll="x").roll == "site"
    assert parse_graph(b"<graph/>", file="g.xml", roll="x").roll == "x"


def test_what_a_root_may_reach_ignores_conditions_and_tells_who_decides() -> None:
    found = graph('<edge from="r" to="a" cond="x"/><edge from="a" to="b" arch="i386"/><edge from="q" to="c" cond="y"/>')
    assert found.reachable("r") == ({"r", "a", "b"}, {"x", "arch"})
