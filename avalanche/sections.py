"""Sections: what a profile is made of. Frozen values that are valid from birth; a wrong one is a ProfileError.

Part of the agent's import closure (Python 3.9, standard library). ``node`` names the node file a section comes from,
``line`` its line there, counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional, Union

from avalanche import document
from avalanche.document import Text
from avalanche.errors import ProfileError

BASH = "/bin/bash"
SHELLS = frozenset({BASH, "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"})  # bash runs them all, to trace failures
# The text of a pipe is a command that the file goes through; that of the outputs, a command that writes the file.
FILE_MODES = ("create", "append", "pipe", "output", "append-output")
FILE_VARS = ("literal", "expanded")
_MODES, _VARS = ", ".join(FILE_MODES), ", ".join(FILE_VARS)

_INTERPRETER = re.compile(r"/[A-Za-z0-9_./+-]+")
_PERMS = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxXst]*(,[ugoa]*[-+=][rwxXst]*)*")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*([.:][A-Za-z0-9_][A-Za-z0-9_-]*)?")
_COMMAND = re.compile(r"[a-z][a-z0-9]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\n]*")
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9/*?][A-Za-z0-9_.+*?~:/^()\[\]-]*")
_GROUP = re.compile(r"\^?[A-Za-z0-9][A-Za-z0-9_.+~:/&()'-]*( [A-Za-z0-9_.+~:/&()'][A-Za-z0-9_.+~:/&()'-]*)*")


def require(condition: object, message: str, *values: object) -> None:
    """Raise a ProfileError unless the condition is true; only then the values are put into the message."""
    if not condition:
        raise ProfileError(message.format(*values))


def is_interpreter(path: str) -> bool:
    """Say whether a script may name this as its interpreter."""
    return path == BASH or _INTERPRETER.fullmatch(path) is not None


def is_one_line(text: Text) -> bool:
    """Say whether a text's own characters are printable ones and tabs: no line ends in it, for whomever reads it."""
    return all(part.replace("\t", " ").isprintable() for part in text.parts if isinstance(part, str))


def _require_characters(text: Text, where: str, *values: object) -> None:
    for part in text.parts:
        found = document.forbidden(part) if isinstance(part, str) else None
        if found is not None:
            where = where.format(*values)
            raise ProfileError(f"{where} holds {found}, which XML cannot carry; encode it, e.g. as base64")


def _is_file_path(name: str) -> bool:
    return name.startswith("/") and not name.endswith("/") and name.isprintable()


@dataclass(frozen=True)
class NodeName:
    """A node file that is part of the profile. ``file`` is its path in the roll."""

    name: str
    file: str
    roll: str

    def __post_init__(self) -> None:
        require(NODE.fullmatch(self.name), "{!r} is no node name", self.name)
        for value in (self.file, self.roll):
            require(value and value.isprintable(), "{!r} cannot name a file or a roll", value)


@dataclass(frozen=True)
class Comment:
    """Text of a ``<debug>``: comments at the kickstart's top."""

    text: Text
    node: str
    line: int

    def __post_init__(self) -> None:
        _require_characters(self.text, "<debug>")


@dataclass(frozen=True)
class Command:
    """A line of the kickstart's command part, from a child of ``<main>``."""

    command: str
    text: Text
    node: str
    line: int

    def __post_init__(self) -> None:
        require(_COMMAND.fullmatch(self.command), "{!r} is no kickstart command", self.command)
        require(is_one_line(self.text), "the text of <{}> is not one line of printable characters", self.command)


@dataclass(frozen=True)
class PackageRequest:
    """A package, or a group of them (``meta``), to install or (``disable``) to keep out."""

    name: str
    meta: bool
    disable: bool
    node: str
    file: str
    line: int

    def __post_init__(self) -> None:
        form = _GROUP if self.meta else _PACKAGE
        require(form.fullmatch(self.name), "{!r} is no name of a {}", self.name, self.kind)

    @property
    def kind(self) -> str:
        return "group" if self.meta else "package"


@dataclass(frozen=True)
class FileWrite:
    """A ``<file>`` of a script: the file is there, with this text, when the script goes on.

    Attributes:
        source: the file that a pipe reads instead of the one it writes.
        encoding: ``base64`` when the text is that of the content's bytes.
        keep: what was there before any script wrote it is kept once, as the original.
    """

    name: str
    text: Text
    line: int
    mode: str = "create"
    owner: Optional[str] = None
    perms: Optional[str] = None
    vars: str = "literal"
    source: Optional[str] = None
    encoding: Optional[str] = None
    keep: bool = True

    def __post_init__(self) -> None:
        require(_is_file_path(self.name), "<file name={!r}>: name is the absolute path of a file", self.name)
        require(self.mode in FILE_MODES, f"<file mode={{!r}}>: mode is one of {_MODES}", self.mode)
        require(self.vars in FILE_VARS, f"<file vars={{!r}}>: vars is one of {_VARS}", self.vars)
        if self.source is not None:
            require(self.mode == "pipe", "<file src={!r}> goes with mode='pipe' only", self.source)
            require(_is_file_path(self.source), "<file src={!r}>: src is the absolute path of a file", self.source)
        known = self.encoding in (None, "base64")
        require(known, "<file encoding={!r}>: the encoding is base64, or none", self.encoding)
        if self.encoding is not None:
            content = self.text.plain
            require(content is not None and _BASE64.fullmatch(content), "<file name={!r}> is not base64", self.name)
            require(self.mode == "create", "an encoded <file> has mode='create'")
        require(
            self.perms is None or _PERMS.fullmatch(self.perms),
            "<file perms={!r}>: write octal digits, as 0644, or letters, as u=rw,go=r",
            self.perms,
        )
        fits = self.owner is None or _OWNER.fullmatch(self.owner)
        require(fits, "<file owner={!r}>: write USER or USER:GROUP", self.owner)
        _require_characters(self.text, "<file name={!r}>", self.name)


@dataclass(frozen=True)
class Fragment:
    """Text of a script's own language; ``line`` is where it begins in the node file."""

    text: Text
    line: int

    def __post_init__(self) -> None:
        _require_characters(self.text, "the script")


@dataclass(frozen=True)
class Script:
    """A ``<pre>``, ``<post>`` or ``<boot>``: fragments and files in order, run by an interpreter.

    Attributes:
        chroot: false for a ``<post>`` that runs outside the installed system; a ``<pre>`` does in any case.
        strict: whether a command that fails ends the script, and the installation.
    """

    parts: tuple[Union[Fragment, FileWrite], ...]
    node: str
    line: int
    interpreter: str = BASH
    chroot: bool = True
    strict: bool = True

    def __post_init__(self) -> None:
        known = is_interpreter(self.interpreter)
        require(known, "interpreter {!r} is no absolute path without blanks", self.interpreter)

    @property
    def texts(self) -> Iterator[Text]:
        return (part.text for part in self.parts)
