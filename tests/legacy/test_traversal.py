"""Selection and order as the original had them, beyond the questions of tests/micro."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import DefinitionError
from avalanche.legacy.compiler import compile_legacy
from avalanche.legacy.text import Stopped
from avalanche.legacy.tree import File, Tree
from tests.legacy.world import ATTRIBUTES, ask, nodes, tree

ALL = '<edge from="r"><to>a</to><to>b</to><to>c</to></edge>'
ZONES = '<order head="HEAD" tail="TAIL"/>'


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ('<edge from="r" arch="i386"><to cond="flag">b</to></edge><edge from="r" to="a"/>', "a r"),
        ('<edge from="r" to="b" gen="other"/>', "b r"),
        ('<edge to="b"><from>r</from></edge><edge from="r"><to/></edge>', None),
        (ALL, "a b c r"),
        (ALL + '<order head="b" tail="a"/>', "b a c r"),
        (ALL + '<order head="HEAD" tail="c"/>', "c a b r"),
        (ALL + '<order head="TAIL" tail="a"/>', "b c r a"),
        (
            ALL + ZONES + '<order head="c"><tail>HEAD</tail><tail>a</tail></order><order head="r" tail="HEAD"/>',
            "c r a b",
        ),
        (ALL + '<order head="b" gen="kgen"><tail>a</tail></order>', "b a c r"),
        (ALL + '<order head="b"><tail gen="other">a</tail></order>', "b c r"),
        (ALL + '<order from="a"><tail>b</tail></order>', "b a c r"),
        (ALL + '<order head="x" tail="y"/>', "a b c r"),
        (ALL + ZONES + '<order head="a" tail="b"/><order head="b" tail="a"/><order head="x" tail="a"/>', "c r a b"),
        ('<edge from="a" to="b"/><edge from="b" to="r"/><edge from="r" to="b"/>', "b r"),
        ('<edge from="r" to="a" cond="noflag"/><edge from="a" to="b"/><edge from="r" to="a"/>', "b r"),
        ('<edge from="r" to="a"><to>b</to></edge>', "b r"),
        ("<description>no <to>edge</to> yet</description>" + ALL, None),
    ],
)
def test_the_original_selects_and_orders(graph: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(DefinitionError, match="stops here"):
            nodes(graph)
    else:
        assert nodes(graph) == expected.split()


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ('<edge from="r" to="r"/>', "KeyError: r"),
        (ALL + ZONES + '<order head="a" tail="a"/>', "KeyError: a"),
        (ALL + '<order head="x" tail="a"/><order head="a" tail="b"/><order head="b" tail="a"/>', None),
        ('<edge from="a" to="b"/>', "error - node r in not in graph"),
        ("<to>b</to>" + ALL, "AttributeError"),
        ("<tail>b</tail>" + ALL, "AttributeError"),
        ('<edge from="&os;-base" to="r"/>', "SAXParseException: undefined entity"),
        ('<edge from="r" to="a">', "SAXParseException: mismatched tag"),
        ('<edge from="r" to="a" cond="len(os)"/>', "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_where_the_original_stopped_a_line_says_so(graph: str, words: str | None) -> None:
    if words is None:  # no HEAD, and a way into a circle that none leads out of
        words = "AttributeError: 'NoneType' object has no attribute 'setOutDegree'"
    with pytest.raises(Stopped) as raised:
        nodes(graph)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("graphs/g.xml:") or "not in graph" in words


def test_a_pair_of_a_known_name_with_itself_did_no_harm() -> None:
    assert nodes(ALL + ZONES + '<order head="a" tail="b"/><order head="b" tail="b"/>') == ["a", "b", "c", "r"]


def test_a_node_can_be_lost_to_a_false_edge_of_another_roll() -> None:
    lost = {"a.xml": '<edge from="r"><to>a</to><to>b</to></edge>', "b.xml": '<edge from="a" to="b" cond="noflag"/>'}
    assert nodes(lost) == ["a", "r"]
    kept = {"b.xml": lost["a.xml"].replace("<to>a</to><to>b</to>", "<to>b</to><to>a</to>"), "c.xml": lost["b.xml"]}
    assert nodes(kept) == ["a", "b", "r"]


def test_a_missing_node_is_reported_at_its_edge() -> None:
    profile = ask('<edge from="r">\n<to>a</to>\n<to>nofile</to></edge>')
    assert profile.nodes == ("a", "r")
    with pytest.raises(Stopped, match=r"^graphs/g.xml:4: .*KickstartNodeError: cannot find node \"nofile\"$"):
        profile.check()


def test_a_document_type_of_a_graph_file_is_not_read() -> None:
    bomb = '<!DOCTYPE graph [<!ENTITY a "aaaa">]><graph><edge from="r" to="a"/></graph>'
    found = Tree({"g.xml": File("./g.xml", "g.xml", bomb.encode())}, {})
    with pytest.raises(DefinitionError, match=r"^g.xml:1: a document type"):
        compile_legacy(found, "r", ATTRIBUTES)


def test_many_pairs_take_no_long_time() -> None:
    chain = "".join(f'<order head="n{number}" tail="n{number + 1}"/>' for number in range(15_000))
    assert nodes(ALL + chain + '<order head="n15000" tail="n0"/><order head="HEAD"><tail>n7</tail></order>') == [
        "a",
        "b",
        "c",
        "r",
    ]


NAMES = st.sampled_from(["r", "a", "b", "c", "d", "e", "HEAD", "TAIL"])
PAIRS = st.lists(st.tuples(NAMES, NAMES).filter(lambda pair: pair[0] < pair[1]), max_size=12)
EDGES = st.lists(st.tuples(NAMES, NAMES).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=12)


def written(edges: list[tuple[str, str]], pairs: list[tuple[str, str]]) -> str:
    lines = [f'<edge from="{source}" to="{target}"/>' for source, target in edges if "E" not in source + target]
    return "".join([*lines, '<edge from="r" to="a"/>', *(f'<order head="{x}" tail="{y}"/>' for x, y in pairs)])


@given(EDGES, PAIRS, st.randoms())
def test_every_pair_is_respected_and_the_order_of_lines_does_not_matter(
    edges: list[tuple[str, str]], pairs: list[tuple[str, str]], chance: random.Random
) -> None:
    found = nodes(written(edges, pairs))
    after = {name: {name} for name in "abcder"} | {"HEAD": {"HEAD"}, "TAIL": {"TAIL"}}
    for _ in range(8):
        for head, tail in pairs:
            after[head] |= after[tail]
    for first, second in itertools.combinations(found, 2):
        assert first not in after[second], (found, pairs)
    free = [name for name in found if not any(name in pair for pair in pairs)]
    assert free == sorted(free)
    if free:
        assert found[found.index(free[0]) :][: len(free)] == free
    chance.shuffle(edges)
    chance.shuffle(pairs)
    assert nodes(written(edges, pairs)) == found


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_compile_or_are_refused_in_one_line_with_a_place(graph: bytes, node: bytes) -> None:
    good = tree('<edge from="r" to="a"/>', r="<post>&hostname;</post>", a="")
    for graphs, files in (
        ({"g.xml": File("./g.xml", "g.xml", graph)}, good.nodes),
        (good.graphs, {**good.nodes, "r.xml": File("./r.xml", "r.xml", node)}),
    ):
        try:
            profile = compile_legacy(Tree(graphs, files), "r", ATTRIBUTES)
            profile.check()
            profile.kickstart()
        except DefinitionError as error:
            assert "\n" not in str(error)
            assert error.file in ("g.xml", "r.xml") or "not in graph" in str(error)
