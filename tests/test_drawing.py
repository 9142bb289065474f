"""The picture: well-formed, every node and condition in it, appliances at the top, a host's way in blue."""

from __future__ import annotations

import re

from lxml import etree

from avalanche.drawing import Drawing
from avalanche.graph import parse_graph
from avalanche.roll import Roll, RollSet, Source

GRAPH = """<graph>
<edge from="r"><to>a</to><to cond="x &lt; 5 and y == '&quot;'">b</to><to>c</to></edge>
<edge from="s" to="inner"/><edge from="inner" to="leaf"/><edge from="r" to="inner" cond="deep"/><edge from="a" to="s"/>
<edge from="s" to="r" cond="round"/>
<edge from="s" to="ghost"/>
<order head="a" tail="b"/><order head="c" tail="HEAD"/><order head="TAIL" tail="leaf"/><order head="c" tail="far"/>
</graph>"""


def rolls() -> RollSet:
    one = {name: Source(f"one/nodes/{name}.xml", b"<kickstart/>") for name in ("r", "s", "a", "b", "inner")}
    two = {name: Source(f"two/nodes/{name}.xml", b"<kickstart/>") for name in ("c", "leaf")}
    return RollSet(
        [
            Roll("one", parse_graph(GRAPH.encode(), file="g.xml"), one),
            Roll("two & co", parse_graph(b"<graph/>", file="h"), two),
        ]
    )


def texts(svg: str) -> list[str]:
    root = etree.fromstring(svg.encode())
    return [str(text) for text in root.xpath("//*[local-name()='text']/text()")]  # type: ignore[union-attr]


def test_every_node_roll_and_condition_is_in_the_picture() -> None:
    found = texts(Drawing(rolls()).to_svg())
    for node in ("r", "s", "a", "b", "c", "inner", "leaf", "ghost", "one", "two & co"):
        assert node in found
    assert "if x < 5 and y == '\"'" in found
    assert "if deep" in found


def test_a_host_s_way_is_strong_and_the_rest_pale() -> None:
    svg = Drawing(rolls(), rolls().graph.traverse("r", {"deep": "1"})).to_svg()
    root = etree.fromstring(svg.encode())
    pale = {str(group[0].text).split("\n")[0] for group in root.xpath("//*[@opacity='0.6']")}  # type: ignore[union-attr]
    assert pale == {"b"}
    strong = root.xpath("//*[@stroke='#1f4e9c' and @fill='none']/*[local-name()='title']/text()")
    assert any("r -> inner g.xml:3 if deep" in str(title) for title in strong)  # type: ignore[union-attr]


def test_order_pairs_and_zones_are_drawn_on_request() -> None:
    plain, full = Drawing(rolls()).to_svg(), Drawing(rolls(), orders=True).to_svg()
    assert "a before b" not in plain
    assert "a before b" in full
    assert {"c ▲", "leaf ▼"} <= set(texts(full))


def test_graphviz_gets_nodes_edges_and_conditions() -> None:
    dot = Drawing(rolls(), rolls().graph.traverse("r", {}), orders=True).to_dot()
    assert '  "r" -> "inner" [penwidth=1, style=dashed, label="deep"];' in dot
    assert '  "r" -> "a" [penwidth=2, color=black];' in dot
    assert r'label="x < 5 and y == ' + "'" + r"\"" + "'" + '"' in dot
    assert '"a" -> "b" [constraint=false' in dot
    assert dot.count("{") == dot.count("}")
    assert re.match(r"digraph \w+ \{", dot)


def test_an_empty_graph_is_a_picture_too() -> None:
    empty = Drawing(RollSet([]))
    assert etree.fromstring(empty.to_svg().encode()).tag.endswith("svg")
    assert empty.to_dot().endswith("}\n")


def test_equal_graphs_give_equal_pictures() -> None:
    assert Drawing(rolls()).to_svg() == Drawing(rolls()).to_svg()
