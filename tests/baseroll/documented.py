"""What the base roll reads, and what docs/baseroll.md says of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from avalanche.nodefile import NodeFile
from avalanche.nodesections import CommandSection, FileSection, PackageSection
from tests.baseroll.appliances import ROOT, node, rolls

_ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| (.*) \|$", re.MULTILINE)
_MODULE = re.compile(r"^\| `([a-z0-9-]+)` \| ([^|]*) \|$", re.MULTILINE)
_EXCEPTION = re.compile(r"\(([a-z, ]+): `([^`]+)`\)")


@dataclass(frozen=True)
class Row:
    """A row of a table of attributes."""

    default: str
    readers: frozenset[str]

    def default_of(self, appliance: str) -> str | None:
        """The value that an appliance has without the attribute; None when the page gives no value."""
        found = _EXCEPTION.search(self.default)
        if found and appliance in found[1].split(", "):
            return found[2]
        plain = re.match(r"`([^`]+)`( \(|$)", self.default)
        return plain[1] if plain else None


def page() -> str:
    return (ROOT / "docs" / "baseroll.md").read_text()


def rows() -> Mapping[str, Row]:
    return {name: Row(default, frozenset(readers.split(", "))) for name, default, readers, _ in _ROW.findall(page())}


def modules() -> Mapping[str, str]:
    return dict(_MODULE.findall(page()))


def sentence(name: str) -> str:
    """The first sentence of a node's description."""
    root = etree.parse(ROOT / "nodes" / f"{name}.xml", etree.XMLParser(resolve_entities=False, recover=True)).getroot()
    text = " ".join((root.findtext("description") or "").split())
    return re.split(r"(?<=[.?!]) (?=[A-Z])", text)[0].replace("|", "or")


def readers() -> Mapping[str, frozenset[str]]:
    """The attributes that the roll reads: in conditions of a node's edges, and within its file."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in rolls().names:
        for attribute in _names(node(name)):
            found[attribute].add(name)
    for edge in rolls().graph.edges:
        for attribute in edge.when.names:
            found[attribute].add(edge.target)
    return {attribute: frozenset(names) for attribute, names in found.items()}


def _names(file: NodeFile) -> set[str]:
    names = set(file.names)
    for section in file.sections:
        if isinstance(section, CommandSection):
            texts = [section.text]
        elif isinstance(section, PackageSection):
            texts = [section.names]
        else:
            texts = [part.text for part in section.parts]
            names |= {name for part in section.parts if isinstance(part, FileSection) for name in part.when.names}
        names |= {reference.name for text in texts for reference in text.references}
    return names
