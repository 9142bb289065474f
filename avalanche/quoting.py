"""Quoting: how an attribute's value fits where its reference stands, in scripts and kickstart commands.

Part of the agent's import closure (Python 3.9, standard library). The promise: a value is text; it neither ends a
quotation nor becomes a command, an expansion or a second word. Where that is not certain, the value is refused.

* A value of letters, digits and ``_@%+=:,./-`` is inserted as it is, everywhere.
* Any other value on one line is escaped for the quotation it stands in: none, single, double, here-document, comment.
* Where the quotation is not certain (backquotes, arithmetic, ``${...}``, ``case`` within ``$(...)``), it is refused.
* Line breaks and control characters are refused. Only the text of a literal ``<file>`` takes any value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Optional

from avalanche.document import Reference, Text

SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
REMEDY = "write it with a literal <file> and read that file"

Value = Callable[[Reference], str]


class Refused(Exception):
    """A value cannot stand where its reference stands."""

    def __init__(self, reference: Reference, why: str) -> None:
        super().__init__(why)
        self.reference = reference
        self.why = why


def fill_script(text: Text, value: Value, *, heredoc: bool = False) -> str:
    """Insert values into bash text.

    Args:
        heredoc: the text is the body of a here-document that the shell expands.

    Raises:
        Refused: a value would not stay the text it is.
    """
    shell = _Shell("expanded" if heredoc else "plain")
    written = []
    for part in text.parts:
        if isinstance(part, str):
            shell.feed(part)
            written.append(part)
        else:
            written.append(shell.fit(part, _one_line(part, value(part))))
    filled = "".join(written)
    _check_delimiters(text, filled)
    return filled


def fill_command(text: Text, value: Value) -> str:
    """Insert values into the words of a kickstart command, which are split by ``shlex`` rules.

    A command that is one reference, to a value that begins with ``-``, takes the value as its options: what else could
    ``<bootloader>&Bootloader;</bootloader>`` mean?

    Raises:
        Refused: a value would not stay the text it is.
    """
    if len(text.parts) == 1 and text.references:
        reference = text.references[0]
        options = _one_line(reference, value(reference))
        if options.startswith("-"):
            return _options(reference, options)
    written = ""
    for part in text.parts:
        if isinstance(part, str):
            written += part
        else:
            inserted = _one_line(part, value(part))
            written += inserted if SAFE.fullmatch(inserted) else _in_command(part, inserted, written)
    return written


def _options(reference: Reference, options: str) -> str:
    try:
        shlex.split(options)
    except ValueError as error:
        raise Refused(reference, f"the value cannot be split into options: {error}") from None
    return options


def fill_other(text: Text, value: Value) -> str:
    """Insert values into the text of another language than the shell: safe characters and blanks only.

    Raises:
        Refused: a value holds anything else.
    """

    def fit(reference: Reference) -> str:
        inserted = _one_line(reference, value(reference))
        solid = inserted.replace(" ", "")
        if not SAFE.fullmatch(solid):
            raise Refused(reference, f"the value holds {_odd(solid)}; {REMEDY}")
        return inserted

    return text.fill(fit)


def ansi(text: str) -> str:
    r"""Write text as one ``$'...'`` word of bash, a line of it on a line, whatever it holds (a NUL aside).

    No line of the result begins with anything but ``$'``, and none ends but at ``\n``.
    """
    escapes = {"\\": "\\\\", "'": "\\'", "\t": "\\t", "\r": "\\r"}
    *whole, last = text.split("\n")
    lines = ["".join(escapes.get(character) or _bytes(character) for character in line) + "\\n" for line in whole]
    if last or not lines:
        lines.append("".join(escapes.get(character) or _bytes(character) for character in last))
    return "\\\n".join(f"$'{line}'" for line in lines)


def _bytes(character: str) -> str:
    # str.splitlines, and with it pykickstart, ends lines at more characters than a newline.
    return character if character.isprintable() else "".join(f"\\x{byte:02x}" for byte in character.encode())


def _one_line(reference: Reference, value: str) -> str:
    for character in value:
        if character != "\t" and not character.isprintable():
            name = "a line break" if character in "\r\n" else f"the character U+{ord(character):04X}"
            raise Refused(reference, f"the value holds {name}; {REMEDY}")
    return value


def _odd(value: str) -> str:
    return repr(next(character for character in value if not SAFE.fullmatch(character)))


def _in_single(value: str) -> str:
    return value.replace("'", "'\\''")


def _in_command(reference: Reference, value: str, before: str) -> str:
    quotation = _quotation(before)
    if quotation == "'":
        return _in_single(value)
    if quotation == '"':
        return re.sub(r'(["\\])', r"\\\1", value)
    if quotation == "":
        return shlex.quote(value)
    raise Refused(reference, f"the value holds {_odd(value)} and stands after a backslash or comment sign; move it")


def _quotation(written: str) -> Optional[str]:
    """Say which quotation is open at the end of a command, or None after a backslash or comment sign."""
    quotation = ""
    skip = False
    for character in written:
        if skip:
            skip = False
        elif character == "\\" and quotation != "'":
            skip = True
        elif character == "#" and not quotation:
            return None
        elif character in "'\"" and quotation in ("", character):
            quotation = "" if quotation else character
    return None if skip else quotation


def _check_delimiters(text: Text, filled: str) -> None:
    """Refuse a value that makes a line equal to a here-document's last one, wherever the shell may see one."""
    literal = "".join(part if isinstance(part, str) else "\0" for part in text.parts)
    delimiters = {found["word"] for found in _HEREDOC.finditer(literal)}
    if not delimiters:
        return
    references = iter(text.references)
    # No value holds a line break, so the lines correspond.
    for before, after in zip(literal.split("\n"), filled.split("\n")):
        here = [next(references) for _ in range(before.count("\0"))]
        if here and after.strip() in delimiters:
            raise Refused(here[0], f"the value makes the line {after.strip()!r}, which ends a here-document")


# --- a reader of bash ---

_HEREDOC = re.compile(r"<<(?!<)(?P<tabs>-?)[ \t]*(?P<open>['\"\\]?)(?P<word>[A-Za-z0-9_.-]+)(?P<close>['\"]?)")
_PARAMETER = re.compile(r"\$\{[A-Za-z0-9_#%:/*@!?+=.,^~\[\]-]*\}")
_ARITHMETIC = re.compile(r"\$?\(\([A-Za-z0-9_$+*/%<>=!?:,&|^~ \t-]*\)\)")
_CASE = re.compile(r"case[ \t\n]")
_UNQUOTED = ("plain", "paren", "array")
_WORD_ENDS = " \t\n;&|()<>"


class _Shell:
    """Reads bash text and knows in which quotation it stands; gives up (``lost``) rather than guess."""

    def __init__(self, context: str) -> None:
        self.stack = [context]
        self.steps = {
            "plain": self._plain,
            "paren": self._plain,
            "array": self._array,
            "double": self._expansion,
            "single": self._single,
            "ansi": self._ansi,
            "quoted": self._quoted,
            "expanded": self._expanded,
            "comment": self._comment,
        }
        self.lost = False
        self.escaped = False  # the text ended in a "$" or "\", of which a value would become part
        self.before = "\n"  # the last character, to know where a word begins
        self.pending: list[tuple[str, bool, bool]] = []  # here-documents to come: delimiter, quoted, tabs stripped
        self.delimiter: Optional[str] = None
        self.tabs = False
        self.line = ""  # the line so far

    def fit(self, reference: Reference, value: str) -> str:
        """Return the value as it has to be written here."""
        written = value
        if not SAFE.fullmatch(value):
            if self.lost or self.escaped or self.stack[-1] == "ansi" or _traps_arithmetic(value):
                why = f"the value holds {_odd(value)}, and it is not certain how the shell would read it here"
                raise Refused(reference, f"{why}; {REMEDY}")
            written = _escape(self.stack[-1], value)
        elif not value and self.escaped:
            self.lost = True  # what follows becomes part of the expansion instead
        elif not value and self.stack[-1] in _UNQUOTED and not self.lost:
            written = "''"
        self.line += written
        self.before = written[-1:] or self.before
        self.escaped = False
        return written

    def feed(self, text: str) -> None:
        """Read literal text."""
        position = 0
        while position < len(text) and not self.lost:
            length = self.steps[self.stack[-1]](text, position)
            chunk = text[position : position + length]
            position += length
            if chunk != "\\\n":  # the shell joins such lines
                self.line = chunk.rpartition("\n")[2] if "\n" in chunk else self.line + chunk
                self.before = chunk[-1]

    # Each step reads from a position in its context, and returns how many characters it took.

    def _plain(self, text: str, at: int) -> int:
        character = text[at]
        if character == "#" and self.before in _WORD_ENDS:
            self.stack.append("comment")
        elif character == "'":
            self.stack.append("single")
        elif character == "\n":
            self._begin_heredoc()
        elif text.startswith("<<", at):
            return self._operator(text, at)
        elif character in "()":
            return self._parenthesis(text, at)
        elif character == "[" and (self.before.isalnum() or self.before == "_"):
            self.lost = True  # a subscript: arithmetic, up to a "]" that only the shell finds
        elif character == "c" and len(self.stack) > 1 and self.before in _WORD_ENDS and _CASE.match(text, at):
            self.lost = True  # the ")" of its patterns would look like the end of $(...)
        else:
            return self._expansion(text, at)
        return 1

    def _array(self, text: str, at: int) -> int:
        self.lost = self.lost or text.startswith("<<", at)  # where a here-document within a=(...) begins, nobody knows
        return self._plain(text, at)

    def _expansion(self, text: str, at: int) -> int:
        """Read what is special in plain text, double quotes and expanded here-documents alike."""
        character = text[at]
        if character == "\\":
            self.escaped = at + 1 == len(text)
            return 1 if self.escaped else 2
        if character == "`":
            self.lost = True
        elif character == '"' and self.stack[-1] == "double":
            self.stack.pop()
        elif character == '"' and self.stack[-1] != "expanded":
            self.stack.append("double")
        elif character == "$":
            return self._dollar(text, at)
        return 1

    def _dollar(self, text: str, at: int) -> int:
        self.escaped = at + 1 == len(text)
        if text.startswith("$[", at):
            self.lost = True
        if text.startswith("${", at):
            return self._whole(_PARAMETER, text, at)
        if text.startswith("$((", at):
            return self._whole(_ARITHMETIC, text, at)
        if text.startswith("$(", at):
            self._open()
            return 2
        if text.startswith("$'", at) and self.stack[-1] in _UNQUOTED:
            self.stack.append("ansi")
            return 2
        return 1

    def _parenthesis(self, text: str, at: int) -> int:
        if text.startswith("((", at):
            return self._whole(_ARITHMETIC, text, at)
        if text[at] == "(":
            self._open("array" if self.before == "=" else "paren")
        elif self.stack[-1] in ("paren", "array"):
            self.stack.pop()
            self.lost = self.lost or bool(self.pending)
        # A ")" at the outermost level belongs to the pattern of a case.
        return 1

    def _open(self, context: str = "paren") -> None:
        self.stack.append(context)
        self.lost = self.lost or bool(self.pending)  # does the here-document begin within, or after?

    def _whole(self, pattern: re.Pattern[str], text: str, at: int) -> int:
        found = pattern.match(text, at)
        self.lost = self.lost or found is None
        return len(found[0]) if found else 1

    def _operator(self, text: str, at: int) -> int:
        if text.startswith("<<<", at):
            return 3
        found = _HEREDOC.match(text, at)
        closed = found is not None and found["close"] == found["open"].replace("\\", "")
        # A delimiter that goes on, in the text or in a value, is more than we read.
        if found is None or not closed or text[found.end() : found.end() + 1] not in tuple(" \t\n;|&>)"):
            self.lost = True
            return 1
        self.pending.append((found["word"], bool(found["open"]), bool(found["tabs"])))
        return len(found[0])

    def _begin_heredoc(self) -> None:
        if self.pending:
            self.delimiter, quoted, self.tabs = self.pending.pop(0)
            self.stack.append("quoted" if quoted else "expanded")

    def _end_line(self) -> None:
        if (self.line.lstrip("\t") if self.tabs else self.line) == self.delimiter:
            self.stack.pop()
            self.delimiter = None
            self._begin_heredoc()

    def _quoted(self, text: str, at: int) -> int:
        if text[at] == "\n":
            self._end_line()
        return 1

    def _expanded(self, text: str, at: int) -> int:
        if text[at] == "\n":
            self._end_line()
        elif text.startswith(("$(", "\\\n"), at):
            self.lost = True  # commands and joined lines within a here-document: rare, and two ways of quoting at once
        else:
            return self._expansion(text, at)
        return 1

    def _single(self, text: str, at: int) -> int:
        if text[at] == "'":
            self.stack.pop()
        return 1

    def _ansi(self, text: str, at: int) -> int:
        if text[at] == "\\":
            self.escaped = at + 1 == len(text)
            return 1 if self.escaped else 2
        return self._single(text, at)

    def _comment(self, text: str, at: int) -> int:
        if text[at] != "\n":
            return 1
        self.stack.pop()
        return self._plain(text, at)


def _traps_arithmetic(value: str) -> bool:
    """Say whether arithmetic, as in ``[[ ... -eq ... ]]``, would run the commands in a value, quoted or not."""
    subscript = value.partition("[")[2]
    return "$(" in subscript or "`" in subscript


def _escape(context: str, value: str) -> str:
    if context == "single":
        return _in_single(value)
    if context == "double":
        return re.sub(r'([\\$"`])', r"\\\1", value)
    if context == "expanded":
        return re.sub(r"([\\$`])", r"\\\1", value)
    if context == "comment":
        return "".join(character if SAFE.fullmatch(character) else "_" for character in value)
    if context == "quoted":
        return value
    return shlex.quote(value)
