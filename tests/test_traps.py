"""Conditions that say something else than their author thinks."""

from __future__ import annotations

import pytest

from avalanche.condition import ALWAYS, Condition, Expression, OneOf, parse_condition
from avalanche.traps import guarded, traps

VALUES = {"version": "6.1.1", "os_major": "el9", "rack": "3", "flag": "yes"}


def codes(condition: Condition, values: dict[str, str] | None = VALUES) -> list[str]:
    return [code for code, _ in traps(condition, values)]


def parsed(text: str) -> Condition:
    return parse_condition(text, file="g.xml", line=1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version == '7.0'", "cond-quoted"),
        ("num == '5'", "cond-quoted"),
        ("flag != 'yes'", "cond-quoted"),
        ("'7.0' == version", "cond-quoted"),
        ("flag == True", "cond-boolean"),
        ("version >= 7", "cond-version"),
        ("os_major == 9", "cond-word"),
        ("os_major >= 9", "cond-word"),
        ("appliance > 'compute'", "cond-order"),
        ("version >= 8.10", "cond-number"),
        ("1 == 1", "cond-constant"),
        ("os in 'linux'", "cond-in-text"),
    ],
)
def test_a_trap_is_told(text: str, code: str) -> None:
    assert code in codes(parsed(text))


@pytest.mark.parametrize(
    "text",
    [
        "flag", "not flag", "x is None or x", "arch == 'x86_64'", "rack >= 1", "rack > 2 and rack < 9",
        "os in ['linux', 'sunos']", "version >= '6.1'", "version == '6.1.1'", "rack >= 8.0", "a == b", "nobody == 5",
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(text: str) -> None:
    assert codes(parsed(text)) == []


def test_lists_of_numbers_never_matched_in_rocks() -> None:
    assert codes(Condition((OneOf("release", ("7.0", "el9")),))) == ["cond-quoted"]
    assert codes(Condition((OneOf("release", ("el9", "6.1.1")),))) == []


def test_an_or_beside_another_condition_was_cut_in_two_by_rocks() -> None:
    both = Condition((OneOf("arch", ("i386",)),)) & parsed("a or b")
    assert codes(both) == ["cond-precedence"]
    assert codes(parsed("a or b") & parsed("c")) == ["cond-precedence"]
    assert codes(parsed("a or b")) == codes(parsed("(a or b) and c") & parsed("d")) == codes(ALWAYS) == []


def test_what_depends_on_values_is_silent_without_them() -> None:
    assert codes(parsed("os_major == 9"), None) == codes(parsed("version >= 7"), None) == []


def test_a_name_that_is_tested_for_none_is_known_to_be_optional() -> None:
    (clause,) = parsed("gpu is None or (gpu and x.y is not None and other)").clauses
    assert isinstance(clause, Expression)
    assert guarded(clause) == {"gpu", "x.y"}
