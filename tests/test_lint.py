"""Check: everything at once, each thing once, in its place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from avalanche.adapters.rolls import survey_rolls
from avalanche.attributes import Attribute, Attributes
from avalanche.lint import ERROR, Finding, check

GOOD = {"r": "", "a": "<package>vim</package>", "b": "<post>echo &hostname;</post>"}
GRAPH = '<edge from="r"><to>a</to><to>b</to></edge>'


def write(folder: Path, graph: str = GRAPH, **nodes: str) -> Path:
    folder.joinpath("graphs/default").mkdir(parents=True)
    folder.joinpath("nodes").mkdir()
    folder.joinpath("graphs/default/g.xml").write_text(f"<graph>\n{graph}\n</graph>")
    for name, body in (nodes or GOOD).items():
        folder.joinpath("nodes", f"{name}.xml").write_text(f"<kickstart>\n{body}\n</kickstart>")
    return folder


def findings(*rolls: Path, root: str | None = None, **values: str) -> tuple[Finding, ...]:
    found, faults = survey_rolls(rolls)
    attributes = Attributes.of({"hostname": "h", **values}) if root else None
    return check(found, faults, root=root, attributes=attributes)


def told(*rolls: Path, root: str | None = None, **values: str) -> list[str]:
    return [
        f"{Path(found.file).name}:{found.line} {found.severity} {found.code}"
        for found in findings(*rolls, root=root, **values)
    ]


def test_a_right_roll_has_no_findings(tmp_path: Path) -> None:
    roll = write(tmp_path / "one")
    assert told(roll) == told(roll, root="r") == []


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ('<edge from="r" to="ghost"/>', "g.xml:2 error edge-unknown-node"),
        ('<edge from="ghost" to="a"/>', "g.xml:2 remark edge-from-unknown-node"),
        ('<order head="a" tail="ghost"/>', "g.xml:2 remark order-unknown-node"),
        ('<order head="a" tail="b"/><order head="b" tail="a"/>', "g.xml:2 error order-cycle"),
        ('<edge from="r" to="a"/>', "g.xml:3 remark edge-repeated"),
        ('<edge from="r"><to cond="hostname">a</to></edge>', "g.xml:2 remark edge-redundant"),
        ('<edge from="r" to="a" cond="("/>', "g.xml:2 error condition"),
        ('<order from="a"><tail>b</tail></order>', "g.xml:2 error graph"),
        ('<order head="a" tail="a"/>', "g.xml:2 remark self-pair"),
        ('<edge from="b" to="a" gen="kgen"/>', "g.xml:2 remark gen-ignored"),
        ("<egde/>", "g.xml:2 remark tag-unknown"),
        ('<edge from="b"><to release="7.0">a</to></edge>', "g.xml:2 remark cond-quoted"),
        ('<edge from="b" to="a" cond="hostname"/>', "g.xml:2 remark edge-pair-condition"),
        ('<edge from="b"><to cond="hostnmae">a</to></edge>', "g.xml:2 remark attribute-unset"),
    ],
)
def test_what_is_wrong_in_a_graph_is_told_with_its_place(tmp_path: Path, graph: str, expected: str) -> None:
    roll = write(tmp_path / "one", f"{graph}\n{GRAPH}", **GOOD)
    assert told(roll) == [expected]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"c": ""}, "c.xml:0 remark node-unused"),
        ({"extend-nix": ""}, "extend-nix.xml:0 remark extension-without-node"),
        ({"a": "<main><frobnicate/></main>"}, "a.xml:2 error node-file"),
        ({"a": "<package cond='a and'>x</package>"}, "a.xml:2 error condition"),
        ({"b": "<package disable='1'>vim</package>"}, "b.xml:2 remark package-contradiction"),
        ({"a": "<post cond=\"num == '5' or num is None\">x</post>"}, "a.xml:2 remark cond-quoted"),
        ({"a": "<post>&hostnam;</post>"}, "a.xml:2 remark attribute-misspelt"),
        ({"replace-a": "", "extend-a": ""}, "extend-a.xml:0 remark extension-hidden"),
    ],
)
def test_what_is_wrong_in_a_node_file_is_told_with_its_place(
    tmp_path: Path, nodes: dict[str, str], expected: str
) -> None:
    assert told(write(tmp_path / "one", **{**GOOD, **nodes})) == [expected]


def test_everything_is_told_at_once_and_nothing_hides_another(tmp_path: Path) -> None:
    roll = write(
        tmp_path / "one",
        '<edge from="r"><to>a</to><to>ghost</to></edge>\n<order from="a"/>\n<order head="a" tail="b"/>\n'
        '<order head="b" tail="a"/>',
        **{**GOOD, "a": "<main><frobnicate/></main>", "b": "<post>", "c": "<post cond='x y'/>"},
    )
    roll.joinpath("graphs/default/h.xml").write_text("<graph>")
    codes = sorted(found.code for found in findings(roll) if found.severity == ERROR)
    assert codes == ["condition", "edge-unknown-node", "graph", "graph", "node-file", "node-file", "order-cycle"]


def test_with_a_root_only_what_it_may_select_is_looked_at(tmp_path: Path) -> None:
    roll = write(tmp_path / "one", f'{GRAPH}\n<edge from="q" to="ghost"/>', **GOOD, q="<main><frobnicate/></main>")
    assert told(roll, root="r") == []
    assert told(roll) == ["g.xml:3 error edge-unknown-node", "q.xml:2 error node-file"]
    (found,) = findings(roll, root="rr")
    assert (found.severity, found.code) == ("error", "root-unknown")


def test_a_reference_without_a_value_is_an_error_where_it_counts(tmp_path: Path) -> None:
    nodes = {**GOOD, "a": "<post>&hostnme;\n&colour;</post><post cond='colour'>&never;</post>"}
    roll = write(tmp_path / "one", **nodes)
    found = [str(finding).partition("/nodes/")[2] for finding in findings(roll, root="r")]
    assert found[:2] == [
        "a.xml:2: error: &hostnme; has no value; closest: hostname; set it, or remove the reference"
        " [attribute-undefined]",
        "a.xml:3: error: &colour; has no value; set it, or remove the reference [attribute-undefined]",
    ]
    assert [line for line in told(roll, root="r", hostnme="x", colour="no") if "error" in line] == []


def test_two_rolls_with_one_node_are_told_unless_one_says_replace(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two", "", a="")
    (found,) = findings(one, two)
    assert (found.code, Path(found.file).parent.parent.name) == ("node-collision", "one")
    assert f"hidden by {two}/nodes/a.xml" in found.message
    two.joinpath("nodes/a.xml").rename(two / "nodes/replace-a.xml")
    assert findings(one, two) == ()


def test_a_name_that_a_roll_sets_or_tells_about_is_no_finding(tmp_path: Path) -> None:
    graph = f'{GRAPH}<edge from="b"><to cond="flag">a</to></edge>'
    assert told(write(tmp_path / "one", graph, **GOOD)) == ["g.xml:2 remark attribute-unset"]
    for number, body in enumerate(
        ("<description>The attribute flag.</description>", "<post>rocks add attr flag yes</post>")
    ):
        assert told(write(tmp_path / f"roll{number}", graph, **{**GOOD, "a": body})) == []
    assert told(write(tmp_path / "two", f"<description>flag</description>{graph}", **GOOD)) == []


def test_findings_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    bodies = {f"n{number}": random.Random(number).choice(["<x/>", "", "<post cond='q'/>"]) for number in range(12)}
    edges = [f'<edge from="n0" to="n{number}"/>' for number in range(14)]
    seen = set()
    for turn in range(4):
        order = random.Random(turn)
        shuffled = dict(order.sample(sorted(bodies.items()), len(bodies)))
        roll = write(tmp_path / f"{turn}" / "roll", "\n".join(edges), **shuffled)
        lines = [str(found).replace(str(roll), "") for found in findings(roll)]
        seen.add(tuple(lines))
    assert len(seen) == 1


def test_what_cannot_be_read_is_one_finding_each(tmp_path: Path) -> None:
    roll = write(tmp_path / "one")
    assert told(tmp_path / "nowhere", roll) == [":0 error roll"]


def test_no_finding_holds_a_secret_s_value(tmp_path: Path) -> None:
    roll = write(tmp_path / "one", '<edge from="r"><to cond="token == 5">a</to></edge>', r="", a="<post>&tokne;</post>")
    found, faults = survey_rolls([roll])
    codes = []
    for secret in (False, True):
        findings = check(found, faults, root="r", attributes=Attributes([Attribute("token", "sesame", secret=secret)]))
        codes.append([finding.code for finding in findings])
        assert ("sesame" in str([str(finding) for finding in findings])) is not secret
    assert codes == [["cond-word"], []]
