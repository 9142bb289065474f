"""The compiler: stage 1, from rolls, a root node and a host's attributes to a profile. A pure function."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache

from avalanche.attributes import Attributes
from avalanche.commands import Standing, standing
from avalanche.document import Text
from avalanche.effects import Effects, Untrusted
from avalanche.errors import NodeFileError, ProfileError
from avalanche.expansion import resolve
from avalanche.nodefile import NodeFile, read_sections
from avalanche.nodesections import CommandSection, CommentSection, FileSection, PackageSection, ScriptSection, Section
from avalanche.profile import Profile, undefined
from avalanche.remark import Remark
from avalanche.roll import RollSet
from avalanche.sections import Command, Comment, FileWrite, Fragment, NodeName, PackageRequest, Script


@dataclass(frozen=True)
class Compilation:
    """A profile; what is odd about it that no node file shows by itself; and the frontend's files it was made of, with
    their stamps."""

    profile: Profile
    remarks: tuple[Remark, ...] = ()
    reads: tuple[tuple[str, Hashable], ...] = ()


def compile_profile(
    rolls: RollSet,
    root: str,
    attributes: Attributes,
    *,
    release: str = "el9",
    effects: Effects | None = None,
    lax: frozenset[str] = frozenset(),
) -> Profile:
    """Compile the profile of a root node for a host: ``compile_rolls`` without its remarks."""
    return compile_rolls(rolls, root, attributes, release=release, effects=effects, lax=lax).profile


def compile_rolls(
    rolls: RollSet,
    root: str,
    attributes: Attributes,
    *,
    release: str = "el9",
    effects: Effects | None = None,
    lax: frozenset[str] = frozenset(),
) -> Compilation:
    """Compile the profile of a root node for a host.

    Hosts that agree on ``rolls.mentioned(root)`` get equal profiles; references in commands and scripts are left to the
    host. When a profile comes from a cache, ``profile.check_references(attributes)`` is what remains to be checked.

    Args:
        release: the installer the kickstart is for: ``el9``, ...
        effects: the frontend, for evals and files of its own; without it no roll is trusted.
        lax: the rolls whose scripts go on when a command fails, unless they say ``strict`` themselves.

    Raises:
        GraphError: a node is unknown (names the edge), or the order of nodes is a cycle.
        NodeFileError, ConditionError: a node file is malformed, a value does not fit where it stands, or the frontend
            refuses or fails.
        UndefinedAttribute: a reference names an attribute that the host does not have.
    """
    traversal = rolls.graph.traverse(root, attributes)
    collected = _Collector(attributes, release, effects or Untrusted(), lax)
    for name in traversal.nodes:
        for file in rolls.node(name, included_by=traversal.included_by.get(name)):
            collected.add(file)
    profile = collected.profile(root)
    for node, reference in profile.references():
        if reference.name in attributes:
            continue
        if not reference.optional:
            raise undefined(reference, attributes, file=collected.files[node])
        message = f"<var name={reference.name!r}> was not set, and is no attribute: nothing stands there"
        collected.remarks.add(Remark(collected.files[node], reference.line, "var-unset", message))
    return Compilation(profile, tuple(sorted(collected.remarks)), tuple(dict.fromkeys(collected.reads)))


class _Collector:
    """Gathers the sections whose conditions hold."""

    def __init__(self, attributes: Attributes, release: str, effects: Effects, lax: frozenset[str]) -> None:
        self.attributes = attributes
        self.holds = cache(lambda when: when.holds(attributes))  # most sections of an appliance share a few conditions
        self.release = release
        self.effects = effects
        self.lax = lax
        self.remarks: set[Remark] = set()
        self.reads: list[tuple[str, Hashable]] = []
        self.files: dict[str, str] = {}
        self.nodes: list[NodeName] = []
        self.comments: list[Comment] = []
        self.commands: list[Command] = []
        self.packages: list[PackageRequest] = []
        self.scripts: dict[str, list[Script]] = {"pre": [], "post": [], "boot-pre": [], "boot-post": []}

    def profile(self, root: str) -> Profile:
        return Profile(
            root=root,
            release=self.release,
            nodes=tuple(self.nodes),
            commands=tuple(self.commands),
            packages=tuple(self.packages),
            pre=tuple(self.scripts["pre"]),
            post=tuple(self.scripts["post"]),
            boot_pre=tuple(self.scripts["boot-pre"]),
            boot_post=tuple(self.scripts["boot-post"]),
            comments=tuple(self.comments),
        )

    def add(self, file: NodeFile) -> None:
        self.files[file.name] = file.file
        self.nodes.append(NodeName(file.name, file.path, file.roll))
        reading = read_sections(file, self.attributes, self.effects)
        self.remarks.update(reading.remarks)
        self.reads.extend(reading.reads)
        for section in reading.sections:
            if not self.holds(section.when):
                continue
            try:
                self._add(section, file)
            except ProfileError as error:
                raise NodeFileError(error.message, file=file.file, line=error.line or section.line) from None

    def _add(self, section: Section, file: NodeFile) -> None:
        if isinstance(section, CommandSection):
            self._add_command(section, file)
        elif isinstance(section, PackageSection):
            self.packages.extend(self._packages(section, file))
        elif isinstance(section, CommentSection):
            self.comments.append(Comment(section.text, file.name, section.line))
        else:
            self._add_script(section, file)

    def _add_command(self, section: CommandSection, file: NodeFile) -> None:
        name = section.command
        found = Standing.KNOWN if name == "include" else standing(name, self.release)
        if found is Standing.KNOWN:
            self.commands.append(Command(name, section.text, file.name, section.line))
        elif found is Standing.GONE:
            message = f"<{name}> is left out: the installer of {self.release} has no use for it any more"
            self.remarks.add(Remark(file.file, section.line, "command-gone", message))
        elif found is not Standing.SOURCE:  # of which the node file's own remarks tell
            message = f"the installer of {self.release} does not know <{name}>; put a condition on it, as release='...'"
            raise NodeFileError(message, file=file.file, line=section.line)

    def _packages(self, section: PackageSection, file: NodeFile) -> Iterator[PackageRequest]:
        text = self._resolve(section.names, file)
        # The names of groups may hold blanks ("Development Tools"), so those are separated by lines.
        names = [" ".join(line.split()) for line in text.splitlines()] if section.meta else text.split()
        for name in names:
            if name:
                yield PackageRequest(name, section.meta, section.disable, file.name, file.path, section.line)

    def _add_script(self, section: ScriptSection, file: NodeFile) -> None:
        parts: list[Fragment | FileWrite] = []
        for part in section.parts:
            if isinstance(part, Fragment):
                parts.append(part)
            elif self.holds(part.when):
                parts.extend(self._files(part, file))
        if parts:
            strict = file.roll not in self.lax if section.strict is None else section.strict
            script = Script(tuple(parts), file.name, section.line, section.interpreter, section.chroot, strict)
            self.scripts[section.kind].append(script)

    def _files(self, section: FileSection, file: NodeFile) -> Iterator[FileWrite]:
        """Yield what a ``<file>`` writes: with ``expr=`` a command's output, and then the text if there is any."""
        append = section.mode == "append"
        try:
            written = FileWrite(
                name=self._resolve(section.name, file),
                text=section.text,
                line=section.line,
                mode=section.mode,
                owner=self._optional(section.owner, file),
                perms=self._optional(section.perms, file),
                vars=section.vars,
                source=self._optional(section.source, file),
                encoding=section.encoding,
                keep=section.keep,
            )
            if section.expr is not None and section.expr.strip():
                mode = "append-output" if append else "output"
                yield FileWrite(
                    written.name, section.expr, section.line, mode, written.owner, written.perms, keep=written.keep
                )
            if section.expr is None or section.text:
                yield written
        except ProfileError as error:
            raise ProfileError(error.message, file=file.file, line=section.line) from None

    def _optional(self, text: Text | None, file: NodeFile) -> str | None:
        return None if text is None else self._resolve(text, file)

    def _resolve(self, text: Text, file: NodeFile) -> str:
        """Put values in the place of references that have to be known here: they become part of the profile's bytes."""
        return resolve(text, self.attributes, file=file.file)
