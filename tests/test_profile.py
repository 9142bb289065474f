"""The profile: its values, its document, and what a reader refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.attributes import Attribute, Attributes
from avalanche.document import Reference, Text
from avalanche.errors import ProfileError, UndefinedAttribute
from avalanche.profile import (
    Command,
    Comment,
    FileWrite,
    Fragment,
    Membership,
    NodeName,
    PackageRequest,
    Profile,
    Script,
    installation_document,
    parse_installation,
    parse_profile,
)

PROTOCOL = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"

NODES = (NodeName("base", "nodes/base.xml", "base"), NodeName("extend-base@site", "nodes/extend-base.xml", "site"))

lines = st.integers(1, 10**6)
nodes = st.sampled_from([node.name for node in NODES])
characters = st.characters(
    exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(32)] + ["\ufffe", "\uffff"]
)
strings = st.text(characters | st.sampled_from("\t\n\r<>&\"'% "), max_size=30)
references = st.builds(Reference, st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,9}\Z"), lines, st.booleans())
texts = st.lists(strings | references, max_size=5).map(lambda parts: Text(tuple(parts)))
words = st.lists(st.sampled_from(["--a", " ", "é", '"', "\t", "x"]).map(str) | references, max_size=5)
commands = st.builds(
    Command, st.sampled_from(["lang", "part"]), words.map(lambda parts: Text(tuple(parts))), nodes, lines
)
packages = st.builds(
    lambda name, meta, disable, node, line: PackageRequest(
        name, meta, disable, node.name, node.file, line
    ),
    st.sampled_from(["a", "core", "bash", "b+c", "x*"]).filter(lambda name: "*" not in name) | st.just("gcc-c++"),
    st.booleans(), st.booleans(), st.sampled_from(NODES), lines,
)  # fmt: skip
names = st.sampled_from(["/etc/motd", "/a b", "/ü", "/x'y\"z<&>"])
owners = st.sampled_from([None, "root:root", "u.g", "1"])
perms = st.sampled_from([None, "0644", "755", "u=rw,go-w"])
modes = st.sampled_from(["create", "append", "output", "append-output"])
variables = st.sampled_from(["literal", "expanded"])
plain = st.builds(FileWrite, names, texts, lines, modes, owners, perms, variables, keep=st.booleans())
pipes = st.builds(FileWrite, names, texts, lines, st.just("pipe"), owners, perms, source=st.none() | names)
encoded = st.builds(
    FileWrite, names, st.sampled_from(["", "c2VjcmV0\n"]).map(lambda text: Text((text,))), lines,
    encoding=st.just("base64"),
)  # fmt: skip
files = plain | pipes | encoded
parts = st.lists(st.builds(Fragment, texts, lines) | files, max_size=4).map(tuple)
interpreters = st.sampled_from(["/bin/bash", "/usr/bin/python3"])
anywhere = st.builds(Script, parts, nodes, lines, interpreters, st.booleans(), st.booleans())
inside = st.builds(Script, parts, nodes, lines, interpreters, strict=st.booleans())
profiles = st.builds(
    Profile,
    root=st.just("base"),
    release=st.just("el9"),
    nodes=st.just(NODES),
    commands=st.lists(commands, max_size=3).map(tuple),
    packages=st.lists(packages, max_size=4).map(tuple),
    pre=st.lists(inside, max_size=2).map(tuple),
    post=st.lists(st.builds(Script, parts, nodes, lines, interpreters, st.booleans(), st.booleans()), max_size=3).map(
        tuple
    ),
    boot_pre=st.lists(inside, max_size=1).map(tuple),
    boot_post=st.lists(inside, max_size=1).map(tuple),
    comments=st.lists(st.builds(Comment, texts, nodes, lines), max_size=2).map(tuple),
)


@given(profiles)
def test_what_is_written_is_read_back_equal(profile: Profile) -> None:
    document = profile.to_xml()
    assert parse_profile(document) == profile
    assert parse_profile(document).to_xml() == document


def example() -> str:
    found = re.search(r"```xml installation\n(.*?)```", PROTOCOL.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_protocol_s_example_is_an_installation() -> None:
    found = parse_installation(example().encode())
    assert (found.host, found.generation, found.plane) == ("compute-0-0", "g-5d41402abc4b2a76", "http")
    assert found.attributes.attribute("root_password") == Attribute("root_password", "$6$x$y", "appliance", secret=True)
    profile = found.profile
    assert [node.name for node in profile.nodes] == ["base", "compute"]
    assert profile.commands[1].text == Text((Reference("timezone", 5), " --utc"))
    assert [package.name for package in profile.requested] == ["core", "openssh-server"]
    assert [package.name for package in profile.excluded] == ["plymouth"]
    assert profile.pre[0].parts == (Fragment(Text(('print("hello")\n',)), 12),)
    assert profile.post[0].parts == (
        Fragment(Text(("echo start\n",)), 6),
        FileWrite("/etc/motd", Text(("This is ", Reference("hostname", 8), ".\n")), 8, "create", "root.root", "0644"),
        FileWrite("/etc/hosts", Text(("sort\n",)), 11, "pipe", source="/etc/hosts.orig", keep=False),
        FileWrite("/etc/cluster.key", Text(("c2VjcmV0\n",)), 12, encoding="base64"),
    )
    assert profile.comments == (Comment(Text(("built for ", Reference("site", 3, optional=True))), "base", 3),)
    assert [(script.strict, script.line) for script in profile.boot_pre] == [(False, 14)]


@given(profiles)
def test_an_installation_wraps_the_profile_s_bytes_as_they_are(profile: Profile) -> None:
    attributes = Attributes.of({"a": "1"})
    body = profile.to_xml()
    document = installation_document(
        host="h", generation="g", manifest="m", plane="http", attributes=attributes, body=body
    )
    assert body in document
    found = parse_installation(document)
    assert (found.profile, found.attributes, found.host) == (profile, attributes, "h")


def test_enabling_wins_over_disabling_and_names_come_once() -> None:
    def request(name: str, disable: bool, line: int, meta: bool = False) -> PackageRequest:
        return PackageRequest(name, meta, disable, "base", "nodes/base.xml", line)

    profile = Profile(
        "base", "el9", NODES,
        packages=(
            request("a", True, 1), request("b", True, 2), request("a", False, 3), request("a", False, 4),
            request("b", True, 5), request("b", False, 6, meta=True),
        ),
    )  # fmt: skip
    assert [(package.name, package.meta, package.line) for package in profile.requested] == [
        ("a", False, 3), ("b", True, 6),
    ]  # fmt: skip
    assert [(package.name, package.line) for package in profile.excluded] == [("b", 2)]


def test_a_reference_without_a_value_is_told_with_file_and_line() -> None:
    text = Text((Reference("hostnane", 7),))
    profile = Profile("base", "el9", NODES, post=(Script((Fragment(text, 7),), "extend-base@site", 5),))
    with pytest.raises(UndefinedAttribute, match=r"^nodes/extend-base\.xml:7: .* did you mean hostname\?$"):
        profile.check_references(Attributes.of({"hostname": "x"}))


@pytest.mark.parametrize(
    ("name", "said"), [("hostaddr", "no address: .* --ip ADDRESS"), ("mac", "no card .* --mac MAC")]
)
def test_what_a_host_lacks_of_its_own_is_told_as_that(name: str, said: str) -> None:
    text = Text((Reference(name, 7),))
    profile = Profile("base", "el9", NODES, post=(Script((Fragment(text, 7),), "extend-base@site", 5),))
    with pytest.raises(UndefinedAttribute, match=f"the attribute {name} has no value; the host has {said}$"):
        profile.check_references(Attributes.of({"hostname": "x", "max": "1"}))


def changed(old: str, new: str, count: Optional[int] = None) -> str:
    assert old in example()
    return example().replace(old, new, -1 if count is None else count)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<installation version="1"', '<installation version="2"', "this program reads version 1"),
        ('<profile version="1"', '<profile version="2"', "this program reads version 1"),
        ('<main command="lang"', '<note command="lang"', "mismatched tag"),
        ("<package", "<!-- --><packages", "<packages> cannot stand in <profile>"),
        ('command="lang"', 'command="lang" x="1"', "no attribute 'x'"),
        ('line="4"', 'line="0"', "no line number"),
        ('line="4"', 'line="x"', "no line number"),
        ('command="lang" ', "", "lacks command="),
        ('command="lang"', 'command="%end"', "no kickstart command"),
        ("en_US.UTF-8", "en_US\n%end", "not one line"),
        ('name="openssh-server"', 'name="-x"', "no name of a package"),
        ('name="openssh-server"', 'name="x&#10;%end"', "no name of a package"),
        ('meta="true"', 'meta="yes"', "'true' or 'false'"),
        ('node="base" line="9"', 'node="other" line="9"', "names the node 'other'"),
        ('name="compute" file', 'name="base" file', "a node is named twice"),
        ('mode="create"', 'mode="slip"', "mode is one of"),
        ('name="/etc/motd"', 'name="etc/motd"', "absolute path"),
        ('perms="0644"', 'perms="rwx"', "octal digits"),
        ('owner="root.root"', 'owner="root; id"', "USER or USER:GROUP"),
        ('interpreter="/usr/bin/python3"', 'interpreter="python3 -c"', "no absolute path"),
        ('<ref name="hostname"', '<ref name="a b"', "no attribute name"),
        ('<ref name="hostname"', '<eval name="hostname"', "expected <ref>"),
        ("<text>echo start\n</text>", "echo start", "holds elements only"),
        ('<pre node="base"', '<pre chroot="false" node="base"', "no attribute|takes no chroot"),
        ("<attributes", "<attribute", "mismatched"),
        ("</installation>", "<profile/></installation>", "once each"),
        ("<installation", "<!DOCTYPE x><installation", "document type"),
        ("<profile", "<?x y?><profile", "processing instruction"),
    ],
)
def test_a_wrong_document_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        parse_installation(changed(old, new, 1).encode())
    assert re.match(r"profile:\d+: ", str(caught.value))


def test_sections_out_of_order_are_refused() -> None:
    document = b"""<profile version="1" root="a" release="el9"><node name="a" file="f" roll="r"/>
<package name="x" node="a" line="1"/><main command="lang" node="a" line="1"/></profile>"""
    with pytest.raises(ProfileError, match=r"^profile:2: <main> is out of order"):
        parse_profile(document)


def test_a_profile_beyond_its_bounds_is_refused() -> None:
    with pytest.raises(ProfileError, match="more than the 4194304 allowed"):
        parse_profile(b"<profile>" + b" " * (4 << 20) + b"</profile>")
    with pytest.raises(ProfileError, match="too many elements"):
        parse_profile(b"<profile>" + b"<a/>" * 100_001 + b"</profile>")


MEMBERSHIP = Membership(("http://10.1.1.1:7969", "http://[fd00::1]"), "e30.e30", "ab" * 32)


def membership_document(membership: Optional[Membership]) -> bytes:
    body = Profile("compute", "el9", (NodeName("base", "nodes/base.xml", "base"),)).to_xml()
    return installation_document(
        host="h",
        generation="g",
        manifest="m",
        plane="relay",
        attributes=Attributes(()),
        body=body,
        membership=membership,
    )


@pytest.mark.parametrize("membership", [MEMBERSHIP, None])
def test_what_admits_a_host_to_its_peers_comes_back_as_it_was_written(membership: Optional[Membership]) -> None:
    assert parse_installation(membership_document(membership)).membership == membership


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b' token="e30.e30"', b""),
        (b"e30.e30", b"e30"),
        (b"http://10.1.1.1:7969", b"ftp://10.1.1.1"),
        (b"7969 http", b"7969  http"),
        (b"abab", b"ABAB"),
    ],
)
def test_half_an_admission_is_an_error(old: bytes, new: bytes) -> None:
    with pytest.raises(ProfileError):
        parse_installation(membership_document(MEMBERSHIP).replace(old, new, 1))
