"""The compiler: stage 1, from rolls, a root node and a host's attributes to a profile. A pure function."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from avalanche.attributes import Attributes
from avalanche.document import Reference, Text
from avalanche.errors import NodeFileError, ProfileError
from avalanche.nodefile import CommandSection, FileSection, NodeFile, PackageSection, ScriptSection
from avalanche.profile import Profile, undefined
from avalanche.roll import RollSet
from avalanche.sections import Command, FileWrite, Fragment, NodeName, PackageRequest, Script


def compile_profile(rolls: RollSet, root: str, attributes: Attributes, *, release: str = "el9") -> Profile:
    """Compile the profile of a root node for a host.

    Hosts that agree on ``rolls.mentioned(root)`` get equal profiles; references in commands and scripts are left to the
    host. When a profile comes from a cache, ``profile.check_references(attributes)`` is what remains to be checked.

    Args:
        release: the installer the kickstart is for: ``el9``, ...

    Raises:
        GraphError: a node is unknown (names the edge), or the order of nodes is a cycle.
        NodeFileError, ConditionError: a node file is malformed, or a value does not fit where it stands.
        UndefinedAttribute: a reference names an attribute that the host does not have.
    """
    traversal = rolls.graph.traverse(root, attributes)
    collected = _Collector(attributes)
    for name in traversal.nodes:
        for file in rolls.node(name, included_by=traversal.included_by.get(name)):
            collected.add(file)
    profile = Profile(
        root=root,
        release=release,
        nodes=tuple(collected.nodes),
        commands=tuple(collected.commands),
        packages=tuple(collected.packages),
        pre=tuple(collected.pre),
        post=tuple(collected.post),
    )
    for node, reference in profile.references():
        if reference.name not in attributes:
            raise undefined(reference, attributes, file=collected.files[node])
    return profile


class _Collector:
    """Gathers the sections whose conditions hold."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.files: dict[str, str] = {}
        self.nodes: list[NodeName] = []
        self.commands: list[Command] = []
        self.packages: list[PackageRequest] = []
        self.pre: list[Script] = []
        self.post: list[Script] = []

    def add(self, file: NodeFile) -> None:
        self.files[file.name] = file.file
        self.nodes.append(NodeName(file.name, file.path, file.roll))
        for section in file.sections:
            if not section.when.holds(self.attributes):
                continue
            try:
                if isinstance(section, CommandSection):
                    self.commands.append(Command(section.command, section.text, file.name, section.line))
                elif isinstance(section, PackageSection):
                    self.packages.extend(self._packages(section, file))
                else:
                    self._add_script(section, file)
            except ProfileError as error:
                raise NodeFileError(error.message, file=file.file, line=error.line or section.line) from None

    def _packages(self, section: PackageSection, file: NodeFile) -> Iterator[PackageRequest]:
        text = self._resolve(section.names, file)
        # The names of groups may hold blanks ("Development Tools"), so those are separated by lines.
        names = [" ".join(line.split()) for line in text.splitlines()] if section.meta else text.split()
        for name in names:
            if name:
                yield PackageRequest(name, section.meta, section.disable, file.name, file.path, section.line)

    def _add_script(self, section: ScriptSection, file: NodeFile) -> None:
        parts = tuple(
            self._file(part, file) if isinstance(part, FileSection) else part
            for part in section.parts
            if isinstance(part, Fragment) or part.when.holds(self.attributes)
        )
        if parts:
            script = Script(parts, file.name, section.line, section.interpreter, section.chroot)
            (self.pre if section.kind == "pre" else self.post).append(script)

    def _file(self, section: FileSection, file: NodeFile) -> FileWrite:
        resolve: Callable[[Text | None], str | None] = lambda text: None if text is None else self._resolve(text, file)  # noqa: E731
        try:
            return FileWrite(
                name=self._resolve(section.name, file),
                text=section.text,
                line=section.line,
                mode=section.mode,
                owner=resolve(section.owner),
                perms=resolve(section.perms),
                vars=section.vars,
            )
        except ProfileError as error:
            raise ProfileError(error.message, file=file.file, line=section.line) from None

    def _resolve(self, text: Text, file: NodeFile) -> str:
        """Put values in the place of references that have to be known here: they become part of the profile's bytes."""

        def value(reference: Reference) -> str:
            if reference.name not in self.attributes:
                raise undefined(reference, self.attributes, file=file.file)
            if self.attributes.attribute(reference.name).secret:
                message = (
                    f"&{reference.name}; is secret; a secret can stand in commands, scripts and texts of files only"
                )
                raise NodeFileError(message, file=file.file, line=reference.line)
            return self.attributes[reference.name]

        return text.fill(value)
