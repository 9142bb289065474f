"""Conditions as the original read them: text put together, then evaluated with the rules of Python 2.

``arch= os= release=`` become ``( arch=="a" or arch=="b" )`` each, and ``cond=`` is put after them *without
parentheses*, so that ``arch="i386" cond="a or b"`` reads ``( arch=="i386" ) and a or b``. The text is parsed with
Python's grammar and walked here; nothing is executed. A name without a value is None, and so are ``True`` and
``False``, which were plain names. Values of different types compare by Python 2's rule: None, then numbers, then
everything else by the name of its type.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avalanche.errors import DefinitionError
from avalanche.legacy.text import Place, Stopped, refuse

MAX_LENGTH = 8000  # characters of a condition that was put together
MAX_DEPTH = 60  # levels of nesting

Value = str | int | float | bool | None | list["Value"] | tuple["Value", ...]

TRUE_WORDS = frozenset({"on", "true", "yes", "y"})
FALSE_WORDS = frozenset({"off", "false", "no", "n"})
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,4000}\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?|inf|infinity|nan)\s*", re.I)
_STRING_OR_UNEQUAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|<>", re.DOTALL)
_SMALL_INTEGERS = range(-5, 257)  # which CPython keeps once, so that ``is`` holds


def compose(arch: str | None, os: str | None, release: str | None, cond: str | None) -> str:
    """Put the text of a condition together, as the original did."""
    parts = []
    for name, listed in (("arch", arch), ("os", os), ("release", release)):
        if listed:
            parts.append("( {} )".format(" or ".join(f'{name}=="{item.strip()}"' for item in listed.split(","))))
    if cond:
        parts.append(cond)
    return " and ".join(parts)


def holds(text: str, attributes: Mapping[str, str], place: Place) -> bool:
    """Evaluate a condition; an empty one holds.

    Raises:
        Stopped: the original raised an exception here.
        DefinitionError: it uses what is not reproduced, or is too long.
    """
    if not text:
        return True
    if len(text) > MAX_LENGTH:
        refuse(f"the condition is longer than {MAX_LENGTH} characters", place)
    return bool(_Evaluator(attributes, text, place).value(_parse(text, place)))


def typed(text: str) -> Value:
    """Give a value the type that its text suggests."""
    word = text.lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _parse(text: str, place: Place) -> ast.expr:
    modern = _STRING_OR_UNEQUAL.sub(lambda found: "!=" if found[0] == "<>" else found[0], text.lstrip(" \t"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(modern, mode="eval").body
    except SyntaxError:
        raise Stopped(f"SyntaxError: invalid syntax in the condition {text!r}", place) from None
    except (ValueError, MemoryError, RecursionError):
        refuse("the condition is nested too deeply or holds a NUL", place)


class _Evaluator:
    def __init__(self, attributes: Mapping[str, str], text: str, place: Place) -> None:
        self.attributes = attributes
        self.text = text
        self.place = place
        self.depth = 0

    def stop(self, words: str) -> Stopped:
        return Stopped(f"{words} in the condition {self.text!r}", self.place)

    def value(self, node: ast.expr) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            refuse(f"the condition is nested deeper than {MAX_DEPTH} levels", self.place)
        try:
            return self._value(node)
        finally:
            self.depth -= 1

    def _value(self, node: ast.expr) -> Value:
        evaluate = _EVALUATE.get(type(node))
        if evaluate is None:
            raise self.unsupported(node)
        return evaluate(self, node)

    def name(self, node: ast.Name) -> Value:
        return self.named(node.id)

    def comparison(self, node: ast.Compare) -> Value:
        return all(self.comparisons(node))

    def list_of(self, node: ast.List) -> Value:
        return [self.value(item) for item in node.elts]

    def tuple_of(self, node: ast.Tuple) -> Value:
        return tuple(self.value(item) for item in node.elts)

    def named(self, name: str) -> Value:
        found = self.attributes.get(name)
        return None if found is None else typed(found)

    def constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bool):
            return self.named(str(node.value))
        if node.value is None or isinstance(node.value, str | int | float):
            return node.value
        raise self.unsupported(node)

    def chain(self, node: ast.BoolOp) -> Value:
        found: Value = None
        for part in node.values:
            found = self.value(part)
            if bool(found) is isinstance(node.op, ast.Or):
                return found
        return found

    def unary(self, node: ast.UnaryOp) -> Value:
        found = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not found
        if isinstance(node.op, ast.Invert):
            raise self.unsupported(node)
        sign = "-" if isinstance(node.op, ast.USub) else "+"
        if not isinstance(found, int | float):
            raise self.stop(f"TypeError: bad operand type for unary {sign}: '{_type(found)}'")
        return -found if sign == "-" else +found

    def comparisons(self, node: ast.Compare) -> Iterator[bool]:
        first, left = node.left, self.value(node.left)
        for operator, second in zip(node.ops, node.comparators, strict=True):
            right = self.value(second)
            if isinstance(operator, ast.Is | ast.IsNot):
                yield _same(left, right, ast.dump(first) == ast.dump(second)) is isinstance(operator, ast.Is)
            else:
                yield self.compare(left, operator, right)
            first, left = second, right

    def compare(self, left: Value, operator: ast.cmpop, right: Value) -> bool:
        if isinstance(operator, ast.In | ast.NotIn):
            return self.contains(right, left) is isinstance(operator, ast.In)
        order = _order(left, right)
        if order is None:  # not-a-number is unequal to everything
            return isinstance(operator, ast.NotEq)
        return {
            ast.Eq: order == 0, ast.NotEq: order != 0, ast.Lt: order < 0,
            ast.LtE: order <= 0, ast.Gt: order > 0, ast.GtE: order >= 0,
        }[type(operator)]  # fmt: skip

    def contains(self, container: Value, item: Value) -> bool:
        if isinstance(container, str):
            if not isinstance(item, str):
                raise self.stop(f"TypeError: 'in <string>' requires string as left operand, not {_type(item)}")
            return item in container
        if isinstance(container, list | tuple):
            return any(_order(item, other) == 0 for other in container)
        raise self.stop(f"TypeError: argument of type '{_type(container)}' is not iterable")

    def attribute(self, node: ast.Attribute) -> Value:
        found = self.value(node.value)
        if isinstance(found, str) and hasattr("", node.attr):
            raise self.unsupported(node)
        raise self.stop(f"AttributeError: '{_type(found)}' object has no attribute '{node.attr}'")

    def call(self, node: ast.Call) -> Value:
        found = self.value(node.func)
        raise self.stop(f"TypeError: '{_type(found)}' object is not callable")

    def unsupported(self, node: ast.expr) -> DefinitionError:
        return DefinitionError(
            f"--legacy does not evaluate {type(node).__name__} in the condition {self.text!r}; "
            "it has names, values, comparisons, in, is, and, or, not",
            file=self.place.file or None,
            line=self.place.line or None,
        )


_EVALUATE: dict[type[ast.expr], Callable[[_Evaluator, Any], Value]] = {
    ast.Name: _Evaluator.name,
    ast.Constant: _Evaluator.constant,
    ast.BoolOp: _Evaluator.chain,
    ast.UnaryOp: _Evaluator.unary,
    ast.Compare: _Evaluator.comparison,
    ast.List: _Evaluator.list_of,
    ast.Tuple: _Evaluator.tuple_of,
    ast.Attribute: _Evaluator.attribute,
    ast.Call: _Evaluator.call,
}


def _type(value: Value) -> str:
    return "NoneType" if value is None else type(value).__name__


def _same(left: Value, right: Value, is_one_source: bool) -> bool:
    """Python 2's ``is``: values that are kept once; a text by one name, or a constant that is written twice."""
    if type(left) is not type(right):
        return False
    if left is None or isinstance(left, bool):
        return left is right
    if isinstance(left, int) and left in _SMALL_INTEGERS:
        return left == right
    return isinstance(left, str) and (is_one_source or left == right == "")


def _order(left: Value, right: Value) -> int | None:
    """Python 2's ``cmp``: -1, 0, 1; None when a value is not a number at all (nan)."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        if left != left or right != right:  # noqa: PLR0124
            return None
        return (left > right) - (left < right)
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if (isinstance(left, list) and isinstance(right, list)) or (isinstance(left, tuple) and isinstance(right, tuple)):
        for pair in zip(left, right, strict=False):
            order = _order(*pair)
            if order != 0:
                return order
        return (len(left) > len(right)) - (len(left) < len(right))
    ranks = _rank(left), _rank(right)
    return (ranks[0] > ranks[1]) - (ranks[0] < ranks[1])


def _rank(value: Value) -> tuple[int, str]:
    if value is None:
        return 0, ""
    return (1, "") if isinstance(value, int | float) else (2, _type(value))
