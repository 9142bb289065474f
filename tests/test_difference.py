"""What two profiles do not have in common; and never a secret."""

from __future__ import annotations

from avalanche.attributes import Attribute, Attributes
from avalanche.compiler import compile_profile
from avalanche.difference import Change, differences
from avalanche.graph import parse_graph
from avalanche.profile import Profile
from avalanche.roll import Roll, RollSet, Source

GRAPH = b'<graph><edge from="r"><to>a</to><to cond="gpu">g</to></edge></graph>'
NODES = {
    "r": "<main><lang>&language;</lang><selinux cond='strict'>--enforcing</selinux></main>",
    "a": "<post>\none\ntwo &token;\n<file name='/etc/x' perms='0600' cond='not gpu'>text\n</file>\n</post>"
    "<package>vim</package>",
    "g": "<package disable='1'>vim</package><package>cuda</package><package type='meta'>Tools</package>",
}
BASE = {"language": "en", "token": "hidden-1"}


def seen(values: dict[str, str], nodes: dict[str, str] = NODES) -> tuple[Profile, Attributes]:
    sources = {
        name: Source(f"one/nodes/{name}.xml", f"<kickstart>{body}</kickstart>".encode()) for name, body in nodes.items()
    }
    attributes = Attributes(Attribute(name, value, secret=name == "token") for name, value in values.items())
    return compile_profile(RollSet([Roll("one", parse_graph(GRAPH, file="g"), sources)]), "r", attributes), attributes


def changes(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    (left, left_attributes), (right, right_attributes) = seen({**BASE, **before}), seen({**BASE, **after})
    return differences(left, right, attributes=(left_attributes, right_attributes))


def test_equal_profiles_have_no_differences() -> None:
    assert changes({"gpu": "1"}, {"gpu": "1"}) == ()


def test_nodes_packages_commands_scripts_and_attributes_are_compared() -> None:
    found = {(change.kind, change.name): change for change in changes({}, {"gpu": "yes", "strict": "1"})}
    assert found["node", "g"].after == "one: nodes/g.xml"
    assert {name: (change.before, change.after) for (kind, name), change in found.items() if kind == "package"} == {
        "cuda": (None, "installed"), "@Tools": (None, "installed"),
    }  # fmt: skip
    assert found["main", "r"].lines == (" lang &language;", "+selinux --enforcing")
    assert found["post", "a"].lines == (
        " one", " two &token;", "-<file name=/etc/x mode=create perms=0600>", "-text",
    )  # fmt: skip
    assert (found["attribute", "gpu"].before, found["attribute", "gpu"].after) == (None, "yes")


def test_of_a_secret_only_is_told_that_it_differs() -> None:
    found = changes({"token": "hidden-1"}, {"token": "hidden-2"})
    assert found == (Change("attribute", "token", "(secret)", "(secret)"),)
    assert "hidden" not in repr(changes({}, {"gpu": "1", "token": "hidden-2"}))


def test_what_moved_in_the_order_is_told() -> None:
    left, _ = seen({**BASE, "gpu": "1"})
    moved = Profile(left.root, left.release, left.nodes[::-1], left.commands, left.packages, left.pre, left.post)
    (change,) = differences(left, moved)
    assert (change.kind, change.name) == ("order", "nodes")
    assert [line for line in change.lines if line[0] == "+"]


def test_another_roll_s_file_is_another_node() -> None:
    left, _ = seen(BASE)
    right, _ = seen(BASE, {**NODES, "replace-a": NODES["a"]})
    (change,) = differences(left, right)
    assert (change.kind, change.before, change.after) == ("node", "one: nodes/a.xml", "one: nodes/replace-a.xml")
