"""The pages on graph and node files, and the schema of the profile, say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from avalanche.attributes import SCOPES, Attributes
from avalanche.cluster import DEFAULT_ATTRIBUTES
from avalanche.graph import parse_graph
from avalanche.membership import Membership
from avalanche.nodefile import LATER_ATTRIBUTES, LATER_TAGS, parse_nodefile
from avalanche.profile import Profile, installation_document
from tests.test_profile import profiles

DOCS = Path(__file__).resolve().parent.parent / "docs"


def example(page: str, name: str) -> bytes:
    (found,) = re.findall(rf"```xml {name}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return str(found).encode()


def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(DOCS / "profile.rng")))


def test_the_graph_of_the_page_means_what_the_page_says() -> None:
    graph = parse_graph(example("graph-format.md", "graph"), file="graph-format.md")
    assert graph.roll == "site"
    attributes = {"gpu_vendor": "nvidia", "arch": "x86_64"}
    assert graph.traverse("compute", attributes).nodes == ("ssh", "client", "gpu-nvidia", "ntp-client", "compute")
    assert graph.traverse("compute", {"arch": "i386"}).nodes == ("ssh", "client", "compute")


def test_the_node_file_of_the_page_is_one() -> None:
    node = parse_nodefile(example("node-format.md", "node"), name="ssh", file="node-format.md", roll="site")
    kinds = [type(section).__name__ for section in node.sections]
    assert kinds == ["CommandSection"] * 2 + ["PackageSection"] * 4 + ["ScriptSection"] * 3
    assert node.names == {"root_key", "arch", "appliance"}


def test_the_page_names_what_is_not_supported_yet() -> None:
    page = (DOCS / "node-format.md").read_text()
    told = re.search(r"Rocks'\n`([a-z ]+)` and the attributes `([a-z ]+)` are not supported yet", page)
    assert told is not None
    assert set(told[1].split()) <= LATER_TAGS
    assert set(told[2].split()) <= LATER_ATTRIBUTES


def test_the_page_names_the_attributes_that_init_sets() -> None:
    page = (DOCS / "node-format.md").read_text()
    assert dict(re.findall(r"^\| `(Kickstart_\w+)` \| `([^`]+)` \|", page, re.MULTILINE)) == DEFAULT_ATTRIBUTES


def test_the_protocol_s_example_is_valid() -> None:
    schema().assertValid(etree.fromstring(example("protocol.md", "installation")))


@given(profiles, st.sampled_from([None, Membership(("http://10.1.1.1:7969",), "e30.e30", "ab" * 32)]))
def test_whatever_is_written_is_valid(profile: Profile, membership: Membership | None) -> None:
    document = installation_document(
        host="h", generation="g-0123456789abcdef", manifest="0" * 64, plane="http",
        attributes=Attributes.of({"a": "1"}), body=profile.to_xml(), membership=membership,
    )  # fmt: skip
    schema().assertValid(etree.fromstring(document))
    schema().assertValid(etree.fromstring(profile.to_xml()))


def test_the_schema_knows_the_scopes() -> None:
    for scope in SCOPES:
        schema().assertValid(etree.fromstring(Attributes.of({"a": "1"}, scope=scope).to_xml()))
