"""Node files: one module of an appliance, from bytes to sections. docs/node-format.md tells what there is.

Reading evaluates nothing: conditions are parsed, references kept, includes spliced in. What a node file asks of the
frontend is asked when a profile is compiled (``read_sections``).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from avalanche.attributes import Attributes
from avalanche.condition import CONDITIONS
from avalanche.document import Element, parse_document
from avalanche.effects import Effects
from avalanche.errors import DefinitionError, NodeFileError, ProfileError
from avalanche.expansion import Expander, Include, splice_includes
from avalanche.nodesections import Section, deciding_names
from avalanche.nodetags import TagReader
from avalanche.remark import Remark

MAX_SIZE = 1 << 20  # bytes of a node file

# Most node files hold nothing to expand, and need no second tree.
_EXPANDING = (b"include", b"<eval", b"<var", b"<copy")
_EXPANDS = re.compile(rb"<(?:include|sinclude|eval|var|copy)\b|include\s*=")


@dataclass(frozen=True)
class NodeFile:
    """One node file.

    Attributes:
        file: its path as its author knows it.
        sections: what it holds, without what the frontend has to be asked for.
        asked: the attributes that decide what the frontend is asked.
        remarks: what is odd in it, by line.
        asks: the tree to expand in each compile, when the frontend has to be asked; None otherwise.
        library: a fingerprint of the files that its evals may read.
    """

    name: str
    file: str
    roll: str
    sections: tuple[Section, ...]
    asked: frozenset[str] = frozenset()
    remarks: tuple[Remark, ...] = ()
    asks: Element | None = field(default=None, repr=False)
    library: str = ""

    def __repr__(self) -> str:
        return f"<NodeFile {self.name} {self.file}, {len(self.sections)} sections>"

    @property
    def path(self) -> str:
        """Its path in the roll."""
        return "/".join(self.file.split("/")[-2:])

    @property
    def names(self) -> frozenset[str]:
        """The attributes that decide what it contributes: in conditions, package names, file names, owners, perms, and
        whatever its evals refer to."""
        return self._deciding[0] | self.asked

    @property
    def weighed(self) -> frozenset[str]:
        """Those of the names whose values decide; of the others only whether there is one."""
        # What an eval says may weigh any name that the file mentions.
        return self._deciding[1] if self.asks is None else self.names

    @cached_property
    def _deciding(self) -> tuple[frozenset[str], frozenset[str]]:
        return deciding_names(self.sections)


@dataclass(frozen=True)
class Reading:
    """A node file as one host sees it: sections, and what came up while the frontend was asked."""

    sections: tuple[Section, ...]
    remarks: tuple[Remark, ...] = ()
    reads: tuple[tuple[str, Hashable], ...] = ()


def parse_nodefile(
    data: bytes, *, name: str, file: str, roll: str, include: Include | None = None, library: str = ""
) -> NodeFile:
    """Read a node file.

    Args:
        name: the node's name.
        file: its path, ending in ``nodes/NAME.xml``.
        roll: the roll it belongs to.
        include: finds the files that it includes; None leaves them out.
        library: a fingerprint of the files that its evals may read.

    Raises:
        NodeFileError: it is malformed, or has a tag that means nothing here; names the line.
        ConditionError: a condition cannot be understood.
    """
    with _as_nodefile_error():
        root = parse_document(data, file=file, size=MAX_SIZE, references=True)
        _check_root(root)
        expander, reader = Expander(roll=roll, library=library), TagReader()
        _remark_root(root, reader)
        tree = expanded = root
        if any(word in data for word in _EXPANDING) and _EXPANDS.search(data):
            tree = splice_includes(root, include)
            expanded = expander.expand(tree)
        sections = tuple(reader.sections(expanded))
        return NodeFile(
            name=name,
            file=file,
            roll=roll,
            sections=sections,
            asked=frozenset(expander.names),
            remarks=tuple(sorted({*reader.remarks, *expander.remarks})),
            asks=tree if expander.asks else None,
            library=library,
        )


def read_sections(file: NodeFile, attributes: Attributes, effects: Effects) -> Reading:
    """Return the sections of a node file for a host; conditions are still to be heeded.

    Raises:
        NodeFileError, ConditionError: the frontend refuses or fails, or what its programs say is no part of a node
            file; names file and line.
        UndefinedAttribute: a program refers to an attribute that the host does not have.
    """
    if file.asks is None:
        return Reading(file.sections)
    with _as_nodefile_error():
        expander = Expander(roll=file.roll, library=file.library, attributes=attributes, effects=effects)
        reader = TagReader()
        sections = tuple(reader.sections(expander.expand(file.asks)))
        for section in sections:
            # Hosts that agree on the file's names share a profile, so nothing else may decide.
            unknown = sorted(deciding_names((section,))[0] - file.names)
            if unknown:
                message = (
                    f"the output of an <eval> depends on the attribute {unknown[0]}, which the node file does not "
                    f"mention; mention it in the text of the <eval>"
                )
                raise NodeFileError(message, file=file.file, line=section.line)
        fresh = {*reader.remarks, *expander.remarks} - set(file.remarks)
        return Reading(sections, tuple(sorted(fresh)), tuple(expander.reads))


def _check_root(root: Element) -> None:
    if root.tag == "jumpstart":
        root.fail("<jumpstart> is for Solaris, which Avalanche does not install; write <kickstart>, or drop the node")
    if root.tag.partition(":")[0] == "stack":
        root.fail(f"<{root.tag}> is Stacki's dialect, which Avalanche does not read; write the node with <kickstart>")
    if root.tag != "kickstart":
        root.fail(f"a node file holds <kickstart>, not <{root.tag}>")


def _remark_root(root: Element, reader: TagReader) -> None:
    for name in root.attributes:
        if name in CONDITIONS:
            message = f"{name}= of <kickstart> has no effect; put it on the edge that leads here"
            reader.remark(root, "kickstart-condition", message)
        elif name not in ("roll", "interface", "strict"):
            reader.remark(root, "attribute-unknown", f"{name}= of <kickstart> means nothing")


@contextmanager
def _as_nodefile_error() -> Iterator[None]:
    """Let errors of this file's content be NodeFileErrors; conditions and undefined attributes say more themselves."""
    try:
        yield
    except DefinitionError as error:
        if type(error) not in (DefinitionError, ProfileError):
            raise
        raise NodeFileError(error.message, file=error.file, line=error.line) from None
