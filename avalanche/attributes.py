"""Attributes: named values at scopes, the strongest scope wins; and their XML document (docs/protocol.md, section 3).

Part of the agent's import closure (Python 3.9, standard library).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from avalanche import document
from avalanche.document import PREDEFINED, REFERENCE_NAME, Element
from avalanche.errors import ConfigError, DefinitionError, ProfileError

SCOPES = (
    "intrinsic",
    "global",
    "os",
    "appliance",
    "rack",
    "host",
)  # weakest first; a later one wins (Rocks' precedence)
VERSION = "1"
MAX_VALUE = 64 * 1024  # characters


@dataclass(frozen=True)
class Attribute:
    """One value at one scope. The repr never shows a secret's value.

    Raises:
        ConfigError: the name, scope or value is none; says what is allowed.
    """

    name: str
    value: str
    scope: str = "global"
    secret: bool = False

    def __post_init__(self) -> None:
        if not REFERENCE_NAME.fullmatch(self.name) or self.name in PREDEFINED:
            allowed = (
                "at most 128 of letters, digits, '_', '.', '-', a letter or '_' first; not XML's lt gt amp quot apos"
            )
            raise ConfigError(f"{self.name!r} is no attribute name; allowed are {allowed}")
        if self.scope not in SCOPES:
            raise ConfigError(f"attribute {self.name}: {self.scope!r} is no scope; choose one of {', '.join(SCOPES)}")
        character = document.forbidden(self.value)
        if character is not None:
            raise ConfigError(
                f"attribute {self.name}: the value holds {character}, which XML cannot carry; encode it, e.g. as base64"
            )
        if len(self.value) > MAX_VALUE:
            raise ConfigError(
                f"attribute {self.name}: the value has {len(self.value)} characters; at most {MAX_VALUE} are allowed"
            )

    def __repr__(self) -> str:
        value = "'***'" if self.secret else repr(self.value)
        return f"<Attribute {self.name}={value} {self.scope}>"


class Attributes(Mapping[str, str]):
    """The values a host sees: immutable; per name the attribute of the strongest scope.

    Raises:
        ConfigError: one scope gives a name twice.
    """

    def __init__(self, attributes: Iterable[Attribute] = ()) -> None:
        found: dict[str, list[Attribute]] = {}
        for attribute in attributes:
            found.setdefault(attribute.name, []).append(attribute)
        for name, layers in found.items():
            if len(layers) > 1:
                layers.sort(key=lambda layer: SCOPES.index(layer.scope), reverse=True)
                for stronger, weaker in zip(layers, layers[1:]):
                    if stronger.scope == weaker.scope:
                        raise ConfigError(f"attribute {name} is given twice at scope {weaker.scope}")
        self._layers = {name: tuple(found[name]) for name in sorted(found)}

    @classmethod
    def of(cls, values: Mapping[str, str], *, scope: str = "global") -> Attributes:
        """Build attributes of one scope from names and values."""
        return cls(Attribute(name, value, scope) for name, value in values.items())

    def __getitem__(self, name: str) -> str:
        return self._layers[name][0].value

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Attributes):
            return self.effective() == other.effective()
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.effective())

    def __repr__(self) -> str:
        return f"<Attributes {', '.join(self._layers)}>"

    def attribute(self, name: str) -> Attribute:
        """Return the attribute that wins.

        Raises:
            KeyError: there is none of this name.
        """
        return self._layers[name][0]

    def overridden(self, name: str) -> tuple[Attribute, ...]:
        """Return the attributes that a stronger scope hides, strongest first."""
        return self._layers.get(name, ())[1:]

    def effective(self) -> tuple[Attribute, ...]:
        """Return the attributes that win, by name."""
        return tuple(layers[0] for layers in self._layers.values())

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no message and no log may show."""
        return tuple(attribute.value for attribute in self.effective() if attribute.secret)

    def closest(self, name: str) -> list[str]:
        """Return up to three names that a person may have meant, best first."""
        folded: dict[str, str] = {}
        for known in self:
            folded.setdefault(known.lower(), known)
        return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3)]

    def to_xml(self) -> bytes:
        """Write the attributes that win as an ``<attributes>`` document; the same attributes give the same bytes."""
        lines = [document.start_tag("attributes", version=VERSION)]
        for attribute in self.effective():
            secret = "true" if attribute.secret else None
            start = document.start_tag("attribute", name=attribute.name, scope=attribute.scope, secret=secret)
            lines.append(f"{start}{document.escape_text(attribute.value)}</attribute>")
        lines.append("</attributes>\n")
        return "\n".join(lines).encode()

    @classmethod
    def from_element(cls, element: Element) -> Attributes:
        """Read an ``<attributes>`` element.

        Raises:
            ProfileError: it is not one, of another version, or malformed; names the line.
        """
        try:
            if element.tag != "attributes":
                element.fail(f"expected <attributes>, found <{element.tag}>")
            element.allow("version")
            if element.get("version") != VERSION:
                element.fail(f"attributes of version {element.get('version')!r}; this program reads version {VERSION}")
            return cls(cls._read(child) for child in element.children())
        except DefinitionError as error:
            raise ProfileError(error.message, file=error.file, line=error.line) from None
        except ConfigError as error:
            raise ProfileError(str(error), file=element.file, line=element.line) from None

    @staticmethod
    def _read(child: Element) -> Attribute:
        if child.tag != "attribute":
            child.fail(f"<{child.tag}> cannot stand in <attributes>")
        child.allow("name", "scope", "secret")
        flag = child.get("secret")
        if flag not in (None, "true", "false"):
            child.fail(f"secret is 'true' or 'false', not {flag!r}")
        plain = child.text().plain
        assert plain is not None  # the document was read without references
        return Attribute(child.get("name") or "", plain, child.get("scope") or "", flag == "true")

    @classmethod
    def parse(cls, data: bytes, *, file: str = "attributes") -> Attributes:
        """Read what ``to_xml`` wrote.

        Raises:
            ProfileError: the bytes are no such document.
        """
        try:
            root = document.parse_document(data, file=file, size=4 << 20, count=100_000)
        except DefinitionError as error:
            raise ProfileError(error.message, file=error.file, line=error.line) from None
        return cls.from_element(root)
