"""Difference: what two hosts, or one host before and after, do not have in common.

Profiles are compared with their references in place (``&name;``), so that no text holds an attribute's value; of a
secret attribute only is told that it differs.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from avalanche.attributes import Attributes
from avalanche.document import Element, Reference, parse_document
from avalanche.profile import Profile

CONTEXT = 2  # lines around a change
WITHOUT = ("node", "line")  # where a section comes from is told apart from what it says


@dataclass(frozen=True, slots=True)
class Change:
    """Something that one side has and the other has not, or has otherwise; None where a side has it not.

    ``lines`` begin with ``-``, ``+`` or a blank, as in a unified diff.
    """

    kind: str
    name: str
    before: str | None = None
    after: str | None = None
    lines: tuple[str, ...] = ()


def differences(
    before: Profile, after: Profile, *, attributes: tuple[Attributes, Attributes] | None = None
) -> tuple[Change, ...]:
    """Compare two profiles, and the attributes they are rendered with.

    Kinds of change: ``root``, ``release``, ``node``, ``order``, ``package``, ``attribute``; and ``main``, ``pre``,
    ``post``, ... with the node's name and a diff.
    """
    return tuple(_changes(before, after, attributes))


def _changes(before: Profile, after: Profile, attributes: tuple[Attributes, Attributes] | None) -> Iterator[Change]:
    for kind, left, right in (("root", before.root, after.root), ("release", before.release, after.release)):
        if left != right:
            yield Change(kind, kind, left, right)
    yield from _node_changes(before, after)
    yield from _package_changes(before, after)
    yield from _section_changes(before, after)
    if attributes is not None:
        yield from _attribute_changes(*attributes)


def _node_changes(before: Profile, after: Profile) -> Iterator[Change]:
    left = {node.name: f"{node.roll}: {node.file}" for node in before.nodes}
    right = {node.name: f"{node.roll}: {node.file}" for node in after.nodes}
    yield from (Change("node", *row) for row in _rows(left, right))
    common = [[name for name in one if name in other] for one, other in ((left, right), (right, left))]
    if common[0] != common[1]:
        yield Change("order", "nodes", lines=_diff(*common))


def _package_changes(before: Profile, after: Profile) -> Iterator[Change]:
    sides = []
    for profile in (before, after):
        found = {f"{'@' if request.meta else ''}{request.name}": "installed" for request in profile.requested}
        found |= {f"{'@' if request.meta else ''}{request.name}": "kept out" for request in profile.excluded}
        sides.append(found)
    yield from (Change("package", *row) for row in _rows(*sides))


def _section_changes(before: Profile, after: Profile) -> Iterator[Change]:
    left, right = _sections(before), _sections(after)
    for key in list(dict.fromkeys((*left, *right))):
        if left[key] != right[key]:
            yield Change(key[1], key[0], lines=_diff(left[key], right[key]))


def _attribute_changes(before: Attributes, after: Attributes) -> Iterator[Change]:
    sides: list[dict[str, str]] = [dict(before), dict(after)]
    secret = {attribute.name for side in (before, after) for attribute in side.effective() if attribute.secret}
    for name, left, right in _rows(*sides):
        hidden = name in secret
        yield Change("attribute", name, _hidden(left) if hidden else left, _hidden(right) if hidden else right)


def _hidden(value: str | None) -> str | None:
    return None if value is None else "(secret)"


def _rows(left: dict[str, str], right: dict[str, str]) -> Iterator[tuple[str, str | None, str | None]]:
    for name in sorted({*left, *right}):
        if left.get(name) != right.get(name):
            yield name, left.get(name), right.get(name)


def _diff(left: Iterable[str], right: Iterable[str]) -> tuple[str, ...]:
    lines = difflib.unified_diff(list(left), list(right), lineterm="", n=CONTEXT)
    return tuple(line for number, line in enumerate(lines) if number > 1 and not line.startswith("@@"))


def _sections(profile: Profile) -> dict[tuple[str, str], list[str]]:
    """The lines of a profile's commands and scripts, by node and kind, as its XML tells them."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    root = parse_document(profile.to_xml(), file="profile", size=64 << 20, count=1_000_000)
    for element in root.children():
        if element.tag not in ("node", "package"):
            found[element.get("node") or "", element.tag].extend(_lines(element))
    return found


def _lines(element: Element) -> list[str]:
    told = {name: element.get(name) for name in element.attributes if name not in WITHOUT}
    command = told.pop("command", None)
    if command is not None:
        return [f"{command} {_flat(element)}".rstrip()]
    shown = "".join(f" {name}={value}" for name, value in told.items())
    lines = [f"<{element.tag}{shown}>"] if element.tag != "text" else []
    text = ""
    for item in element.content:
        if isinstance(item, Element) and item.tag != "ref":
            lines += [*text.strip("\n").splitlines(), *_lines(item)]
            text = ""
        else:
            text += _shown(item)
    return [*lines, *text.strip("\n").splitlines()]


def _flat(element: Element) -> str:
    return "".join(_shown(item) for item in element.content)


def _shown(item: str | Reference | Element) -> str:
    if isinstance(item, str):
        return item
    return f"&{item.name};" if isinstance(item, Reference) else f"&{item.get('name')};"
