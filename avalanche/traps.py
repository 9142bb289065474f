"""Traps: conditions that say something else than their author will think, or than Rocks made of them.

Rocks gave every attribute a type by its looks and let Python compare; so ``release="7.0"`` never held there, for 7.0
was a number and "7.0" a text. Here versions compare as versions (docs/graph-format.md, *Conditions*). Where both
disagree, whoever brings a roll along should know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from avalanche.condition import Condition, Expression, OneOf, looks_like

ORDERINGS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
EQUALITIES = (ast.Eq, ast.NotEq)

Trap = tuple[str, str]
"""A stable code and a message."""


def traps(condition: Condition, attributes: Mapping[str, str] | None = None) -> Iterator[Trap]:
    """Yield what is suspicious about a condition.

    Args:
        attributes: values to see it with, where they are known.
    """
    for number, clause in enumerate(condition.clauses):
        if isinstance(clause, OneOf):
            yield from _list_traps(clause)
            continue
        tree = ast.parse(clause.text, mode="eval").body
        if len(condition.clauses) > 1 and isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.Or):
            others = condition.clauses[:number] + condition.clauses[number + 1 :]
            yield (
                "cond-precedence",
                f"both {str(others[0])!r} and {clause.text!r} must hold; Rocks, without parentheses around the latter, "
                "was content with its end",
            )
        if not clause.names:
            yield "cond-constant", f"condition {clause.text!r} names no attribute, so it is always the same"
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                yield from _comparison_traps(node, clause, attributes)


def guarded(expression: Expression) -> frozenset[str]:
    """Return the names whose author knows that they may have no value: ``x is None``, ``x is not None``."""
    found = set()
    for node in ast.walk(ast.parse(expression.text, mode="eval")):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            found.add(ast.unparse(node.left))
    return frozenset(found)


def _list_traps(clause: OneOf) -> Iterator[Trap]:
    for value in clause.values:
        kind = looks_like(value)
        if kind not in ("word", "version"):
            shown = f'{clause.name}="{value}"'
            yield (
                "cond-quoted",
                f"{shown} holds here; Rocks, where {value} was a {kind}, never found it equal to a text",
            )


def _comparison_traps(node: ast.Compare, clause: Expression, attributes: Mapping[str, str] | None) -> Iterator[Trap]:
    sides = [node.left, *node.comparators]
    for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
        for name, other in ((left, right), (right, left)):
            if isinstance(name, ast.Name | ast.Attribute) and isinstance(other, ast.Constant):
                yield from _pair_traps(ast.unparse(name), op, other, ast.unparse(node), attributes)
        if all(isinstance(side, ast.Constant) for side in (left, right)):
            yield "cond-constant", f"{ast.unparse(node)!r} compares values with each other and no attribute"
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Constant) and isinstance(left, ast.Name):
            message = f"{ast.unparse(node)!r} looks for a part of a text; a list is written [{right.value!r}]"
            yield "cond-in-text", message
    for side in sides:
        # 8.10 is parsed as 8.1; only the text still knows.
        if isinstance(side, ast.Constant) and isinstance(side.value, float):
            written = ast.get_source_segment(clause.text, side) or ""
            if written.endswith("0") and not written.endswith(".0"):
                yield "cond-number", f"{written} is the number {side.value}; quote a version: '{written}'"


def _pair_traps(
    name: str, op: ast.cmpop, constant: ast.Constant, shown: str, attributes: Mapping[str, str] | None
) -> Iterator[Trap]:
    value = constant.value
    if isinstance(value, bool) and isinstance(op, EQUALITIES):
        yield (
            "cond-boolean",
            f"{shown!r}: Rocks knows no {value} and compared with None; write {name!r} or 'not {name}' for both",
        )
        return
    if isinstance(value, str):
        kind = looks_like(value)
        if isinstance(op, EQUALITIES) and kind not in ("word", "version"):
            yield (
                "cond-quoted",
                f"{shown!r} finds {value} and '{value}' equal; in Rocks, where {value} was a {kind} and no "
                "text, they never were",
            )
        if isinstance(op, ORDERINGS) and kind == "word":
            yield "cond-order", f"{shown!r} compares by the alphabet, for {value!r} is neither number nor version"
        return
    found = attributes.get(name) if attributes is not None else None
    if found is None or not isinstance(value, int | float):
        return
    kind = looks_like(found)
    if kind == "word":
        result = "never" if not isinstance(op, ast.NotEq) else "always"
        yield "cond-word", f"{shown!r}: {name} is the word {found!r}, which is compared with a number: {result} true"
    elif kind == "version" and isinstance(op, ORDERINGS):
        yield (
            "cond-version",
            f"{shown!r}: {name} is the version {found!r} and compared as one; Rocks found it greater than every number",
        )
