"""Sections of a node file as its author wrote them: conditions are parsed, references kept, nothing is evaluated.

Named tuples, because a compile makes thousands, in a third of the time that frozen dataclasses take.
"""

from __future__ import annotations

from collections.abc import Collection
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


def deciding_names(sections: Collection[Section]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the attributes that decide what sections contribute, in their conditions or put in by the frontend; and
    those of them whose values decide, and not only whether there is one."""
    scripts = [section for section in sections if isinstance(section, ScriptSection)]
    files = [part for script in scripts for part in script.parts if isinstance(part, FileSection)]
    texts = [section.names for section in sections if isinstance(section, PackageSection)]
    for file in files:
        texts += [text for text in (file.name, file.owner, file.perms, file.source) if text is not None]
    put_in = {reference.name for text in texts if text.plain is None for reference in text.references}
    conditions = {part.when for part in (*sections, *files)}
    names, weighed = [when.names for when in conditions], [when.weighed for when in conditions]
    return frozenset(put_in.union(*names)), frozenset(put_in.union(*weighed))
