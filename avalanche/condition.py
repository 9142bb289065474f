"""Conditions: ``cond="arch == 'x86_64' and rack > 2"`` and the lists ``arch= os= release=``: parsed once, evaluated
often.

The text is parsed with Python's grammar and walked by an evaluator of our own; nothing is ever executed. Values
follow Rocks' words (docs/graph-format.md, *Conditions*): an attribute's value is text; ``on true yes y`` and ``off
false no n`` are truth values, digits are numbers, a name without a value is None. Versions compare as versions."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NoReturn

from avalanche.document import Element
from avalanche.errors import ConditionError

MAX_LENGTH = 1000  # characters of one condition
MAX_DEPTH = 40  # levels of nesting

Value = str | int | float | bool | None | list["Value"]
Values = Mapping[str, str]
Evaluate = Callable[[Values], Value]

WORDS = {
    **dict.fromkeys(("on", "true", "yes", "y"), True),
    **dict.fromkeys(("off", "false", "no", "n"), False),
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,2})?")
_VERSION = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})*")


@dataclass(frozen=True)
class OneOf:
    """The attribute is one of these values, as text or as a version: what ``arch="i386, x86_64"`` says."""

    name: str
    values: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    @property
    def weighed(self) -> frozenset[str]:
        return frozenset({self.name})

    def holds(self, values: Values) -> bool:
        found = values.get(self.name)
        return found is not None and any(_equal(found, value) for value in self.values)

    def __str__(self) -> str:
        return f'{self.name}="{", ".join(self.values)}"'


@dataclass(frozen=True)
class Expression:
    """The text of a ``cond=``, parsed. Of names that are not ``weighed`` it asks only whether they have a value."""

    text: str
    names: frozenset[str] = field(compare=False)
    weighed: frozenset[str] = field(compare=False, repr=False)
    evaluate: Evaluate = field(compare=False, repr=False)

    def holds(self, values: Values) -> bool:
        return truth(self.evaluate(values))

    def __str__(self) -> str:
        return self.text


_NOTHING = frozenset[str]()


@dataclass(frozen=True)
class Condition:
    """Holds when all of its clauses hold."""

    clauses: tuple[OneOf | Expression, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The attributes it mentions."""
        return _NOTHING.union(*[clause.names for clause in self.clauses]) if self.clauses else _NOTHING

    @property
    def weighed(self) -> frozenset[str]:
        """Those of the names whose values count, and not only whether there is one."""
        return _NOTHING.union(*[clause.weighed for clause in self.clauses]) if self.clauses else _NOTHING

    def holds(self, attributes: Values) -> bool:
        return not self.clauses or all(clause.holds(attributes) for clause in self.clauses)

    def __and__(self, other: Condition) -> Condition:
        if not other.clauses:
            return self
        if not self.clauses:
            return other
        return Condition((*self.clauses, *other.clauses))

    def __str__(self) -> str:
        return (
            " and ".join(f"({clause})" for clause in self.clauses)
            if len(self.clauses) > 1
            else "".join(map(str, self.clauses))
        )


ALWAYS = Condition()
LISTS = ("arch", "os", "release")  # XML attributes that are lists of accepted values
CONDITIONS = (*LISTS, "cond")


def parse_when(element: Element) -> Condition:
    """Read the ``arch os release cond`` of an element.

    Raises:
        ConditionError: the condition cannot be understood; names file and line.
        DefinitionError: one of them holds an attribute reference.
    """
    if element.attributes.keys().isdisjoint(CONDITIONS):
        return ALWAYS
    try:
        return _when(element.get("arch"), element.get("os"), element.get("release"), element.get("cond"))
    except ConditionError as error:
        raise ConditionError(error.message, file=element.file, line=element.line) from None


# The node files of a cluster hold few different conditions, each of them hundreds of times.
@lru_cache(maxsize=4096)
def _when(arch: str | None, os: str | None, release: str | None, cond: str | None) -> Condition:
    lists = zip(LISTS, (arch, os, release), strict=True)
    clauses = tuple(_one_of(name, listed) for name, listed in lists if listed is not None)
    return Condition(clauses) & (ALWAYS if cond is None else _condition(cond))


def _one_of(name: str, listed: str) -> OneOf:
    values = tuple(item.strip() for item in listed.split(",") if item.strip())
    if not values:
        raise ConditionError(f"{name}= names no value; leave it out or list some")
    return OneOf(name, values)


def parse_condition(text: str, *, file: str, line: int) -> Condition:
    """Parse the text of a ``cond=``; an empty one always holds.

    Raises:
        ConditionError: it is no condition, or uses what conditions do not have; names file and line.
    """
    try:
        return _condition(text)
    except ConditionError as error:
        raise ConditionError(error.message, file=file, line=line) from None


@lru_cache(maxsize=4096)
def _condition(text: str) -> Condition:
    text = " ".join(text.split())
    try:
        return Condition((_parse(text),)) if text else ALWAYS
    except ConditionError as error:
        raise ConditionError(f"condition {text[:200]!r}: {error.message}") from None


def _parse(text: str) -> Expression:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown escape in a string is a mistake, not a remark
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
        raise ConditionError(f"not understood ({reason}); write it as in \"arch == 'x86_64' and rack > 2\"") from None
    compiler = _Compiler()
    evaluate = compiler.compile(tree.body)
    return Expression(text, frozenset(compiler.names), frozenset(compiler.weighed), evaluate)


class _Compiler:
    """Turns the syntax tree into closures; knows which names were mentioned, and whose values count."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.weighed: set[str] = set()
        self.depth = 0

    def compile(self, node: ast.expr) -> Evaluate:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConditionError(f"nested deeper than {MAX_DEPTH} levels")
        try:
            return self._compile(node)
        finally:
            self.depth -= 1

    def _compile(self, node: ast.expr) -> Evaluate:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name | ast.Attribute):
            name = self._name(node)
            self.weighed.add(name)
            return lambda values: values.get(name)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BoolOp | ast.List | ast.Tuple):
            return self._several(node)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        self._refuse(node)

    def _constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        if value is None or isinstance(value, str | int | float):
            return lambda _: value
        self._refuse(node)

    def _unary(self, node: ast.UnaryOp) -> Evaluate:
        inner = self.compile(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda values: not truth(inner(values))
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            number = node.operand.value
            if isinstance(number, int | float):
                return lambda _: -number
        self._refuse(node)

    def _name(self, node: ast.expr) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            self._refuse(node)
        name = ".".join([node.id, *reversed(parts)])
        self.names.add(name)
        return name

    def _several(self, node: ast.BoolOp | ast.List | ast.Tuple) -> Evaluate:
        parts = [self.compile(part) for part in (node.values if isinstance(node, ast.BoolOp) else node.elts)]
        if not isinstance(node, ast.BoolOp):
            return lambda values: [part(values) for part in parts]
        if isinstance(node.op, ast.And):
            return lambda values: all(truth(part(values)) for part in parts)
        return lambda values: any(truth(part(values)) for part in parts)

    def _comparison(self, node: ast.Compare) -> Evaluate:
        if len(node.ops) == 1 and isinstance(node.left, ast.Name | ast.Attribute) and _is_none(node.comparators[0]):
            name = self._name(node.left)
            if isinstance(node.ops[0], ast.Is):
                return lambda values: values.get(name) is None
            if isinstance(node.ops[0], ast.IsNot):
                return lambda values: values.get(name) is not None
        parts = [self.compile(part) for part in (node.left, *node.comparators)]
        tests = [_TESTS[type(op)] for op in node.ops]
        for op, right in zip(node.ops, node.comparators, strict=True):
            singleton = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
            if isinstance(op, ast.Is | ast.IsNot) and not singleton:
                raise ConditionError("'is' compares with None, True or False only; use ==")

        if len(tests) == 1:
            (first, second), (single,) = parts, tests
            return lambda values: single(first(values), second(values))

        def evaluate(values: Values) -> bool:
            found = [part(values) for part in parts]
            return all(test(*pair) for test, pair in zip(tests, pairwise(found), strict=True))

        return evaluate

    def _refuse(self, node: ast.expr) -> NoReturn:
        kind = {
            "Call": "calls", "BinOp": "arithmetic", "Subscript": "[...] after a name", "JoinedStr": "f-strings",
            "IfExp": "if-else",
        }.get(type(node).__name__, f"{type(node).__name__} expressions")  # fmt: skip
        raise ConditionError(
            f"{kind} cannot stand in a condition; it has names, values, comparisons, in, is, and, or, not"
        )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def truth(value: Value) -> bool:
    """Say whether a value counts as true: text by Rocks' words and numbers, None and '' as false."""
    return bool(_typed(value)) if isinstance(value, str) else bool(value)


def looks_like(text: str) -> str:
    """Say what a text counts as: ``truth value``, ``number``, ``version`` or ``word``."""
    typed = _typed(text)
    if isinstance(typed, bool):
        return "truth value"
    if not isinstance(typed, str):
        return "number"
    return "version" if _version(text) is not None else "word"


@lru_cache(maxsize=4096)
def _typed(text: str) -> Value:
    word = WORDS.get(text.lower())
    if word is not None:
        return word
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _version(value: Value) -> tuple[int, ...] | None:
    """Read a version, with its trailing zeros dropped, so that 7 and 7.0 are equal."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return _version_of(str(value))


@lru_cache(maxsize=4096)
def _version_of(text: str) -> tuple[int, ...] | None:
    if not _VERSION.fullmatch(text):
        return None
    numbers = [int(number) for number in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        if left == right:
            return True
        versions = _version(left), _version(right)
        return versions[0] == versions[1] if None not in versions else _typed(left) == _typed(right)
    if isinstance(left, str):
        left = _typed(left)
    if isinstance(right, str):
        right = _typed(right)
    if isinstance(left, str) or isinstance(right, str):
        versions = _version(left), _version(right)
        return versions[0] is not None and versions[0] == versions[1]
    return left == right


def _less(left: Value, right: Value) -> bool | None:
    """Say whether left comes before right, or None when they cannot be ordered."""
    if isinstance(left, list) or isinstance(right, list) or left is None or right is None:
        return None
    if isinstance(left, str) and isinstance(right, str):
        lower, upper = _version(left), _version(right)
        if lower is not None and upper is not None:
            return lower < upper
    first = _typed(left) if isinstance(left, str) else left
    second = _typed(right) if isinstance(right, str) else right
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first < second
    lower, upper = _version(left), _version(right)
    if lower is not None and upper is not None:
        return lower < upper
    return left < right if isinstance(left, str) and isinstance(right, str) else None


def _contains(item: Value, container: Value) -> bool:
    if isinstance(container, list):
        return any(_equal(item, other) for other in container)
    return isinstance(container, str) and isinstance(item, str) and item in container


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, str):
        left = _typed(left)
    return left is right


_TESTS: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.Lt: lambda left, right: _less(left, right) is True,
    ast.GtE: lambda left, right: _less(left, right) is False,
    ast.Gt: lambda left, right: _less(right, left) is True,
    ast.LtE: lambda left, right: _less(right, left) is False,
    ast.In: _contains,
    ast.NotIn: lambda item, container: not _contains(item, container),
    ast.Is: _same,
    ast.IsNot: lambda left, right: not _same(left, right),
}
