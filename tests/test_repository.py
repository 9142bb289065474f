"""Repository: groups, as dnf understands them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.errors import RepositoryError
from avalanche.repository import MAXIMUM_COMPS, Comps, Group, Member, joined_comps, parse_comps

DOCUMENT = b"""<?xml version="1.0"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name xml:lang="it">Nucleo</name><name>Core System</name>
    <packagelist>
      <packagereq type="mandatory">bash</packagereq>
      <packagereq>setup</packagereq>
      <packagereq type="default" basearchonly="true">glibc</packagereq>
      <packagereq type="conditional" requires="gtk">theme</packagereq>
      <packagereq type="optional">tcsh</packagereq>
    </packagelist>
  </group>
  <group><id>hpc</id><name>HPC</name><packagelist/></group>
  <group><id>Core System</id><name>Confusing</name><packagelist/></group>
  <environment><id>minimal-environment</id><name>Minimal Install</name>
    <grouplist><groupid>core</groupid><groupid>missing</groupid></grouplist>
    <optionlist><groupid default="true">hpc</groupid></optionlist>
  </environment>
</comps>
"""


@pytest.fixture
def comps() -> Comps:
    return parse_comps(DOCUMENT, file="comps.xml")


def ids(found: tuple[Group, ...] | None) -> list[str]:
    assert found is not None
    return [group.id for group in found]


def test_a_group_installs_all_but_its_optional_members(comps: Comps) -> None:
    (core,) = comps.find("core") or ()
    assert core.name == "Core System"
    assert core.installed == (
        Member("bash", "mandatory"),
        Member("setup", "mandatory"),
        Member("glibc", "default", is_basearch_only=True),
        Member("theme", "conditional", requires="gtk"),
    )


def test_a_group_is_found_by_id_by_name_and_by_pattern(comps: Comps) -> None:
    assert ids(comps.find("core")) == ["core"]
    assert ids(comps.find("CORE")) == ["core"]
    assert ids(comps.find("Core System")) == ["core", "Core System"]
    assert ids(comps.find("h*")) == ["hpc"]
    assert comps.find("nothing") is None


def test_an_environment_brings_its_mandatory_groups(comps: Comps) -> None:
    for name in ("minimal-environment", "^minimal-environment", "Minimal Install"):
        assert ids(comps.find(name)) == ["core"]
    assert comps.names == ("core", "hpc", "Core System", "minimal-environment")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (b"<comps>\n<group>", "c.xml:2: not well-formed"),
        (b"", "c.xml:"),
        (b"<repomd/>", "c.xml:1: the document is <repomd>"),
        (b"<comps>\n<group><name>x</name></group></comps>", "c.xml:2: <group> has no <id>"),
        (b"<comps><group><id>x</id></group></comps>", "<group> has no <name>"),
        (
            b"<comps><group><id>x</id><name>x</name><packagelist>\n<packagereq/></packagelist></group></comps>",
            "c.xml:2: <packagereq> names no package",
        ),
        (b"x" * (33 << 20), "more than"),
    ],
)
def test_a_document_that_is_no_comps_is_refused_with_its_line(document: bytes, complaint: str) -> None:
    with pytest.raises(RepositoryError, match=complaint.replace(".", r"\.")):
        parse_comps(document, file="c.xml")


def test_what_is_too_large_together_is_refused_though_each_file_can_be_read() -> None:
    text = b"<description>" + b"x" * (MAXIMUM_COMPS // 4) + b"</description>"
    document = b"<comps><group><id>%s</id><name>n</name>" + 2 * text + b"</group></comps>"
    files = [(document.replace(b"%s", name.encode()), f"{name}.xml") for name in "ab"]
    for data, file in files:
        parse_comps(data, file=file)
    with pytest.raises(RepositoryError, match=r"^a\.xml \+ b\.xml: \d+ bytes, more than"):
        joined_comps(files)


def test_entities_are_not_resolved() -> None:
    document = b'<!DOCTYPE comps [<!ENTITY x SYSTEM "file:///etc/passwd">]><comps><group><id>&x;</id><name>n</name></group></comps>'
    with pytest.raises(RepositoryError, match="has no <id>"):
        parse_comps(document, file="c.xml")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("<>/&;groupidcomps \n", max_size=200).map(str.encode))
def test_any_bytes_are_comps_or_a_repository_error(data: bytes) -> None:
    with contextlib.suppress(RepositoryError):
        parse_comps(data, file="c.xml")
