"""Node files become one document: pass 1 fills in values and includes, pass 2 writes on every tag where it came from.

Both passes write text again *without* escaping the values of XML attributes, so that ``cond="num &lt; 9"`` is not
well-formed for the pass after. A line that holds ``<?xml`` is dropped wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avalanche.legacy.text import (
    MAX_DOCUMENT,
    MAX_FILE,
    MAX_TEXT,
    NOWHERE,
    Place,
    Reader,
    Stopped,
    Written,
    WrittenReader,
    escape,
    escape_value,
    header,
    refuse,
)
from avalanche.legacy.traversal import HEAD, TAIL, Selected
from avalanche.legacy.tree import File, Tree

SILENT = frozenset({"description", "changelog", "copyright"})
ROOTS = frozenset({"kickstart", "jumpstart"})
LOADER = frozenset({"url", "lang", "keyboard", "text", "reboot"})
HANDLED = SILENT | {"include", "sinclude", "var", "copy", "eval"}  # tags that are not written themselves


@dataclass
class Expansion:
    """What one node becomes."""

    roll: str = ""
    filename: str = ""
    text: Written = field(default_factory=lambda: Written(MAX_TEXT))
    loader: str = ""


class Expander:
    """Expands the nodes of one profile. What ``<var>`` sets in one node stays set for those that come after it.

    Args:
        evals: whether to leave ``<eval>``, ``<include>`` and ``<copy>`` out (False), or to include, and to refuse what
            the original would have executed (True). Nothing is ever executed here.
    """

    def __init__(self, tree: Tree, attributes: Mapping[str, str], *, evals: bool) -> None:
        self.tree = tree
        self.header = header({name: escape_value(value) for name, value in attributes.items()})
        self.os = attributes.get("os", "linux")
        self.evals = evals
        self.variables: dict[str, str] = {}
        for name, value in attributes.items():
            if not value.isascii():
                raise Stopped(f"UnicodeDecodeError: 'ascii' codec can't decode the value of the attribute {name}")

    def expand(self, node: Selected) -> Expansion:
        """Expand a node.

        Raises:
            Stopped: it has no file, or a file of it stops the original.
            DefinitionError: a bound is broken, or something would have to be executed.
        """
        expansion = Expansion()
        if node.name in (HEAD, TAIL):
            return expansion
        name = node.name
        if self.os == "sunos" and f"sol_{name}.xml" in self.tree.nodes:
            name = f"sol_{name}"
        files = self.tree.node_files(name)
        if not files:
            raise Stopped(f'KickstartNodeError: cannot find node "{name}"', node.place)
        for file in files:
            first = _Pass1(self, expansion, file)
            first.read()
            second = _Pass2(expansion, first.written)
            second.read()
            expansion.loader += second.loader()
        return expansion


class _Pass1(Reader):
    def __init__(self, expander: Expander, expansion: Expansion, file: File) -> None:
        super().__init__()
        self.expander = expander
        self.expansion = expansion
        self.file = file
        self.lines: list[int] = []
        self.written = Written(MAX_TEXT)
        self.silent = False
        self.within_eval = False
        self.first_line = expander.header.count("\n")

    def read(self) -> None:
        if len(self.file.data) > MAX_FILE:
            refuse(f"the file has {len(self.file.data)} bytes, more than the {MAX_FILE} allowed", self.file.place)
        lines = self.file.data.splitlines(keepends=True) if b"\r" not in self.file.data else _lines(self.file.data)
        kept = [(number, line) for number, line in enumerate(lines, 1) if b"<?xml" not in line]
        self.lines = [number for number, _ in kept]
        self.feed([self.expander.header.encode()])
        self.written.add(self.expander.header, self.file.place)
        self.feed([b"".join(line for _, line in kept)])

    def here(self) -> Place:
        return self.at(self.parser.CurrentLineNumber)

    def at_error(self) -> Place:
        return self.at(self.parser.ErrorLineNumber)

    def at(self, line: int) -> Place:
        index = line - self.first_line - 1
        if 0 <= index < len(self.lines):
            return Place(self.file.path, self.lines[index])
        return Place(self.file.path, self.lines[-1] if self.lines and index > 0 else 0)

    def write(self, text: str) -> None:
        self.written.add(text, self.here())

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ROOTS:
            self.expansion.roll = attributes.get("roll") or "unknown"
            self.expansion.filename = self.file.name
        if tag in SILENT:
            self.silent = True
        elif tag in HANDLED:
            {
                "include": self.include, "sinclude": self.include_if_there, "var": self.var,
                "copy": self.copy, "eval": self.evaluate,
            }[tag](attributes)  # fmt: skip
        else:
            if tag == "post":
                self.note("begin")
            self.tag(tag, attributes)
            if tag == "file" and self.expander.evals and attributes.get("include"):
                self.write_file(attributes["include"])

    def end(self, tag: str) -> None:
        if tag not in HANDLED:
            self.write(f"</{tag}>")
        if tag == "post":
            self.note("end")
        if tag == "eval":
            self.within_eval = False
        if tag in HANDLED or tag == "post":
            self.silent = False

    def characters(self, data: str) -> None:
        if not self.silent and not self.within_eval:
            self.write(escape(data))

    def tag(self, tag: str, attributes: dict[str, str]) -> None:
        dropped = {"roll", "file"} | ({"include"} if tag == "file" else set())
        values = "".join(f' {name}="{value}"' for name, value in attributes.items() if name not in dropped)
        self.write(f"<{tag} {values}>" if values else f"<{tag}>")

    def note(self, what: str) -> None:
        """A section of its own, which notes in the installation's log that a section begins or ends."""
        self.write(
            '\n<post>\n<file name="/var/log/rocks-install.log" mode="append">\n'
            f"{self.expansion.filename}: {what} post section\n</file>\n</post>\n\n"
        )

    def var(self, attributes: dict[str, str]) -> None:
        name, value, other = attributes.get("name"), attributes.get("val"), attributes.get("ref")
        variables = self.expander.variables
        if value:
            variables[name or ""] = value
        elif other:
            variables[name or ""] = variables.get(other, "")
        elif name:
            self.write(escape(variables.get(name, "")))

    def include(self, attributes: dict[str, str]) -> None:
        if not self.expander.evals:
            return
        name = attributes.get("file")
        found = None if name is None else self.expander.tree.include(name)
        if found is None:
            raise Stopped(f"IOError: [Errno 2] No such file or directory: 'include/{name}'", self.here())
        text = self.ascii_text(found)
        self.write(escape(text) if (attributes.get("mode") or "quote") == "quote" else text)

    def include_if_there(self, attributes: dict[str, str]) -> None:
        if self.expander.tree.include(attributes.get("file") or "") is not None:
            self.include(attributes)

    def write_file(self, path: str) -> None:
        """The text of ``<file include=>``, unescaped; nothing when there is no such file."""
        name = path.removeprefix("./")
        if not name.startswith("include/"):
            refuse(f"the original reads the frontend's {path} here; --legacy does not: add --no-eval", self.here())
        found = self.expander.tree.include(name.removeprefix("include/"))
        if found is not None:
            self.write(self.ascii_text(found))

    def copy(self, attributes: dict[str, str]) -> None:
        if self.expander.evals:
            path = attributes.get("src")
            refuse(f"the original reads the frontend's {path} here; --legacy does not: add --no-eval", self.here())

    def evaluate(self, attributes: dict[str, str]) -> None:
        if self.expander.evals:
            shell = attributes.get("shell") or "sh"
            refuse(f"the original runs this with {shell!r}; --legacy runs nothing: add --no-eval", self.here())
        self.within_eval = True

    def ascii_text(self, file: File) -> str:
        if len(file.data) > MAX_FILE:
            refuse(f"{file.path} has {len(file.data)} bytes, more than the {MAX_FILE} allowed", self.here())
        try:
            return file.data.decode("ascii")
        except UnicodeDecodeError as error:
            line = file.data.count(b"\n", 0, error.start) + 1
            words = f"UnicodeDecodeError: 'ascii' codec can't decode byte {file.data[error.start]:#04x}"
            raise Stopped(words, Place(file.path, line)) from None


class _Pass2(WrittenReader):
    def __init__(self, expansion: Expansion, written: Written) -> None:
        super().__init__(written)
        self.expansion = expansion
        self.key: str | None = None
        self.kept: list[str] = []
        self.found: dict[str, str] = {}

    def loader(self) -> str:
        """Lines for the installer's loader; the original's order varied."""
        return "".join(f"{key} {self.found[key]}\n" for key in sorted(self.found))

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.kept = []
        if tag in ROOTS:
            return
        self.key = tag if tag in LOADER else None
        values = {"roll": self.expansion.roll, "file": self.expansion.filename}
        written = [*attributes.items(), *((name, values[name]) for name in values if name not in attributes)]
        self.expansion.text.add(
            "<{}{}>".format(tag, "".join(f' {name}="{value}"' for name, value in written)), self.here()
        )

    def end(self, tag: str) -> None:
        if tag in ROOTS:
            return
        if self.key is not None:
            self.found[self.key] = "".join(self.kept)
        self.expansion.text.add(f"</{tag}>", self.here())

    def characters(self, data: str) -> None:
        self.kept.append(data)
        self.expansion.text.add(escape(data), self.here())


def _lines(data: bytes) -> list[bytes]:
    """Lines that end with a line feed only, as the original split them."""
    return [line + b"\n" for line in data.split(b"\n")]


def assemble(attributes: Mapping[str, str], expansions: list[Expansion]) -> Written:
    """The document that the original printed: every attribute as an entity, what the loader needs, then all nodes."""
    document = Written(MAX_DOCUMENT)
    tag = "jumpstart" if attributes.get("os") == "sunos" else "kickstart"
    names = ", ".join(f"'{name}': '&{name};'" for name in sorted(attributes))
    document.add(header({name: escape_value(value) for name, value in attributes.items()}))
    document.add(f'<{tag} attrs="{{{names}}}">\n')
    if attributes.get("os") == "linux":
        loader = "".join(expansion.loader for expansion in expansions)
        document.add(f"<loader>\n{escape(loader)}\n%kgen\n</loader>\n")
    for expansion in expansions:
        document.extend(expansion.text)
        document.add("\n", NOWHERE)
    document.add(f"</{tag}>\n")
    return document
