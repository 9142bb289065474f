"""Profile: what stage 1 compiles for a host and stage 2 renders; and its XML (docs/protocol.md §3, docs/profile.rng).

Part of the agent's import closure (Python 3.9, standard library). Attribute references stay symbolic in a profile, so
that its bytes are the same for every host that agrees on the attributes its conditions mention.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Optional, TypeVar, Union

from avalanche import document
from avalanche.attributes import Attributes
from avalanche.document import Element, Reference, Text
from avalanche.errors import DefinitionError, ProfileError, UndefinedAttribute
from avalanche.membership import Membership
from avalanche.sections import (
    BASH,
    NODE,
    Command,
    Comment,
    FileWrite,
    Fragment,
    NodeName,
    PackageRequest,
    Script,
    require,
)

__all__ = [
    "Command",
    "Comment",
    "FileWrite",
    "Fragment",
    "Installation",
    "Membership",
    "NodeName",
    "PackageRequest",
    "Profile",
    "Reference",
    "Script",
    "Text",
    "installation_document",
    "parse_installation",
    "parse_profile",
]

VERSION = "1"
MAX_SIZE = 4 << 20  # bytes
MAX_DEPTH = 16
MAX_ELEMENTS = 100_000

Section = Union[Comment, Command, PackageRequest, Script]
SCRIPTS = ("pre", "post", "boot-pre", "boot-post")


@dataclass(frozen=True)
class Profile:
    """The sections of a host's installation, each kind in the order in which it takes effect.

    ``boot_pre`` and ``boot_post`` run when the installed system boots for the first time: before its services, and
    after them.
    """

    root: str
    release: str
    nodes: tuple[NodeName, ...]
    commands: tuple[Command, ...] = ()
    packages: tuple[PackageRequest, ...] = ()
    pre: tuple[Script, ...] = ()
    post: tuple[Script, ...] = ()
    boot_pre: tuple[Script, ...] = ()
    boot_post: tuple[Script, ...] = ()
    comments: tuple[Comment, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.root, self.release):
            require(NODE.fullmatch(value), "{!r} is no name of a root node or release", value)
        others = (*self.pre, *self.boot_pre, *self.boot_post)
        require(all(script.chroot for script in others), "chroot is a property of <post> only")
        files = {node.name: node.file for node in self.nodes}
        require(len(files) == len(self.nodes), "a node is named twice")
        sections: tuple[Section, ...] = (*self.comments, *self.commands, *self.packages, *self.scripts)
        unknown = sorted({section.node for section in sections} - files.keys())
        require(not unknown, "a section names the node {!r}, which the profile does not list", *unknown)
        require(all([section.line >= 1 for section in sections]), "lines are counted from 1")
        for package in self.packages:
            same = package.file == files[package.node]
            require(same, "package {} names another file than its node", package.name)

    @property
    def scripts(self) -> tuple[Script, ...]:
        """All scripts: pre, post, boot."""
        return (*self.pre, *self.post, *self.boot_pre, *self.boot_post)

    def node(self, name: str) -> NodeName:
        """Return the node of this name."""
        return next(node for node in self.nodes if node.name == name)

    @property
    def requested(self) -> tuple[PackageRequest, ...]:
        """What to install: each name once, where it was first asked for. Enabling wins in any order (Rocks' rule)."""
        found: dict[tuple[bool, str], PackageRequest] = {}
        for package in self.packages:
            if not package.disable:
                found.setdefault((package.meta, package.name), package)
        return tuple(found.values())

    @property
    def excluded(self) -> tuple[PackageRequest, ...]:
        """What to keep out: each name once, unless it is requested somewhere."""
        wanted = {(package.meta, package.name) for package in self.requested}
        found: dict[tuple[bool, str], PackageRequest] = {}
        for package in self.packages:
            if package.disable and (package.meta, package.name) not in wanted:
                found.setdefault((package.meta, package.name), package)
        return tuple(found.values())

    def references(self) -> Iterator[tuple[str, Reference]]:
        """Yield every attribute reference with the name of its node, in order of effect."""
        texts: tuple[Union[Comment, Command], ...] = (*self.comments, *self.commands)
        for section in texts:
            for reference in section.text.references:
                yield section.node, reference
        for script in self.scripts:
            for text in script.texts:
                for reference in text.references:
                    yield script.node, reference

    def check_references(self, attributes: Attributes) -> None:
        """Make sure that every attribute the profile refers to has a value.

        Raises:
            UndefinedAttribute: the first that has none; names the node file, the line and the closest known names.
        """
        for node, reference in self.references():
            if reference.name not in attributes and not reference.optional:
                raise undefined(reference, attributes, file=self.node(node).file)

    def to_xml(self) -> bytes:
        """Write the ``<profile>`` element; equal profiles give equal bytes, and ``parse_profile`` gives them back."""
        return "\n".join(_write(self)).encode()


# What a host has of itself, if it has it: another name is not what was meant.
_HINTS = {
    "hostaddr": "the host has no address: avalanche host interface add HOST --ip ADDRESS",
    "mac": "the host has no card with a MAC: avalanche host interface add HOST --mac MAC",
}


def undefined(reference: Reference, attributes: Attributes, *, file: str) -> UndefinedAttribute:
    """Make the error for a reference to an attribute that has no value."""
    closest = attributes.closest(reference.name)
    hint = _HINTS.get(reference.name) or (
        f"did you mean {' or '.join(closest)}?"
        if closest
        else "set it with 'avalanche attr set', or without a database in --attrs"
    )
    return UndefinedAttribute(f"the attribute {reference.name} has no value; {hint}", file=file, line=reference.line)


# --- writing ---


def _write(profile: Profile) -> Iterator[str]:
    # The names of nodes, commands and interpreters need no escapes: see NODE and sections.py.
    yield document.start_tag("profile", version=VERSION, root=profile.root, release=profile.release)
    for node in profile.nodes:
        yield document.start_tag("node", name=node.name, file=node.file, roll=node.roll, end="/>")
    for comment in profile.comments:
        yield f'<debug node="{comment.node}" line="{comment.line}">{_mixed(comment.text)}</debug>'
    for command in profile.commands:
        start = f'<main command="{command.command}" node="{command.node}" line="{command.line}">'
        yield f"{start}{_mixed(command.text)}</main>"
    for package in profile.packages:
        meta, disable = ' meta="true"' if package.meta else "", ' disable="true"' if package.disable else ""
        name = document.escape_attribute(package.name)
        yield f'<package name="{name}"{meta}{disable} node="{package.node}" line="{package.line}"/>'
    for kind, scripts in zip(SCRIPTS, (profile.pre, profile.post, profile.boot_pre, profile.boot_post)):
        for script in scripts:
            yield from _write_script(kind, script)
    yield "</profile>\n"


def _write_script(kind: str, script: Script) -> Iterator[str]:
    interpreter = f' interpreter="{script.interpreter}"' if script.interpreter != BASH else ""
    chroot, strict = "" if script.chroot else ' chroot="false"', "" if script.strict else ' strict="false"'
    yield f'<{kind} node="{script.node}" line="{script.line}"{interpreter}{chroot}{strict}>'
    for part in script.parts:
        if isinstance(part, Fragment):
            yield f'<text line="{part.line}">{_mixed(part.text)}</text>'
        else:
            start = document.start_tag(
                "file",
                name=part.name,
                mode=part.mode,
                line=str(part.line),
                owner=part.owner,
                perms=part.perms,
                vars=part.vars if part.vars != "literal" else None,
                src=part.source,
                encoding=part.encoding,
                keep=None if part.keep else "false",
            )
            yield f"{start}{_mixed(part.text)}</file>"
    yield f"</{kind}>"


def _mixed(text: Text) -> str:
    written = []
    for part in text.parts:
        if isinstance(part, str):
            written.append(document.escape_text(part))
        else:
            optional = ' optional="true"' if part.optional else ""
            written.append(f'<ref name="{part.name}" line="{part.line}"{optional}/>')  # a name needs no escapes
    return "".join(written)


# --- reading ---


Value = TypeVar("Value")


def parse_profile(data: bytes, *, file: str = "profile") -> Profile:
    """Read a ``<profile>`` document.

    Raises:
        ProfileError: it is malformed, of another version, too large, or contradicts itself; names the line.
    """
    return _parse(data, file, _read_profile)


def _parse(data: bytes, file: str, read: Callable[[Element], Value]) -> Value:
    try:
        root = document.parse_document(data, file=file, size=MAX_SIZE, depth=MAX_DEPTH, count=MAX_ELEMENTS)
        return _checked(root, read)
    except DefinitionError as error:
        raise ProfileError(error.message, file=error.file, line=error.line) from None


def _checked(element: Element, read: Callable[[Element], Value]) -> Value:
    """Read an element; what its value refuses is said with the element's line."""
    try:
        return read(element)
    except ProfileError as error:
        if error.file is not None:
            raise
        element.fail(error.message)


def _read_profile(element: Element) -> Profile:
    _expect(element, "profile", "version", "root", "release")
    if element.get("version") != VERSION:
        element.fail(f"profile of version {element.get('version')!r}; this program reads version {VERSION}")
    kinds: dict[str, list[Element]] = {kind: [] for kind in ("node", "debug", "main", "package", *SCRIPTS)}
    latest = 0
    for child in element.children():
        if child.tag not in kinds:
            child.fail(f"<{child.tag}> cannot stand in <profile>")
        position = list(kinds).index(child.tag)
        if position < latest:
            child.fail(f"<{child.tag}> is out of order; the order is {', '.join(kinds)}")
        latest = position
        kinds[child.tag].append(child)
    nodes = tuple(_checked(child, _read_node) for child in kinds["node"])
    files = {node.name: node.file for node in nodes}
    return _checked(
        element,
        lambda profile: Profile(
            root=_needed(profile, "root"),
            release=_needed(profile, "release"),
            nodes=nodes,
            commands=tuple(_checked(child, _read_command) for child in kinds["main"]),
            packages=tuple(_checked(child, lambda child: _read_package(child, files)) for child in kinds["package"]),
            pre=tuple(_checked(child, _read_script) for child in kinds["pre"]),
            post=tuple(_checked(child, _read_script) for child in kinds["post"]),
            boot_pre=tuple(_checked(child, _read_script) for child in kinds["boot-pre"]),
            boot_post=tuple(_checked(child, _read_script) for child in kinds["boot-post"]),
            comments=tuple(_checked(child, _read_comment) for child in kinds["debug"]),
        ),
    )


def _read_node(element: Element) -> NodeName:
    _expect(element, "node", "name", "file", "roll")
    _expect_empty(element)
    return NodeName(_needed(element, "name"), _needed(element, "file"), _needed(element, "roll"))


def _read_comment(element: Element) -> Comment:
    _expect(element, "debug", "node", "line")
    return Comment(_read_text(element), _needed(element, "node"), _line(element))


def _read_command(element: Element) -> Command:
    _expect(element, "main", "command", "node", "line")
    return Command(_needed(element, "command"), _read_text(element), _needed(element, "node"), _line(element))


def _read_package(element: Element, files: dict[str, str]) -> PackageRequest:
    _expect(element, "package", "name", "meta", "disable", "node", "line")
    _expect_empty(element)
    node = _needed(element, "node")
    file = files.get(node, "")
    return PackageRequest(
        _needed(element, "name"), _flag(element, "meta"), _flag(element, "disable"), node, file, _line(element)
    )


def _read_script(element: Element) -> Script:
    _expect(element, element.tag, "node", "line", "interpreter", "chroot", "strict")
    line = _line(element)
    if element.tag != "post" and element.get("chroot") is not None:
        element.fail(f"<{element.tag}> takes no chroot")
    parts: tuple[Union[Fragment, FileWrite], ...]
    if element.tag == "pre" and not any(isinstance(item, Element) and item.tag != "ref" for item in element.content):
        text = _read_text(element)
        parts = (Fragment(text, line),) if text.strip() else ()
    else:
        parts = tuple(_checked(child, lambda child: _read_part(child, line)) for child in element.children())
    interpreter = element.get("interpreter") or BASH
    return Script(
        parts,
        _needed(element, "node"),
        line,
        interpreter,
        _flag(element, "chroot", default=True),
        _flag(element, "strict", default=True),
    )


def _read_part(element: Element, line: int) -> Union[Fragment, FileWrite]:
    if element.tag == "text":
        _expect(element, "text", "line")
        return Fragment(_read_text(element), _line(element) if "line" in element.attributes else line)
    _expect(element, "file", "name", "mode", "line", "owner", "perms", "vars", "src", "encoding", "keep")
    return FileWrite(
        name=_needed(element, "name"),
        text=_read_text(element),
        line=_line(element),
        mode=_needed(element, "mode"),
        owner=element.get("owner"),
        perms=element.get("perms"),
        vars=element.get("vars") or "literal",
        source=element.get("src"),
        encoding=element.get("encoding"),
        keep=_flag(element, "keep", default=True),
    )


def _read_text(element: Element) -> Text:
    parts: list[Union[str, Reference]] = []
    for item in element.content:
        if isinstance(item, Element):
            _expect(item, "ref", "name", "line", "optional")
            _expect_empty(item)
            name = _needed(item, "name")
            if not document.REFERENCE_NAME.fullmatch(name):
                item.fail(f"{name!r} is no attribute name")
            parts.append(Reference(name, _line(item), _flag(item, "optional")))
        else:
            parts.append(item)
    return Text(tuple(parts))


def _expect(element: Element, tag: str, *names: str) -> None:
    if element.tag != tag:
        element.fail(f"expected <{tag}>, found <{element.tag}>")
    element.allow(*names)


def _expect_empty(element: Element) -> None:
    if element.content:
        element.fail(f"<{element.tag}> has no content")


def _needed(element: Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        element.fail(f"<{element.tag}> lacks {name}=")
    return value


def _line(element: Element) -> int:
    value = _needed(element, "line")
    if not re.fullmatch("[1-9][0-9]{0,8}", value):
        element.fail(f"line={value!r} is no line number")
    return int(value)


def _flag(element: Element, name: str, *, default: bool = False) -> bool:
    value = element.get(name)
    if value not in (None, "true", "false"):
        element.fail(f"{name} is 'true' or 'false', not {value!r}")
    return default if value is None else value == "true"


# --- the installation document ---


@dataclass(frozen=True)
class Installation:
    """The answer to GET /install/profile: whose installation, which packages, which values, and what to do.

    ``membership`` is None when the host fetches from the frontend alone.
    """

    host: str
    generation: str
    manifest: str
    plane: str
    attributes: Attributes
    profile: Profile
    membership: Optional[Membership] = None


def installation_document(
    *,
    host: str,
    generation: str,
    manifest: str,
    plane: str,
    attributes: Attributes,
    body: bytes,
    membership: Optional[Membership] = None,
) -> bytes:
    """Write an ``<installation>`` around a profile's bytes (``Profile.to_xml``), which are taken as they are."""
    more = {}
    if membership is not None:
        trackers = " ".join(membership.trackers)
        more = {"trackers": trackers, "token": membership.token, "peer-key": membership.peer_key}
    start = document.start_tag(
        "installation", version=VERSION, host=host, generation=generation, manifest=manifest, plane=plane, **more
    )
    return b"".join((start.encode(), b"\n", attributes.to_xml(), body, b"</installation>\n"))


def parse_installation(data: bytes, *, file: str = "profile") -> Installation:
    """Read an ``<installation>`` document.

    Raises:
        ProfileError: it is malformed, of another version, too large, or contradicts itself; names the line.
    """
    return _parse(data, file, _read_installation)


def _read_installation(element: Element) -> Installation:
    _expect(element, "installation", "version", "host", "generation", "manifest", "plane", *_MEMBERSHIP)
    if element.get("version") != VERSION:
        element.fail(f"installation of version {element.get('version')!r}; this program reads version {VERSION}")
    children = tuple(element.children())
    if [child.tag for child in children] != ["attributes", "profile"]:
        element.fail("<installation> holds <attributes> and <profile>, once each")
    return Installation(
        host=_needed(element, "host"),
        generation=_needed(element, "generation"),
        manifest=_needed(element, "manifest"),
        plane=_needed(element, "plane"),
        attributes=Attributes.from_element(children[0]),
        profile=_read_profile(children[1]),
        membership=_read_membership(element),
    )


_MEMBERSHIP = ("trackers", "token", "peer-key")


def _read_membership(element: Element) -> Optional[Membership]:
    values = [element.get(name) for name in _MEMBERSHIP]
    if values == [None, None, None]:
        return None
    if None in values:
        element.fail(f"<installation> carries all of {' '.join(_MEMBERSHIP)}, or none")
    trackers, token, peer_key = map(str, values)
    try:
        return Membership(tuple(trackers.split(" ")), token, peer_key)
    except ValueError as error:
        element.fail(str(error))
