"""Conditions: Rocks' words for values, versions, and everything else refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.condition import ALWAYS, parse_condition, parse_when
from avalanche.document import parse_document
from avalanche.errors import ConditionError

VALUES = {
    "os": "linux",
    "arch": "x86_64",
    "version": "7.0",
    "release": "7.0",
    "flag": "yes",
    "noflag": "no",
    "num": "5",
    "old": "6.1.1",
    "minor": "8.10",
    "gpu": "none",
    "empty": "",
    "zero": "0",
    "load": "0.25",
    "os.version": "12.x",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # rocks.md's table of micro cases, with the intended answers
        ("nosuch", False),
        ("not nosuch", True),
        ("flag == True", True),
        ("nosuch is None", True),
        ("flag == 1", True),
        ("version == '7.0'", True),
        ("version == 7", True),
        ("num == '5'", True),
        ("old >= 7", False),
        ("num < 9", True),
        ("noflag or flag", True),
        ("num > 3", True),
        # truth
        ("", True),
        ("empty", False),
        ("zero", False),
        ("os", True),
        ("ON", False),
        ("flag is True", True),
        # unknown names are smaller and greater than nothing
        ("nosuch < 1", False),
        ("nosuch > 1", False),
        ("nosuch >= 7", False),
        ("nosuch == None", True),
        ("os is not None", True),
        # versions and numbers
        ("old < 7", True),
        ("old > 6", True),
        ("old >= '6.1'", True),
        ("minor > '8.9'", True),
        ("minor == '8.1'", False),
        ("minor > 8.9", False),
        ("load < 0.5", True),
        ("version == '7.0.0'", True),
        ("-1 < num < 9", True),
        ("num != 5", False),
        ("os > 'a'", True),
        ("os >= 7", False),
        ("os < 7", False),
        # membership
        ("os in ['linux', 'sunos']", True),
        ("num in (1, 5)", True),
        ("'x86' in arch", True),
        ("gpu not in ['none']", False),
        ("'a' in nosuch", False),
        ("os.version in ['12.x', '15.x']", True),
        ("rocks_version_major == 7 and UseTracker", False),
        ("not (version >= 7)", False),
        ("os == 'linux' and (noflag or num)", True),
    ],
)
def test_a_condition_means_what_its_author_means(text: str, expected: bool) -> None:
    assert parse_condition(text, file="f", line=1).holds(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('id')", "calls"),
        ("a[0]", "after a name"),
        ("1 + 1", "arithmetic"),
        ("lambda: 1", "Lambda"),
        ("a if b else c", "if-else"),
        ("f'{a}'", "f-strings"),
        ("b'x' == a", "Constant"),
        ("a is 7", "None, True or False only"),
        ("not (os == 'sles'", "never closed"),
        ("a =", "not understood"),
        ("a; b", "not understood"),
        ("1j", "Constant"),
        ("...", "Constant"),
        ("~1", "UnaryOp"),
        ("{1}", "Set"),
        ("a.b().c", "calls"),
        ("\0", "not understood"),
        ("not " * 200 + "a", "nested deeper"),
        ("(" * 400 + "a" + ")" * 400, "not understood"),
        ("x" * 2000, "longer than"),
        ("-" * 900 + "1", "nested deeper|not understood"),
        ("'\\d' == a", "not understood"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=message) as caught:
        parse_condition(text, file="graphs/default/a.xml", line=7)
    assert str(caught.value).startswith("graphs/default/a.xml:7: ")
    assert len(str(caught.value)) < 500


def test_names_that_are_mentioned_are_known() -> None:
    condition = parse_condition("a and (b.c > 1 or 'd' in e) and True", file="f", line=1)
    assert condition.names == {"a", "b.c", "e"}
    assert ALWAYS.names == frozenset()


@pytest.mark.parametrize(
    ("text", "weighed"),
    [
        ("a is None", ""),
        ("a is not None and b", "b"),
        ("a.b is None or not (c is not None)", ""),
        ("a is not None and a != 'x'", "a"),
        ("a == None", "a"),
        ("a is True", "a"),
        ("a is None is None", "a"),
        ("a in [b, None]", "a b"),
    ],
)
def test_a_name_that_is_asked_for_only_is_not_weighed(text: str, weighed: str) -> None:
    assert parse_condition(text, file="f", line=1).weighed == set(weighed.split())


_ATOMS = st.sampled_from(("a", "a is None", "b is not None", "b == '1'", "c is not None", "c > 2", "a in ['', '1']"))
_TEXTS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(lambda parts: "({} {} {})".format(*parts)),
    ),
    max_leaves=5,
)
_HOSTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(("", "0", "1", "3", "no", "None", "1.0")))


@given(_TEXTS, _HOSTS, _HOSTS)
def test_hosts_that_have_the_same_names_and_agree_on_what_is_weighed_agree(
    text: str, one: dict[str, str], other: dict[str, str]
) -> None:
    condition = parse_condition(text, file="f", line=1)
    other = {name: other.get(name, "x") if name not in condition.weighed else value for name, value in one.items()}
    assert condition.holds(one) == condition.holds(other)


def test_lists_and_cond_must_all_hold() -> None:
    # arch="i386" cond="noflag or flag" held in Rocks, which put the texts side by side.
    element = parse_document(b'<edge arch="i386" cond="noflag or flag"/>', file="f")
    assert not parse_when(element).holds(VALUES)
    element = parse_document(b'<edge arch="i386, x86_64" os="linux" release="7.0" cond="flag"/>', file="f")
    assert parse_when(element).holds(VALUES)
    assert parse_when(element).names == {"arch", "os", "release", "flag"}


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(Exception, match=r"^f:1: arch= names no value"):
        parse_when(parse_document(b'<edge arch=" , "/>', file="f"))
