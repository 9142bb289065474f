"""Node tags: how each tag of a node file becomes a section. docs/node-format.md tells what there is.

What is wrong is an error with its line; what is odd but has one sensible meaning is a remark.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator

from avalanche.commands import SOURCES, is_command
from avalanche.condition import ALWAYS, CONDITIONS, Condition, parse_when
from avalanche.document import Element, Reference, Text, stray_text
from avalanche.graph import IGNORED
from avalanche.nodesections import CommandSection, CommentSection, FileSection, PackageSection, ScriptSection, Section
from avalanche.remark import Remark
from avalanche.sections import BASH, FILE_VARS, SHELLS, Fragment, is_interpreter, is_one_line

SCRIPTS = ("pre", "post", "configure", "boot")
# Read by other programs than ours, or by none: screens are the pages of Rocks' frontend wizard.
PASSED_BY = IGNORED | {"screen"}
FOREIGN = frozenset({"ansible", "attributes"})  # of Rocks 7 and earlier; they come with programs that we do not have
KNOWN = ("main", "package", *SCRIPTS, "debug", "eval", "include", "sinclude", "var", *sorted(PASSED_BY))
INSTALLING = frozenset({"pre", "post"})  # the phases of an installation; Rocks' other one is "reconfigure"

# The XML attributes of each tag.
CONDITIONAL = frozenset({*CONDITIONS, "phase"})
_PACKAGE = CONDITIONAL | {"type", "disable"}
_BOOT = CONDITIONAL | {"order", "strict"}
_SCRIPT = CONDITIONAL | {"interpreter", "arg", "strict"}
_FILE = CONDITIONAL | {
    "name", "mode", "owner", "perms", "perm", "vars", "expr", "rcs", "src", "include", "encoding",
}  # fmt: skip

_TRUE = frozenset({"1", "true", "yes", "on", "y"})
_FALSE = frozenset({"0", "false", "no", "off", "n"})


class TagReader:
    """Reads the sections of one node file, whose evals and includes are done, and gathers remarks.

    Raises:
        DefinitionError, ProfileError: a section is wrong; names file and line.
        ConditionError: a condition cannot be understood.
    """

    def __init__(self) -> None:
        self.remarks: list[Remark] = []

    def sections(self, root: Element) -> Iterator[Section]:
        """Read the children of ``<kickstart>``."""
        strict = self._flag(root, "strict")
        for element in self._elements(root):
            if element.tag == "main":
                yield from self._main(element)
            elif element.tag == "package":
                yield from self._package(element)
            elif element.tag in SCRIPTS:
                yield from self._script(element, strict)
            elif element.tag == "debug":
                when, installing = self._when(element)
                if installing:
                    yield CommentSection(element.text(), when, element.line)
            elif element.tag not in PASSED_BY:
                self._pass_by(element)

    def remark(self, element: Element, code: str, message: str, *, line: int | None = None) -> None:
        """Take down what is odd about an element."""
        self.remarks.append(Remark(element.file, line or element.line, code, message))

    def _elements(self, root: Element) -> Iterator[Element]:
        for item, line in zip(root.content, root.lines, strict=True):
            if isinstance(item, Element):
                yield item
            elif isinstance(item, Reference) or item.strip():
                shown, begun = stray_text(item, line)
                self.remark(root, "text-passed-by", f"the text {shown!r} stands between tags and is lost", line=begun)

    def _pass_by(self, element: Element) -> None:
        if element.tag in FOREIGN:
            self.remark(element, "tag-passed-by", f"<{element.tag}> means nothing here and is passed by")
            return
        close = difflib.get_close_matches(element.tag, KNOWN, n=1)
        if close:
            element.fail(f"<{element.tag}> is unknown here; did you mean <{close[0]}>?")
        if element.tag in ("file", "copy"):
            element.fail(f"<{element.tag}> stands in a script; put it in a <post>")
        if is_command(element.tag):
            element.fail(f"<{element.tag}> is a command of the installer; put it in <main>")
        for inner in element.content:
            if isinstance(inner, Element) and inner.tag in (*SCRIPTS, "main", "package"):
                element.fail(f"<{element.tag}> is unknown here, and <{inner.tag}> would be lost; move that out of it")
        self.remark(element, "tag-unknown", f"<{element.tag}> is unknown and passed by, with all it holds")

    def _when(self, element: Element, known: frozenset[str] = CONDITIONAL) -> tuple[Condition, bool]:
        """Read an element's condition, and whether it is for an installation at all (``phase=``)."""
        if not element.attributes:
            return ALWAYS, True
        for name in element.attributes:
            if name not in known:
                close = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f"; did you mean {close[0]}=?" if close else ""
                self.remark(element, "attribute-unknown", f"{name}= of <{element.tag}> means nothing{hint}")
        phase = element.get("phase")
        installing = phase is None or bool(INSTALLING & {item.strip() for item in phase.split(",")})
        return parse_when(element), installing

    def _flag(self, element: Element, name: str) -> bool | None:
        value = element.get(name)
        if value is None:
            return None
        if value.lower() not in _TRUE | _FALSE:
            element.fail(f"{name}={value!r} of <{element.tag}> is unclear; write {name}='yes' or {name}='no'")
        return value.lower() in _TRUE

    # --- commands ---

    def _main(self, main: Element) -> Iterator[CommandSection]:
        when, installing = self._when(main)
        for element in main.children():
            inner, now = self._when(element)
            if element.tag != "include" and not is_command(element.tag):
                element.fail(f"<{element.tag}> is no kickstart command that pykickstart knows")
            lines = list(self._lines(element))
            if installing and now:
                for command, text, line in lines:
                    yield CommandSection(command, text, when & inner, line)

    def _lines(self, element: Element) -> Iterator[tuple[str, Text, int]]:
        """Take a command's text apart: a line that begins with ``-`` goes on with the one before it, any other is a
        command of its own, as ``%include`` within Rocks' ``<install>``."""
        lines = _split_lines(element)
        first = lines[0][0]
        # <install> never had words of its own.
        apart = bool(first) and (element.tag == "install" or _first_word(first)[0] == "%include")
        arguments, line = (Text(), element.line) if apart else lines.pop(0)
        commands: list[tuple[str, Text, int]] = [(element.tag, arguments, line)]
        for text, line in lines:
            command, blank, arguments = _first_word(text)
            if command.startswith("-"):
                name, before, begun = commands[-1]
                commands[-1] = name, Text((*before.parts, " " if before else "", *text.parts)), begun
                continue
            if command == "%include":
                command = "include"
            if command != "include" and not is_command(command):
                shown = f"{command}{blank}"[:40].strip() or "a reference"
                element.fail(
                    f"<{element.tag}> spans several lines, and {shown!r} is no kickstart command; "
                    "write one element for each command, and what belongs to one on one line",
                    line=line,
                )
            self.remark(element, "main-lines", f"<{element.tag}> holds <{command}>; write it as an element", line=line)
            commands.append((command, arguments, line))
        for command, text, line in commands:
            if not is_one_line(text):
                element.fail(f"<{command}> holds a character that no command may have", line=line)
            if command == "include" and not (text.plain or "").startswith("/"):
                element.fail("<include> in <main> names the absolute path of a file that a <pre> makes", line=line)
            if command in SOURCES:
                self.remark(
                    element,
                    "source-command",
                    f"<{command}> is left out: packages come from the distribution",
                    line=line,
                )
            yield command, text, line

    # --- packages ---

    def _package(self, element: Element) -> Iterator[PackageSection]:
        when, installing = self._when(element, _PACKAGE)
        kind, disable = element.get("type"), element.get("disable")
        if kind not in (None, "", "meta"):
            element.fail(f"type={kind!r} of <package> is unknown; type='meta' names a group")
        if disable is not None and disable.lower() not in _TRUE:
            self.remark(
                element, "package-disable", f"disable={disable!r} disables, as any value does; write disable='1'"
            )
        names = element.text()
        if not names.strip():
            self.remark(element, "package-empty", "<package> names no package")
        elif installing:
            yield PackageSection(names, kind == "meta", disable is not None, when, element.line)

    # --- scripts ---

    def _script(self, element: Element, strict: bool | None) -> Iterator[ScriptSection]:
        when, installing = self._when(element, _BOOT if element.tag == "boot" else _SCRIPT)
        interpreter, chroot = self._arguments(element) if element.tag != "boot" else (BASH, True)
        if not is_interpreter(interpreter):
            element.fail(f"interpreter {interpreter!r} is no absolute path without blanks")
        said = self._flag(element, "strict")
        section = ScriptSection(
            self._kind(element), tuple(self._parts(element, interpreter)), when, element.line, interpreter, chroot,
            strict if said is None else said,
        )  # fmt: skip
        if installing:
            yield section

    @staticmethod
    def _kind(element: Element) -> str:
        if element.tag != "boot":
            return "pre" if element.tag == "pre" else "post"
        order = (element.get("order") or "pre").strip()
        if order not in ("pre", "post"):
            element.fail(f"order={order!r} of <boot> is unknown; choose pre or post")
        return f"boot-{order}"

    def _parts(self, element: Element, interpreter: str) -> Iterator[Fragment | FileSection]:
        run: list[str | Reference] = []
        begin = element.line
        for item, line in zip(element.content, element.lines, strict=True):
            if not isinstance(item, Element):
                begin = begin if run else line
                run.append(item)
                continue
            if item.tag == "service":
                self.remark(item, "tag-passed-by", "<service> is for Solaris, and passed by")
                continue
            if item.tag not in ("file", "copy"):
                item.fail(f"<{item.tag}> is unknown here; <{element.tag}> holds text, <file> and <copy>")
            if interpreter not in SHELLS:
                item.fail(f"<{item.tag}> is written by the shell; move it to a <{element.tag}> without interpreter=")
            yield from _fragment(run, begin)
            if item.tag == "file":
                yield from self._file(item)
            run = []
        yield from _fragment(run, begin)

    def _arguments(self, element: Element) -> tuple[str, bool]:
        """Read ``interpreter=`` and ``arg=``; in Rocks' old style the latter holds ``--interpreter X``."""
        interpreter, chroot = element.get("interpreter"), True
        arg = element.get("arg")
        try:
            words = shlex.split(arg.replace("=", " ")) if arg else []
        except ValueError as error:
            element.fail(f"arg= cannot be split into words: {error}")
        while words:
            word = words.pop(0)
            if word == "--nochroot":
                chroot = element.tag == "pre"  # a <pre> is outside in any case
            elif word == "--interpreter" and words:
                found = words.pop(0)
                interpreter = interpreter or found
            elif word != "--erroronfail":
                self.remark(
                    element,
                    "arg-unknown",
                    f"{word!r} in arg= means nothing; it takes --nochroot and --interpreter PATH",
                )
        return (interpreter or "").strip() or BASH, chroot

    # --- files ---

    def _file(self, element: Element) -> Iterator[FileSection]:
        when, installing = self._when(element, _FILE)
        name = element.value("name")
        if name is None:
            element.fail("<file> needs name=, the absolute path of the file")
        mode, variables = self._choices(element)
        if "perm" in element.attributes:
            self.remark(element, "file-perm", "perm= is read as perms=; write that")
        owner = element.value("owner")
        text = file_text(element.text())
        encoding = element.get("encoding")
        source = element.value("src")
        if source is not None and mode != "pipe":
            self.remark(element, "file-src", "src= goes with mode='pipe', and means nothing here")
            source = None
        section = FileSection(
            name=name.strip(),
            text=text if encoding is None else text.strip(),
            when=when,
            line=element.line,
            mode=mode,
            vars=variables,
            owner=owner.strip() if owner is not None and owner.strip() else None,
            perms=self._perms(element),
            source=source,
            expr=element.value("expr"),
            encoding=encoding,
            keep=(element.get("rcs") or "yes").strip().lower() not in _FALSE,
        )
        if installing:
            yield section

    def _choices(self, element: Element) -> tuple[str, str]:
        mode = (element.get("mode") or "create").strip().lower()
        if mode not in ("create", "append", "pipe"):
            self.remark(
                element, "file-mode", f"mode={mode!r} is read as create; there are create, append, pipe, and perms="
            )
            mode = "create"
        variables = (element.get("vars") or "literal").strip().lower()
        if variables not in FILE_VARS:
            element.fail(f"vars={variables!r} is unknown; choose literal or expanded")
        return mode, variables

    @staticmethod
    def _perms(element: Element) -> Text | None:
        perms = element.value("perms") or element.value("perm")
        return perms.strip() if perms is not None and perms.strip() else None


def _split_lines(element: Element) -> list[tuple[Text, int]]:
    """Take an element's text apart at its line ends; blank lines are dropped, but one remains in any case."""
    text = element.text()
    if text.plain is not None and "\n" not in text.plain:
        stripped = text.strip()
        return [(stripped, element.lines[0] if stripped else element.line)]
    found: list[tuple[Text, int]] = []
    current: list[str | Reference] = []
    line = element.lines[0] if element.lines else element.line
    for part in text.parts:
        if isinstance(part, Reference):
            current.append(part)
            continue
        first, *more = part.split("\n")
        current.append(first)
        for piece in more:
            found.append((Text(tuple(current)).strip(), line))
            current, line = [piece], line + 1
    found.append((Text(tuple(current)).strip(), line))
    begun = [(text, line) for text, line in found if text]
    return begun or [(Text(), element.line)]


def _first_word(text: Text) -> tuple[str, str, Text]:
    """Return the first word, the blank after it, and the rest; an empty word where a reference stands first."""
    first = text.parts[0] if text.parts else ""
    if not isinstance(first, str):
        return "", "", text
    word, blank, rest = first.partition(" ")
    if "\t" in word:
        word, blank, rest = first.partition("\t")
    return word, blank, Text((rest, *text.parts[1:])).strip()


def _fragment(run: Iterable[str | Reference], line: int) -> Iterator[Fragment]:
    """Make a fragment of the text between files, without the blank lines before it; none of blanks only."""
    if all([isinstance(part, str) and not part.strip() for part in run]):
        return
    parts = list(Text(tuple(run)).parts)
    if isinstance(parts[0], str):
        blank, newline, rest = parts[0].partition("\n")
        while newline and not blank.strip():
            parts[0], line = rest, line + 1
            blank, newline, rest = rest.partition("\n")
    if isinstance(parts[-1], str) and "\n" in parts[-1]:
        parts[-1] = parts[-1].rstrip() + "\n"  # the indentation of the end tag is not the script's
    yield Fragment(Text(tuple(parts)), line)


def file_text(text: Text) -> Text:
    """Drop a newline right after the start tag and blanks right before the end tag; end the last line (Rocks' rule)."""
    parts = list(text.parts)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].removeprefix("\n")
    if parts and isinstance(parts[-1], str):
        kept, newline, last = parts[-1].rpartition("\n")
        if newline and not last.strip():
            parts[-1] = kept + newline
        elif len(parts) == 1 and not last.strip():
            parts.pop()
    ended = not parts or parts[-1] == "" or (isinstance(parts[-1], str) and parts[-1].endswith("\n"))
    return Text(tuple(parts) if ended else (*parts, "\n"))
