"""Sections of a node file as its author wrote them: conditions are parsed, references kept, nothing is evaluated.

Named tuples, because a compile makes thousands, in a third of the time that frozen dataclasses take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from avalanche.condition import Condition
from avalanche.document import Text
from avalanche.sections import Fragment


class CommandSection(NamedTuple):
    """A child of ``<main>``."""

    command: str
    text: Text
    when: Condition
    line: int


class PackageSection(NamedTuple):
    """A ``<package>``, which may name several."""

    names: Text
    meta: bool
    disable: bool
    when: Condition
    line: int


class CommentSection(NamedTuple):
    """A ``<debug>``."""

    text: Text
    when: Condition
    line: int


class FileSection(NamedTuple):
    """A ``<file>`` in a script. ``expr`` is a command whose output comes before the text."""

    name: Text
    text: Text
    when: Condition
    line: int
    mode: str = "create"
    vars: str = "literal"
    owner: Text | None = None
    perms: Text | None = None
    source: Text | None = None
    expr: Text | None = None
    encoding: str | None = None
    keep: bool = True


class ScriptSection(NamedTuple):
    """A ``<pre>``, ``<post>`` (or ``<configure>``) or ``<boot>``. ``kind`` is ``pre post boot-pre boot-post``.

    ``strict`` is None where neither the script nor its file says.
    """

    kind: str
    parts: tuple[Fragment | FileSection, ...]
    when: Condition
    line: int
    interpreter: str
    chroot: bool
    strict: bool | None = None


Section = CommandSection | PackageSection | CommentSection | ScriptSection


def deciding_names(section: Section) -> Iterator[str]:
    """Yield the attributes that decide what a section contributes: in its conditions, or put in by the frontend."""
    for condition in _conditions(section):
        yield from condition.names
    yield from _put_in(section)


def weighed_names(section: Section) -> Iterator[str]:
    """Yield those of the deciding names whose values decide, and not only whether there is one."""
    for condition in _conditions(section):
        yield from condition.weighed
    yield from _put_in(section)


def _conditions(section: Section) -> Iterator[Condition]:
    yield section.when
    if isinstance(section, ScriptSection):
        yield from (part.when for part in section.parts if isinstance(part, FileSection))


def _put_in(section: Section) -> Iterator[str]:
    if isinstance(section, PackageSection):
        yield from (reference.name for reference in section.names.references)
    if isinstance(section, ScriptSection):
        for part in section.parts:
            if isinstance(part, FileSection):
                for text in (part.name, part.owner, part.perms, part.source):
                    if text is not None:
                        yield from (reference.name for reference in text.references)
