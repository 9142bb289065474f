"""Expansion: what stands in a node file's text in another's place: includes, vars, and what the frontend is asked for.

Includes are files of the roll and spliced in once, when the node file is read. ``<var>``s become text or references.
``<eval>``, ``<copy>`` and ``<file include=>`` are asked of the frontend in every compile; a first expansion, without
attributes, leaves them out and learns which attributes decide about them.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Hashable, Iterator

from avalanche import document, quoting
from avalanche.attributes import Attributes
from avalanche.condition import parse_when
from avalanche.document import REFERENCE_NAME, Element, Reference, Text, parse_fragment
from avalanche.effects import Effects, Evaluation, EvaluationFailed, LeftOut
from avalanche.errors import DefinitionError, NodeFileError
from avalanche.nodetags import INSTALLING, PASSED_BY
from avalanche.profile import undefined
from avalanche.remark import Remark
from avalanche.sections import SHELLS

MAX_EXPANDED = 4 << 20  # characters that includes, vars and evals may add to one node file
ASKED = frozenset({"eval", "copy"})
INCLUDES = frozenset({"include", "sinclude"})
NOT_INCLUDED = ASKED | INCLUDES | {"var"}

Item = str | Reference | Element
Include = Callable[[str], tuple[str, bytes] | None]  # a path under include/ -> the file's path and content

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELLS = SHELLS | {"sh", "bash"}


class Budget:
    """How much text may still be added to a node file."""

    def __init__(self) -> None:
        self._left = MAX_EXPANDED

    def spend(self, element: Element, size: int) -> None:
        """Count what an element adds."""
        self._left -= size
        if self._left < 0:
            element.fail(f"includes, vars and evals add more than {MAX_EXPANDED} characters to this file; split it")


# --- includes ---


def splice_includes(root: Element, include: Include | None) -> Element:
    """Put the text of included files in the place of ``<include file=>`` and ``<sinclude file=>``.

    Args:
        include: finds a file of the rolls' ``include/``; None leaves all of them out.

    Raises:
        DefinitionError: a file is missing or malformed, or all of them are too large.
    """
    return _splice(root, include, Budget())


def _splice(element: Element, include: Include | None, budget: Budget) -> Element:
    if not any(isinstance(item, Element) for item in element.content):
        return element
    made = _Content()
    for item, line in zip(element.content, element.lines, strict=True):
        if not isinstance(item, Element) or item.tag in PASSED_BY:
            made.add(item, line)
        elif item.tag in INCLUDES and not (element.tag == "main" and "file" not in item.attributes):
            for part in _included(item, include, budget):
                made.add(part, line)
        else:
            made.add(_splice(item, include, budget), line)
    return made.of(element)


def _included(element: Element, include: Include | None, budget: Budget) -> Iterator[Item]:
    path, mode = element.get("file"), _mode(element)
    if path is None:
        element.fail(f"<{element.tag}> needs file=, a path under the roll's include/")
    parts = path.strip().split("/")
    if not all(part and part not in (".", "..") and part.isprintable() for part in parts):
        element.fail(f"file={path!r} of <{element.tag}> is no path under the roll's include/")
    if include is None:
        return
    found = include("/".join(parts))
    if found is None:
        if element.tag == "include":
            element.fail(f"no roll has include/{path.strip()}; add it, or write <sinclude> if it may be missing")
        return
    file, data = found
    budget.spend(element, len(data))
    text = _text_of(data, file)
    yield from _inserted(text, mode, element, file=file)


def _text_of(data: bytes, file: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DefinitionError("not UTF-8 text; save the file as UTF-8", file=file, line=line) from None
    found = document.FORBIDDEN.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise DefinitionError(
            f"the text holds {document.forbidden(text)}, which XML cannot carry", file=file, line=line
        )
    return text.replace("\r\n", "\n")


def _inserted(text: str, mode: str, element: Element, *, file: str) -> Iterator[Item]:
    """Yield what a text becomes in an element's place: itself, or the XML it is."""
    if mode == "quote":
        yield text
        return
    fragment = parse_fragment(text, file=file)
    for item in fragment.content:
        if isinstance(item, Element):
            _refuse_expansions(item)
        yield _moved(item, element)


def _refuse_expansions(element: Element) -> None:
    if element.tag in NOT_INCLUDED:
        element.fail(f"<{element.tag}> cannot stand in what is included itself")
    for item in element.content:
        if isinstance(item, Element):
            _refuse_expansions(item)


def _moved(item: Item, place: Element) -> Item:
    """Give an item, and all it holds, the line of the element that it replaces."""
    if isinstance(item, str):
        return item
    if isinstance(item, Reference):
        return item._replace(line=place.line)
    return Element(
        item.tag,
        {name: _moved_value(value, place) for name, value in item.attributes.items()},
        place.line,
        tuple(_moved(inner, place) for inner in item.content),
        tuple(place.line for _ in item.content),
        place.file,
    )


def _moved_value(value: str | Text, place: Element) -> str | Text:
    if isinstance(value, str):
        return value
    return Text(tuple(part if isinstance(part, str) else part._replace(line=place.line) for part in value.parts))


def _mode(element: Element) -> str:
    mode = (element.get("mode") or "quote").strip().lower()
    if mode not in ("quote", "xml"):
        element.fail(f"mode={mode!r} of <{element.tag}> is unknown; choose quote or xml")
    return mode


class _Content:
    """The content of an element in the making."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.lines: list[int] = []

    def add(self, item: Item, line: int) -> None:
        if item != "":
            self.items.append(item)
            self.lines.append(line)

    def of(self, element: Element) -> Element:
        return element._replace(content=tuple(self.items), lines=tuple(self.lines))


# --- vars, and what the frontend is asked for ---


class Expander:
    """Expands the tree of one node file, once.

    Args:
        roll, library: whom the frontend has to trust, and what its programs may read.
        attributes: a host's; None leaves out what is asked of the frontend, and keeps whatever a condition may select.
        effects: the frontend.

    Attributes:
        names: the attributes that decide what the frontend is asked.
        asks: whether it is asked anything.
        reads: the frontend's files that were read, with their stamps from before.
    """

    def __init__(
        self, *, roll: str, library: str = "", attributes: Attributes | None = None, effects: Effects | None = None
    ) -> None:
        self._roll = roll
        self._library = library
        self._attributes = attributes
        self._effects = effects
        self._variables: dict[str, Text] = {}
        self._budget = Budget()
        self.names: set[str] = set()
        self.asks = False
        self.reads: list[tuple[str, Hashable]] = []
        self.remarks: list[Remark] = []

    def expand(self, element: Element) -> Element:
        """Return the element with everything in it expanded.

        Raises:
            DefinitionError: a tag is wrong, the frontend refuses or fails; names file and line.
            UndefinedAttribute: a program refers to an attribute that the host does not have.
        """
        if not any(isinstance(item, Element) for item in element.content):
            return element
        made = _Content()
        for item, line in zip(element.content, element.lines, strict=True):
            if not isinstance(item, Element) or item.tag in PASSED_BY:
                made.add(item, line)
                continue
            if item.tag != "var" and not self._is_wanted(item):
                for variable in _variables(item):
                    deque(self._var(variable), maxlen=0)  # what it sets holds for the rest of the file
                continue
            for part in self._expanded(item):
                made.add(part, line)
        return made.of(element)

    def _is_wanted(self, element: Element) -> bool:
        """Say whether a host wants an element: nothing is asked of the frontend for what is left out anyway."""
        when = parse_when(element)
        if element.tag in ASKED or (element.tag == "file" and "include" in element.attributes):
            self.names |= when.names
        if self._attributes is None:
            return True
        phase = element.get("phase")
        if phase is not None and not INSTALLING & {item.strip() for item in phase.split(",")}:
            return False
        return when.holds(self._attributes)

    def _expanded(self, element: Element) -> Iterator[Item]:
        if element.tag == "var":
            yield from self._var(element)
        elif element.tag == "eval":
            yield from self._eval(element)
        elif element.tag == "copy":
            yield self._copy(element)
        elif element.tag == "file" and "include" in element.attributes:
            yield self._file(self.expand(element))
        else:
            yield self.expand(element)

    def _var(self, element: Element) -> Iterator[Item]:
        name, value, reference = element.get("name"), element.value("val"), element.get("ref")
        for given in (name, reference):
            if given is not None and not REFERENCE_NAME.fullmatch(given):
                element.fail(f"{given[:40]!r} of <var> is no name of an attribute")
        if name is None:
            element.fail("<var> needs name=")
        if value is not None:
            self._variables[name] = value
        elif reference is not None:
            self._variables[name] = self._value(reference, element)
        else:
            found = self._value(name, element)
            self._budget.spend(element, sum(len(part) for part in found.parts if isinstance(part, str)))
            yield from found.parts

    def _value(self, name: str, element: Element) -> Text:
        """Return a variable's value; a name that was not set is an attribute, and nothing when there is none."""
        found = self._variables.get(name)
        return Text((Reference(name, element.line, optional=True),)) if found is None else found

    def _eval(self, element: Element) -> Iterator[Item]:
        mode, shell = _mode(element), (element.get("shell") or "sh").strip()
        if not (shell in ("sh", "bash", "python") or (shell.startswith("/") and shell.isprintable())):
            element.fail(
                f"shell={shell!r} of <eval> is unknown; choose sh, bash, python, or the path of an interpreter"
            )
        text = self.expand(element).text()
        self._ask(text, *self._variables.values())
        if self._attributes is None or self._effects is None or isinstance(self._effects, LeftOut):
            return
        evaluation = Evaluation(
            script=self._script(text, shell, element),
            shell=shell,
            environment=tuple(self._environment(element)),
            roll=self._roll,
            library=self._library,
        )
        try:
            output = self._effects.evaluate(evaluation)
        except EvaluationFailed as error:
            element.fail(f"<eval> failed: {error.message}")
        self._budget.spend(element, len(output))
        odd = document.forbidden(output)
        if odd is not None:
            element.fail(f"the output of <eval> holds {odd}, which XML cannot carry")
        try:
            yield from _inserted(output, mode, element, file=element.file)
        except DefinitionError as error:
            element.fail(f"the output of <eval> is not what mode='xml' needs: {error.message} (its line {error.line})")

    def _script(self, text: Text, shell: str, element: Element) -> str:
        assert self._attributes is not None
        attributes = self._attributes

        def value(reference: Reference) -> str:
            return public_value(reference, attributes, file=element.file, where="an eval's text")

        try:
            return (quoting.fill_script if shell in _SHELLS else quoting.fill_other)(text, value)
        except quoting.Refused as refused:
            name = refused.reference.name
            element.fail(f"the attribute {name} cannot stand here: {refused.why}", line=refused.reference.line)

    def _environment(self, element: Element) -> Iterator[tuple[str, str]]:
        assert self._attributes is not None
        for name, text in sorted(self._variables.items()):
            if not _VARIABLE.fullmatch(name):
                continue
            if any(_is_secret(reference, self._attributes) for reference in text.references):
                message = f"<var name={name!r}> holds a secret; the <eval> does not get it"
                self.remarks.append(Remark(element.file, element.line, "eval-secret", message))
                continue
            yield name, resolve(text, self._attributes, file=element.file)

    def _copy(self, element: Element) -> Element:
        for name in ("src", "dst"):
            if name not in element.attributes:
                element.fail("<copy> needs src=, a file of the frontend, and dst=, where it goes on the host")
        content = base64.encodebytes(self._read(element, "src")).decode()
        self._budget.spend(element, len(content))
        kept = {name: value for name, value in element.attributes.items() if name not in ("src", "dst")}
        attributes = {**kept, "name": element.attributes["dst"], "encoding": "base64"}
        return element._replace(tag="file", attributes=attributes, content=(content,), lines=(element.line,))

    def _file(self, element: Element) -> Element:
        text = _text_of(self._read(element, "include"), element.file)
        self._budget.spend(element, len(text))
        return element._replace(content=(text, *element.content), lines=(element.line, *element.lines))

    def _read(self, element: Element, name: str) -> bytes:
        text = (element.value(name) or Text()).strip()
        self._ask(text)
        if self._attributes is None or self._effects is None or isinstance(self._effects, LeftOut):
            return b""
        path = resolve(text, self._attributes, file=element.file)
        if not path.startswith("/") or not path.isprintable():
            element.fail(f"{name}={path!r} of <{element.tag}> is no absolute path of a file on the frontend")
        self.reads.append((path, self._effects.stamp(path)))
        try:
            return self._effects.read(path, roll=self._roll)
        except EvaluationFailed as error:
            element.fail(error.message)

    def _ask(self, *texts: Text) -> None:
        self.asks = True
        for text in texts:
            self.names.update(reference.name for reference in text.references)


def _variables(element: Element) -> Iterator[Element]:
    for item in element.content:
        if isinstance(item, Element):
            if item.tag == "var":
                yield item
            elif item.tag not in PASSED_BY:
                yield from _variables(item)


# --- values that have to be known on the frontend ---


def resolve(text: Text, attributes: Attributes, *, file: str) -> str:
    """Put values in the place of references.

    Raises:
        UndefinedAttribute: there is no such attribute; names the line.
        NodeFileError: it is secret.
    """
    plain = text.plain
    if plain is not None:
        return plain
    where = "commands, scripts and texts of files only"
    return text.fill(lambda reference: public_value(reference, attributes, file=file, only=where))


def public_value(
    reference: Reference, attributes: Attributes, *, file: str, where: str | None = None, only: str | None = None
) -> str:
    """Return the value of an attribute that may be known to others than the host. Raises as ``resolve``."""
    if reference.name not in attributes:
        if reference.optional:
            return ""
        raise undefined(reference, attributes, file=file)
    if _is_secret(reference, attributes):
        why = f"a secret can stand in {only}" if only else f"a secret cannot stand in {where}"
        raise NodeFileError(f"&{reference.name}; is secret; {why}", file=file, line=reference.line)
    return attributes[reference.name]


def _is_secret(reference: Reference, attributes: Attributes) -> bool:
    return reference.name in attributes and attributes.attribute(reference.name).secret
