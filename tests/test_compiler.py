"""Stage 1: from rolls and attributes to a profile, or an error that names file and line."""

from __future__ import annotations

import pytest

from avalanche.attributes import Attribute, Attributes
from avalanche.compiler import compile_profile
from avalanche.document import Reference, Text
from avalanche.errors import AvalancheError, GraphError, NodeFileError, UndefinedAttribute
from avalanche.graph import parse_graph
from avalanche.profile import Profile
from avalanche.roll import Roll, RollSet, Source
from avalanche.sections import Fragment

ATTRIBUTES = Attributes.of({"hostname": "compute-0-0", "arch": "x86_64", "flag": "yes", "noflag": "no", "kind": "el9"})


def rolls(graph: str = "", **nodes: str) -> RollSet:
    sources = {
        name: Source(f"site/nodes/{name}.xml", f"<kickstart>{body}</kickstart>".encode())
        for name, body in nodes.items()
    }
    return RollSet(
        [Roll("site", parse_graph(f"<graph>{graph}</graph>".encode(), file="site/graphs/default/g.xml"), sources)]
    )


def compiled(body: str, attributes: Attributes = ATTRIBUTES) -> Profile:
    return compile_profile(rolls(r=body), "r", attributes)


def requested(profile: Profile) -> list[str]:
    return [("@" if package.meta else "") + package.name for package in profile.requested]


def test_sections_follow_the_order_of_nodes() -> None:
    found = compile_profile(
        rolls(
            '<edge from="r"><to>a</to><to>b</to></edge><order head="b" tail="a"/>',
            r="<main><skipx/></main><post>r</post>",
            a="<main><lang>C</lang></main><post>a</post>",
            b="<main><text/></main><pre>b</pre>",
        ),
        "r",
        ATTRIBUTES,
    )
    assert [node.name for node in found.nodes] == ["b", "a", "r"]
    assert [command.command for command in found.commands] == ["text", "lang", "skipx"]
    assert [script.node for script in found.post] == ["a", "r"]
    assert [script.node for script in found.pre] == ["b"]
    assert found.nodes[0].file == "nodes/b.xml"
    assert found.nodes[0].roll == "site"


def test_references_stay_symbolic_where_the_host_fills_them_in() -> None:
    found = compiled("<main><network>--hostname=&hostname;</network></main><post>echo &hostname;</post>")
    assert found.commands[0].text == Text(("--hostname=", Reference("hostname", 1)))
    assert found.post[0].parts == (Fragment(Text(("echo ", Reference("hostname", 1))), 1),)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # rocks.md's table of micro cases, with the intended answers
        (
            "<package disable='1'>x</package><package>x</package><package>y</package><package disable='1'>y</package>",
            "x y",
        ),
        ("<package disable='1'>x</package><package disable='1'>x</package><package>x</package>", "x"),
        ("<package>x</package><package>x</package><package type='meta'>Dev Tools</package>", "x @Dev Tools"),
        ("<package>x\ny</package>", "x y"),
        ("<package/>", ""),
        ("<package type='meta'>\n Dev  Tools\n core\n</package>", "@Dev Tools @core"),
        ("<package cond='noflag'>x</package><package arch='i386, x86_64'>y</package>", "y"),
        ("<package>kernel-&kind;</package>", "kernel-el9"),
    ],
)
def test_packages_are_the_intended_ones(body: str, expected: str) -> None:
    assert " ".join(requested(compiled(body))) == expected


def test_what_one_node_asks_for_no_other_can_disable() -> None:
    found = compiled("<package disable='1'>x y</package><package>x</package>")
    assert [package.name for package in found.excluded] == ["y"]


def test_conditions_of_sections_and_files_are_heeded() -> None:
    found = compiled(
        "<main cond='noflag'><lang>C</lang></main><post cond='noflag'>x</post>"
        "<post><file name='/a' cond='noflag'>x</file><file name='/b' cond='flag'>x</file></post>"
        "<post><file name='/c' cond='noflag'>x</file></post>"
    )
    assert found.commands == ()
    assert [[getattr(part, "name", "") for part in script.parts] for script in found.post] == [["/b"]]


def test_names_of_files_are_filled_in_by_the_frontend() -> None:
    found = compiled("<post><file name='/etc/&hostname;.conf'>x</file></post>")
    assert getattr(found.post[0].parts[0], "name", "") == "/etc/compute-0-0.conf"


def test_the_profile_depends_on_what_is_mentioned_only() -> None:
    site = rolls(
        '<edge from="r" to="a" cond="flag"/>', r="<post>&hostname;</post>", a="<package cond='arch'>x</package>"
    )
    other = Attributes.of({**ATTRIBUTES, "hostname": "compute-0-1", "kind": "other"})
    assert all(ATTRIBUTES.get(name) == other.get(name) for name in site.mentioned("r"))
    assert compile_profile(site, "r", ATTRIBUTES).to_xml() == compile_profile(site, "r", other).to_xml()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (
            "\n<post>&hostnane;</post>",
            UndefinedAttribute,
            ":2: the attribute hostnane has no value; did you mean hostname?",
        ),
        (
            "<main>\n<lang>&Zzzzzzz;</lang></main>",
            UndefinedAttribute,
            ":2: the attribute Zzzzzzz has no value; set it with",
        ),
        ("<package>\n&hostnane;</package>", UndefinedAttribute, ":2: the attribute hostnane"),
        ("<post>x\n<file name='/&hostnane;'>x</file></post>", UndefinedAttribute, ":2: the attribute hostnane"),
        ("<package>\n--x</package>", NodeFileError, "site/nodes/r.xml:1: '--x' is no name of a package"),
        ("<package>%end</package>", NodeFileError, "'%end' is no name"),
        ("<package type='meta'>a --nodefaults</package>", NodeFileError, "is no name of a group"),
        (
            "<post>\n<file name='relative'>x</file></post>",
            NodeFileError,
            ":2: <file name='relative'>: name is the absolute path",
        ),
        ("<post><file name='/a' perms='rwx'>x</file></post>", NodeFileError, "write octal digits"),
        ("<post><file name='/a' owner='a b'>x</file></post>", NodeFileError, "write USER or USER:GROUP"),
        ("<post><file name='/&secret;'>x</file></post>", NodeFileError, "&secret; is secret"),
        ("<package>&secret;</package>", NodeFileError, "&secret; is secret"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_place(body: str, error: type[AvalancheError], message: str) -> None:
    secret = Attributes([*ATTRIBUTES.effective(), Attribute("secret", "s3cr3t", "host", secret=True)])
    with pytest.raises(error) as caught:
        compiled(body, secret)
    assert str(caught.value).startswith("site/nodes/r.xml:")
    assert message in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_node_names_the_edge() -> None:
    with pytest.raises(GraphError) as caught:
        compile_profile(rolls('\n<edge from="r" to="nofile"/>', r=""), "r", ATTRIBUTES)
    assert str(caught.value) == (
        "site/graphs/default/g.xml:2: r includes the unknown node 'nofile': none of the rolls site has nodes/nofile.xml"
    )


def test_a_broken_node_file_out_of_reach_harms_nobody() -> None:
    assert compile_profile(rolls(r="", broken="<post>"), "r", ATTRIBUTES).nodes[0].name == "r"
