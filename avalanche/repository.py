"""What a repository of packages says about itself: its groups (``comps.xml``).

Knows the names a package request may use for several packages at once, as dnf 4 understands them. Leaves what a
package is and needs to libsolv (`adapters.closure`), and what its bytes are to `manifest`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml import etree

from avalanche.errors import RepositoryError

MAXIMUM_COMPS = 32 << 20
"""Bytes of the largest comps file that is read; Fedora's is 2 MB."""


@dataclass(frozen=True, slots=True)
class Member:
    """A package of a group.

    Attributes:
        name: the package's name.
        kind: ``mandatory``, ``default``, ``conditional`` or ``optional``.
        requires: the package whose presence brings a conditional member along, else the empty string.
        is_basearch_only: is only the build for the machine's own architecture meant?
    """

    name: str
    kind: str
    requires: str = ""
    is_basearch_only: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that are asked for by one id."""

    id: str
    name: str
    members: tuple[Member, ...]

    @property
    def installed(self) -> tuple[Member, ...]:
        """What dnf installs with the group: all but the optional members."""
        return tuple(member for member in self.members if member.kind != "optional")


@dataclass(frozen=True, slots=True)
class Environment:
    """Groups that are asked for by one id; ``groups`` are the ids of its mandatory groups."""

    id: str
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comps:
    """The groups and environments of a repository, in the order of its file."""

    groups: tuple[Group, ...] = ()
    environments: tuple[Environment, ...] = ()

    def find(self, name: str) -> tuple[Group, ...] | None:
        """The groups ``name`` stands for (a leading ``^`` as in a kickstart is allowed), or None when it names nothing.

        As dnf does: an exact id or name, else a pattern in any case; an environment brings its mandatory groups.
        """
        wanted = name.removeprefix("^")
        groups = [group for group in self.groups if wanted in (group.id, group.name)]
        groups = groups or [group for group in self.groups if _matches(group.id, group.name, wanted)]
        environments = [item for item in self.environments if wanted in (item.id, item.name)]
        environments = environments or [item for item in self.environments if _matches(item.id, item.name, wanted)]
        if not groups and not environments:
            return None
        mandatory = {group for environment in environments for group in environment.groups}
        return tuple(group for group in self.groups if group in groups or group.id in mandatory)

    @property
    def names(self) -> tuple[str, ...]:
        """Every id that `find` knows."""
        return (*(group.id for group in self.groups), *(item.id for item in self.environments))


def parse_comps(data: bytes, *, file: str) -> Comps:
    """Read a comps file.

    Args:
        data: the document.
        file: its name for error messages.

    Raises:
        RepositoryError: not a comps document; names file and line.
    """
    root = _root(data, file)
    groups = tuple(
        Group(_text(element, "id", file), _text(element, "name", file), tuple(_members(element, file)))
        for element in root.iterfind("group")
    )
    environments = tuple(
        Environment(_text(element, "id", file), _text(element, "name", file), tuple(_group_ids(element)))
        for element in root.iterfind("environment")
    )
    return Comps(groups, environments)


def _root(data: bytes, file: str) -> etree._Element:
    if len(data) > MAXIMUM_COMPS:
        raise RepositoryError(f"{file}: {len(data)} bytes, more than the {MAXIMUM_COMPS} that are read")
    # comps files name a DTD; nothing of it is loaded, and no entity is resolved.
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, remove_comments=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise RepositoryError(f"{file}:{error.lineno}: not well-formed: {error.msg}") from error
    if root.tag != "comps":
        raise RepositoryError(f"{file}:{root.sourceline}: the document is <{root.tag}>, and must be <comps>")
    return root


def joined_comps(documents: Sequence[tuple[bytes, str]]) -> bytes:
    """Put the groups of several repositories into one document; of a group that several have, the members.

    Args:
        documents: each with its file's name for error messages. One alone stays as it is, byte for byte.

    Raises:
        RepositoryError: as ``parse_comps``, of a file or of all together.
    """
    for data, file in documents:
        parse_comps(data, file=file)
    if len(documents) == 1:
        return documents[0][0]
    whole = etree.Element("comps")
    known: dict[tuple[str, str], etree._Element] = {}
    for data, file in documents:
        for element in _root(data, file):
            key = (str(element.tag), _text(element, "id", file) if element.find("id") is not None else "")
            first = known.get(key)
            if first is None or not key[1]:
                known[key] = element
                whole.append(element)
                continue
            for tag in ("packagelist", "grouplist", "optionlist"):
                members, more = first.find(tag), element.find(tag)
                if members is None and more is not None:
                    first.append(more)
                elif members is not None and more is not None:
                    members.extend(list(more))
    joined = etree.tostring(whole, xml_declaration=True, encoding="UTF-8")
    parse_comps(joined, file=" + ".join(file for _, file in documents))  # together they may be too large
    return joined


def _members(group: etree._Element, file: str) -> Iterator[Member]:
    for element in group.iterfind("packagelist/packagereq"):
        name = (element.text or "").strip()
        if not name:
            raise RepositoryError(f"{file}:{element.sourceline}: <packagereq> names no package")
        yield Member(
            name,
            element.get("type") or "mandatory",
            element.get("requires") or "",
            (element.get("basearchonly") or "").lower() == "true",
        )


def _group_ids(environment: etree._Element) -> Iterator[str]:
    return ((element.text or "").strip() for element in environment.iterfind("grouplist/groupid"))


def _text(element: etree._Element, tag: str, file: str) -> str:
    """The text of the child ``tag`` that is not a translation."""
    for child in element.iterfind(tag):
        if not child.attrib and (child.text or "").strip():
            return (child.text or "").strip()
    raise RepositoryError(f"{file}:{element.sourceline}: <{element.tag}> has no <{tag}>")


def _matches(id: str, name: str, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(text.casefold(), pattern.casefold()) for text in (id, name))
