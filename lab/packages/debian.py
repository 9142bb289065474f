"""Debian's package database, and what its words mean to RPM. Pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# RPM reads ``> 2.36`` as "another version than 2.36", so 2.36-9 does not meet it; ``>=`` is what packagers mean.
_OPERATORS = {">=": ">=", "<=": "<=", "=": "=", ">>": ">=", "<<": "<"}
_RELATION = re.compile(r"^([A-Za-z0-9.+-]+)(?::\w+)?(?:\s*\((\S+)\s*([^)]+)\))?")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9.+~^_]")


@dataclass(frozen=True, slots=True)
class Evr:
    """An RPM's epoch, version and release. ``epoch`` is empty where Debian's version has none."""

    epoch: str
    version: str
    release: str


def evr(version: str) -> Evr:
    """Translate a Debian version; a native one (without revision) gets release 0.

    A hyphen within the upstream version becomes RPM's caret: in both worlds 12 < 12-2021 < 12.2.
    """
    epoch, _, rest = version.rpartition(":")
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, "0"
    return Evr(epoch, _FORBIDDEN.sub("_", upstream.replace("-", "^")), _FORBIDDEN.sub("_", revision) or "0")


@dataclass(frozen=True, slots=True)
class Relation:
    """One name of a dependency field, with its bound if it has one. ``str()`` is the RPM capability."""

    name: str
    operator: str = ""
    version: str = ""

    def __str__(self) -> str:
        if not self.operator:
            return self.name
        bound = evr(self.version)
        text = f"{bound.epoch}:{bound.version}" if bound.epoch else bound.version
        # A bound without a revision matches every release.
        if "-" in self.version:
            text += f"-{bound.release}"
        return f"{self.name} {self.operator} {text}"


def parse_relations(field: str) -> tuple[tuple[Relation, ...], ...]:
    """Split a dependency field: clauses that all hold, each a choice of alternatives.

    Raises:
        ValueError: a clause has no package name.
    """
    clauses = (clause.strip() for clause in field.replace("\n", " ").split(","))
    return tuple(tuple(_relation(choice) for choice in clause.split("|")) for clause in clauses if clause)


def _relation(text: str) -> Relation:
    match = _RELATION.match(text.strip())
    if match is None:
        raise ValueError(f"not a package relation: {text!r}")
    name, operator, version = match.groups()
    if operator is None:
        return Relation(name)
    return Relation(name, _OPERATORS.get(operator, operator), version.strip())


def requirement(choices: tuple[Relation, ...]) -> str:
    """Return the RPM requirement for a clause: alternatives become a rich dependency, ``(a or b)``."""
    if len(choices) == 1:
        return str(choices[0])
    return "(" + " or ".join(str(choice) for choice in choices) + ")"


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """An installed package as its database describes it. ``conffiles`` are absolute paths."""

    name: str
    version: str
    architecture: str
    priority: str
    is_essential: bool
    summary: str
    description: str
    depends: tuple[tuple[Relation, ...], ...]
    recommends: tuple[tuple[Relation, ...], ...]
    conflicts: tuple[tuple[Relation, ...], ...]
    provides: tuple[Relation, ...]
    conffiles: frozenset[str]

    @property
    def is_noarch(self) -> bool:
        return self.architecture == "all"


def parse_status(text: str) -> list[DebianPackage]:
    """Return the installed packages of ``/var/lib/dpkg/status``, in its order."""
    return [_package(fields) for fields in _paragraphs(text) if fields.get("Status", "").endswith("ok installed")]


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in paragraph.splitlines():
            if line.startswith((" ", "\t")) and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if fields:
            yield fields


def _package(fields: dict[str, str]) -> DebianPackage:
    def relations(*names: str) -> tuple[tuple[Relation, ...], ...]:
        return tuple(clause for name in names for clause in parse_relations(fields.get(name, "")))

    summary, _, rest = fields.get("Description", "").partition("\n")
    return DebianPackage(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        priority=fields.get("Priority", "optional"),
        is_essential=fields.get("Essential") == "yes",
        summary=summary,
        description=rest,
        depends=relations("Pre-Depends", "Depends"),
        recommends=relations("Recommends"),
        conflicts=relations("Conflicts", "Breaks"),
        provides=tuple(choices[0] for choices in relations("Provides")),
        conffiles=frozenset(line.split()[0] for line in fields.get("Conffiles", "").splitlines() if line.strip()),
    )


# Files that others require by a path which is a link in a merged /usr.
_EXTRA_PROVIDES = {"dash": "/bin/sh", "bash": "/bin/bash", "libc6": "/sbin/ldconfig"}


def dependency_tags(package: DebianPackage, *, virtual: frozenset[str]) -> tuple[str, ...]:
    """Return the dependency lines of the package's spec.

    Args:
        virtual: every name that some package of the set provides without being it.
    """
    tags = [f"Requires: {requirement(clause)}" for clause in package.depends]
    tags += [f"Recommends: {requirement(clause)}" for clause in package.recommends]
    for clause in package.conflicts:
        name = clause[0].name
        # dpkg lets a package conflict with a virtual name it provides itself; RPM refuses to install that.
        if len(clause) == 1 and name != package.name and name not in virtual:
            tags.append(f"Conflicts: {clause[0]}")
    tags += [f"Provides: {relation}" for relation in package.provides]
    if package.name in _EXTRA_PROVIDES:
        tags.append(f"Provides: {_EXTRA_PROVIDES[package.name]}")
    return tuple(tags)


def virtual_names(packages: Iterable[DebianPackage]) -> frozenset[str]:
    """Return every name that is provided by some package."""
    return frozenset(relation.name for package in packages for relation in package.provides)
