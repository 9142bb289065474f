"""Conditions as Python 2 evaluated them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import DefinitionError
from avalanche.legacy.conditions import compose, holds, typed
from avalanche.legacy.text import Place, Stopped

PLACE = Place("g.xml", 7)
VALUES = {
    "flag": "yes", "noflag": "Off", "num": "5", "version": "6.1.1", "os": "linux", "seven": "7.0", "neg": " -3 ",
    "empty": "", "name": "Bob's",
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "flag", "not noflag", "num == 5", "seven == 7", "flag == 1", "neg == -3", "nosuch is None",
        "os is not None", "not nosuch", "nosuch < 1", "None < noflag", "version >= 7", "num < 'a'", "'a' < (1, 2)",
        "[9] < 'a'", "os in ['linux', 'sunos']", "'lin' in os", "num not in [1, 2]", "1 < num < 9", "num <> 6",
        "'<>' != os", "nosuch or flag", "os == \"linux\" and (noflag or flag)", "name == 'Bob\\'s'", "-num < 0",
        "not True", "True == nosuch", " flag", "num is 5", "os is os", "flag is not None",
        "[1, [2]] < [1, [3]]", "[1] < [1, 0]",
    ],
)  # fmt: skip
def test_what_was_true_is(text: str) -> None:
    assert holds(text, VALUES, PLACE)


@pytest.mark.parametrize(
    "text",
    [
        "nosuch", "noflag", "empty", "flag == True", "seven == '7.0'", "num == '5'", "version < 7", "None > nosuch",
        "len", "1 > 'a'", "flag and noflag", "os is 'linux'", "num == nosuch", "num in []", "300 is num",
        "seven is seven",
    ],
)  # fmt: skip
def test_what_was_false_is(text: str) -> None:
    assert not holds(text, VALUES, PLACE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(  and flag )", "SyntaxError: invalid syntax"),
        ("  ", "SyntaxError"),
        ("flag = 1", "SyntaxError"),
        ("len(os)", "TypeError: 'NoneType' object is not callable"),
        ("os.version == 7", "AttributeError: 'str' object has no attribute 'version'"),
        ("num in 5", "TypeError: argument of type 'int' is not iterable"),
        ("nosuch in os", "TypeError: 'in <string>' requires string as left operand, not NoneType"),
        ("-os", "TypeError: bad operand type for unary -: 'str'"),
    ],
)
def test_what_raised_says_so_with_its_place(text: str, words: str) -> None:
    with pytest.raises(Stopped) as raised:
        holds(text, VALUES, PLACE)
    assert str(raised.value).startswith(f"g.xml:7: the original compiler stops here: {words}")


@pytest.mark.parametrize("text", ["num + 1 == 6", "os.upper() == 'LINUX'", "[x for x in os]", "f'{os}'", "~num"])
def test_what_is_not_reproduced_is_no_fault_of_the_originals(text: str) -> None:
    with pytest.raises(DefinitionError, match="--legacy does not evaluate") as raised:
        holds(text, VALUES, PLACE)
    assert not isinstance(raised.value, Stopped)


@pytest.mark.parametrize("text", ["(" * 5000 + ")" * 5000, "not " * 300 + "flag", "flag or " * 3000 + "flag"])
def test_no_condition_is_too_much(text: str) -> None:
    with pytest.raises(DefinitionError):
        holds(text, VALUES, PLACE)


def test_lists_are_put_before_the_condition_without_parentheses() -> None:
    assert compose("i386, x86_64", "linux", "", "a or b") == (
        '( arch=="i386" or arch=="x86_64" ) and ( os=="linux" ) and a or b'
    )
    assert compose(None, None, None, None) == ""


def test_values_are_typed_by_their_looks() -> None:
    assert [typed(text) for text in ("Y", "NO", " 7", "7.50", "1e3", "1_000", "0x10", "7.0.1", "")] == [
        True, False, 7, 7.5, 1000.0, "1_000", "0x10", "7.0.1", "",
    ]  # fmt: skip


@given(st.text(max_size=40), st.text(max_size=10))
def test_any_text_is_evaluated_or_refused_with_its_place(text: str, value: str) -> None:
    try:
        holds(text, {"os": value, "x": value}, PLACE)
    except DefinitionError as error:
        assert str(error).startswith("g.xml:7: ")
