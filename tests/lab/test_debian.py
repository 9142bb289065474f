"""What Debian's words mean to RPM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.packages.debian import (
    Evr,
    Relation,
    dependency_tags,
    evr,
    parse_relations,
    parse_status,
    requirement,
    virtual_names,
)

STATUS = """\
Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 2.36-9+deb12u14
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)
Breaks: busybox (<< 1.30.1-6), hurd (<< 1:0.9.git20170910-1), locales (<< 2.36), everything-else
Provides: libc6-2.36
Description: GNU C Library: Shared libraries
 Contains the standard libraries
 that are used by nearly all programs.
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: dash
Essential: yes
Status: install ok installed
Priority: required
Architecture: amd64
Version: 0.5.12-2
Pre-Depends: libc6 (>= 2.36)
Conflicts: dash
Description: POSIX-compliant shell
"""


def test_only_installed_packages_are_taken() -> None:
    assert [package.name for package in parse_status(STATUS)] == ["libc6", "dash"]


def test_a_package_is_read_with_all_that_a_spec_needs() -> None:
    libc, dash = parse_status(STATUS)
    assert libc.summary == "GNU C Library: Shared libraries"
    assert "nearly all programs" in libc.description
    assert libc.conffiles == {"/etc/ld.so.conf.d/x86_64-linux-gnu.conf"}
    assert dash.is_essential and not dash.is_noarch and dash.priority == "required"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.36-9+deb12u14", Evr("", "2.36", "9+deb12u14")),
        ("1:4.4.10-10~", Evr("1", "4.4.10", "10~")),
        ("2.5", Evr("", "2.5", "0")),
        ("3.1-20221030-2", Evr("", "3.1^20221030", "2")),
        ("2:9.0.1378-2", Evr("2", "9.0.1378", "2")),
    ],
)
def test_a_version_keeps_its_order_in_rpm(version: str, expected: Evr) -> None:
    assert evr(version) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("libc6 (>= 2.36)", ["libc6 >= 2.36"]),
        # RPM's `> 2.36` would refuse 2.36-9.
        ("libc6 (>> 2.36)", ["libc6 >= 2.36"]),
        ("perl:any (<< 5.36-1)", ["perl < 5.36-1"]),
        ("debconf (>= 0.5) | debconf-2.0", ["(debconf >= 0.5 or debconf-2.0)"]),
        ("a,\n b (= 1:2-3) ,c", ["a", "b = 1:2-3", "c"]),
        ("", []),
    ],
)
def test_a_dependency_field_becomes_requirements(field: str, expected: list[str]) -> None:
    assert [requirement(clause) for clause in parse_relations(field)] == expected


def test_a_field_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not a package relation: '\(>= 1\)'"):
        parse_relations("a, (>= 1)")


def test_conflicts_with_virtual_names_and_with_itself_are_dropped() -> None:
    libc, dash = parse_status(STATUS)
    tags = dependency_tags(libc, virtual=frozenset({"everything-else"}))
    assert "Conflicts: busybox < 1.30.1-6" in tags
    assert not any("everything-else" in tag for tag in tags)
    assert not any(tag.startswith("Conflicts") for tag in dependency_tags(dash, virtual=frozenset()))


def test_dash_answers_to_the_shell_everybody_requires() -> None:
    _, dash = parse_status(STATUS)
    assert "Provides: /bin/sh" in dependency_tags(dash, virtual=frozenset())


def test_virtual_names_are_what_is_provided() -> None:
    assert virtual_names(parse_status(STATUS)) == {"libc6-2.36"}


VERSIONS = st.from_regex(r"\A(?:[0-9]{1,3}:)?[0-9][A-Za-z0-9.+~-]{0,20}\Z")


@given(VERSIONS)
def test_every_version_gives_fields_that_rpm_accepts(version: str) -> None:
    found = evr(version)
    assert "-" not in found.version and "-" not in found.release
    assert found.release


@given(st.lists(st.tuples(st.from_regex(r"\A[a-z0-9][a-z0-9+.-]{1,12}\Z"), VERSIONS), min_size=1, max_size=4))
def test_a_written_clause_is_read_back(names: list[tuple[str, str]]) -> None:
    field = " | ".join(f"{name} (>= {version})" for name, version in names)
    (clause,) = parse_relations(field)
    assert clause == tuple(Relation(name, ">=", version) for name, version in names)
