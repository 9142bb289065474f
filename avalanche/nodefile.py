"""Node files: one module of an appliance, from bytes to values.

Conditions are parsed and references kept; nothing is evaluated here. docs/node-format.md tells what there is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from avalanche.condition import CONDITIONS, Condition, parse_when
from avalanche.document import Element, Reference, Text, parse_document
from avalanche.errors import DefinitionError, NodeFileError, ProfileError
from avalanche.graph import IGNORED
from avalanche.remark import Remark
from avalanche.sections import BASH, FILE_MODES, FILE_VARS, SHELLS, Fragment, Script, is_one_line

# What a later release of the language brings; named here so that the answer is "not yet", not "unknown".
LATER_TAGS = frozenset({
    "eval", "include", "sinclude", "var", "copy", "configure", "boot", "debug", "attributes", "ansible",
})  # fmt: skip

LATER_ATTRIBUTES = frozenset({"phase", "gen", "expr", "rcs", "src", "include"})

# Where packages come from is the agent's business: a byte from elsewhere would not be checked against the manifest.
SOURCES = frozenset({
    "url", "repo", "nfs", "cdrom", "harddrive", "hmc", "liveimg", "ostreesetup", "ostreecontainer", "bootc",
    "install", "module",
})  # fmt: skip

# Commands of pykickstart's newest EL and Fedora handlers; a test compares them.
COMMANDS = frozenset({
    "auth", "authconfig", "authselect", "autopart", "autostep", "bootc", "bootloader", "btrfs", "cdrom",
    "clearpart", "cmdline", "driverdisk", "eula", "fcoe", "firewall", "firstboot", "graphical", "group",
    "halt", "harddrive", "hmc", "ignoredisk", "iscsi", "iscsiname", "keyboard", "lang", "liveimg", "logging",
    "logvol", "mediacheck", "module", "mount", "network", "nfs", "nvdimm", "ostreecontainer", "ostreesetup",
    "part", "partition", "poweroff", "raid", "rdp", "realm", "reboot", "repo", "reqpart", "rescue", "rhsm",
    "rootpw", "selinux", "services", "shutdown", "skipx", "snapshot", "sshkey", "sshpw", "syspurpose", "text",
    "timesource", "timezone", "updates", "url", "user", "vnc", "volgroup", "xconfig", "zerombr", "zfcp",
    "zipl",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandSection:
    """A child of ``<main>``."""

    command: str
    text: Text
    when: Condition
    line: int


@dataclass(frozen=True, slots=True)
class PackageSection:
    """A ``<package>``, which may name several."""

    names: Text
    meta: bool
    disable: bool
    when: Condition
    line: int


@dataclass(frozen=True, slots=True)
class FileSection:
    """A ``<file>`` in a script."""

    name: Text
    text: Text
    when: Condition
    line: int
    mode: str
    vars: str
    owner: Text | None
    perms: Text | None


@dataclass(frozen=True, slots=True)
class ScriptSection:
    """A ``<pre>`` or ``<post>``."""

    kind: str
    parts: tuple[Fragment | FileSection, ...]
    when: Condition
    line: int
    interpreter: str
    chroot: bool


Section = CommandSection | PackageSection | ScriptSection


@dataclass(frozen=True)
class NodeFile:
    """One node file. ``file`` is its path as its author knows it, ``path`` the one in its roll."""

    name: str
    file: str
    roll: str
    sections: tuple[Section, ...]
    remarks: tuple[Remark, ...] = ()

    def __repr__(self) -> str:
        return f"<NodeFile {self.name} {self.file}, {len(self.sections)} sections>"

    @property
    def path(self) -> str:
        return "/".join(self.file.split("/")[-2:])

    @property
    def names(self) -> frozenset[str]:
        """The attributes that decide what it contributes: in conditions, package names, file names, owners, perms."""
        return frozenset(name for section in self.sections for name in _names(section))


def _names(section: Section) -> Iterator[str]:
    yield from section.when.names
    if isinstance(section, PackageSection):
        yield from (reference.name for reference in section.names.references)
    if isinstance(section, ScriptSection):
        for part in section.parts:
            if isinstance(part, FileSection):
                yield from part.when.names
                for text in (part.name, part.owner, part.perms):
                    if text is not None:
                        yield from (reference.name for reference in text.references)


def parse_nodefile(data: bytes, *, name: str, file: str, roll: str) -> NodeFile:
    """Read a node file.

    Args:
        name: the node's name.
        file: its path, ending in ``nodes/NAME.xml``.
        roll: the roll it belongs to.

    Raises:
        NodeFileError: it is malformed, or has a tag or attribute that means nothing here; names the line.
        ConditionError: a condition cannot be understood.
    """
    try:
        root = parse_document(data, file=file, references=True)
        if root.tag != "kickstart":
            root.fail(f"a node file holds <kickstart>, not <{root.tag}>")
        if any(condition in root.attributes for condition in CONDITIONS):
            root.fail("a condition on <kickstart> has no effect; put it on the edge that leads here")
        root.allow("roll", "interface")
        return NodeFile(name, file, roll, tuple(_read_sections(root)))
    except DefinitionError as error:
        if isinstance(error, NodeFileError) or type(error) not in (DefinitionError, ProfileError):
            raise
        raise NodeFileError(error.message, file=error.file, line=error.line) from None


def _read_sections(root: Element) -> Iterator[Section]:
    for element in root.children():
        if element.tag == "main":
            yield from _read_main(element)
        elif element.tag == "package":
            yield _read_package(element)
        elif element.tag in ("pre", "post"):
            yield _read_script(element)
        elif element.tag not in IGNORED:
            _refuse(element, "a node file holds main, package, pre, post, description, changelog, copyright")


def _refuse(element: Element, known: str) -> None:
    if element.tag in LATER_TAGS:
        element.fail(f"<{element.tag}> is not supported yet")
    element.fail(f"<{element.tag}> is unknown here; {known}")


def _when(element: Element, *names: str) -> Condition:
    """Check the attributes of an element, and read its condition."""
    for name in LATER_ATTRIBUTES & element.attributes.keys():
        element.fail(f"{name}= of <{element.tag}> is not supported yet")
    element.allow(*names, *CONDITIONS)
    return parse_when(element)


def _read_main(main: Element) -> Iterator[CommandSection]:
    when = _when(main)
    for element in main.children():
        inner = _when(element)
        if element.tag in SOURCES:
            element.fail(f"<{element.tag}> is not for node files: packages come from the distribution")
        if element.tag not in COMMANDS and element.tag != "include":
            element.fail(f"<{element.tag}> is no kickstart command that pykickstart knows")
        text = element.text().strip()
        if not is_one_line(text):
            element.fail(f"<{element.tag}> spans several lines; a command is one line, so write one element for each")
        if element.tag == "include" and not (text.plain or "").startswith("/"):
            element.fail("<include> in <main> names the absolute path of a file that a <pre> makes")
        yield CommandSection(element.tag, text, when & inner, element.line)


def _read_package(element: Element) -> PackageSection:
    when = _when(element, "type", "disable")
    kind = element.get("type")
    if kind not in (None, "meta"):
        element.fail(f"type={kind!r} of <package> is unknown; type='meta' names a group")
    disable = element.get("disable")
    if disable is not None and disable.lower() not in ("1", "true", "yes", "on"):
        element.fail(f"disable={disable!r} is unclear; write disable='1', or leave it out to install the package")
    return PackageSection(element.text(), kind == "meta", disable is not None, when, element.line)


def _read_script(element: Element) -> ScriptSection:
    when = _when(element, "interpreter", "arg")
    interpreter, chroot = _read_arguments(element)
    try:
        Script((), element.tag, element.line, interpreter)
    except ProfileError as error:
        element.fail(error.message)
    parts: list[Fragment | FileSection] = []
    run: list[str | Reference] = []
    begin = element.line
    for item, line in zip(element.content, element.lines, strict=True):
        if not isinstance(item, Element):
            begin = begin if run else line
            run.append(item)
            continue
        if item.tag != "file":
            _refuse(item, f"<{element.tag}> holds text and <file>")
        if interpreter not in SHELLS:
            item.fail(f"<file> is written by the shell; move it to a <{element.tag}> without interpreter=")
        parts.extend(_read_fragment(run, begin))
        parts.append(_read_file(item))
        run = []
    parts.extend(_read_fragment(run, begin))
    return ScriptSection(element.tag, tuple(parts), when, element.line, interpreter, chroot)


def _read_arguments(element: Element) -> tuple[str, bool]:
    """Read ``interpreter=`` and ``arg=``; in Rocks' old style the latter holds ``--interpreter X``."""
    interpreter, chroot = element.get("interpreter"), True
    try:
        words = shlex.split((element.get("arg") or "").replace("=", " "))
    except ValueError as error:
        element.fail(f"arg= cannot be split into words: {error}")
    while words:
        word = words.pop(0)
        if word == "--nochroot" and element.tag == "post":
            chroot = False
        elif word == "--interpreter" and words and interpreter is None:
            interpreter = words.pop(0)
        elif word != "--erroronfail":
            element.fail(f"{word!r} has no place in arg=; it takes --nochroot (of <post>) and --interpreter PATH, once")
    return interpreter or BASH, chroot


def _read_fragment(run: list[str | Reference], line: int) -> Iterator[Fragment]:
    """Make a fragment of the text between files, without the blank lines before it; none of blanks only."""
    text = Text(tuple(run))
    while text.parts and isinstance(text.parts[0], str):
        first, newline, rest = text.parts[0].partition("\n")
        if first.strip() or not newline:
            break
        text, line = Text((rest, *text.parts[1:])), line + 1
    if text.strip():
        parts = text.parts
        if isinstance(parts[-1], str) and "\n" in parts[-1]:
            parts = (*parts[:-1], parts[-1].rstrip() + "\n")  # the indentation of the end tag is not the script's
        yield Fragment(Text(parts), line)


def _read_file(element: Element) -> FileSection:
    when = _when(element, "name", "mode", "owner", "perms", "vars")
    if "name" not in element.attributes:
        element.fail("<file> needs name=, the absolute path of the file")
    mode, variables = element.get("mode") or "create", element.get("vars") or "literal"
    if mode not in FILE_MODES:
        wrong = "not supported yet" if mode == "pipe" else "unknown"
        element.fail(f"mode={mode!r} is {wrong}; choose create or append")
    if variables not in FILE_VARS:
        element.fail(f"vars={variables!r} is unknown; choose literal or expanded")
    return FileSection(
        name=element.attributes["name"].strip(),
        text=_file_text(element.text()),
        when=when,
        line=element.line,
        mode=mode,
        vars=variables,
        owner=element.attributes.get("owner"),
        perms=element.attributes.get("perms"),
    )


def _file_text(text: Text) -> Text:
    """Drop a newline right after the start tag and blanks right before the end tag; end the last line (Rocks' rule)."""
    parts = list(text.parts)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].removeprefix("\n")
    if parts and isinstance(parts[-1], str):
        kept, newline, last = parts[-1].rpartition("\n")
        if newline and not last.strip():
            parts[-1] = kept + newline
        elif len(parts) == 1 and not last.strip():
            parts.pop()
    ended = not parts or parts[-1] == "" or (isinstance(parts[-1], str) and parts[-1].endswith("\n"))
    return Text(tuple(parts) if ended else (*parts, "\n"))
