"""Which commands a bash script runs, found by reading it.

For scripts in this roll's plain style: no case, no backquotes, no eval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

KEYWORDS = frozenset({"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}", "time"})
BUILTINS = frozenset({
    ".", ":", "[", "[[", "cd", "command", "compgen", "continue", "break", "echo", "eval", "exec", "exit", "export",
    "false", "local", "printf", "pwd", "read", "return", "set", "shift", "source", "test", "trap", "true", "umask",
    "unset", "wait",
})  # fmt: skip
_HEREDOC = re.compile(r"<<-?\s*(?P<quote>['\"]?)(?P<word>\w+)(?P=quote)")
_REDIRECTION = re.compile(r"(\d*|&)(>>|>&|>|<<<|<&|<)\s*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=")
_FUNCTION = re.compile(r"([\w-]+)\s*\(\)")


def commands(text: str) -> set[str]:
    """Names of programs, without builtins and the script's own functions."""
    reader = _Reader(text)
    reader.read()
    return reader.found - KEYWORDS - BUILTINS - reader.functions


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: set[str] = set()
        self.functions: set[str] = set()
        self.heredocs: list[str] = []

    def read(self, end: str = "") -> None:
        """Read commands to ``end``, which closes a substitution."""
        begins = True
        while self.at < len(self.text):
            rest = self.text[self.at :]
            if end and rest.startswith(end):
                self.at += len(end)
                return
            if rest[0] == "\n":
                self.at += 1
                self.skip_heredocs()
                begins = True
            elif rest[0] in " \t" or rest.startswith("\\\n"):
                self.at += 2 if rest[0] == "\\" else 1
            elif rest[0] == "#":
                self.at += len(rest.partition("\n")[0])
            elif rest[0] in ";|&(){}" and not rest.startswith("&>"):
                self.at += 1
                begins = True
            elif found := _HEREDOC.match(rest) if not rest.startswith("<<<") else None:
                self.heredocs.append(found["word"])
                self.at += found.end()
            elif found := _REDIRECTION.match(rest):
                self.at += found.end()
                self.word()
            else:
                begins = self.one(rest, begins=begins)

    def one(self, rest: str, *, begins: bool) -> bool:
        """Read a word; say whether a command may still begin."""
        if begins and (function := _FUNCTION.match(rest)):
            self.functions.add(function[1])
            self.at += function.end()
            return True
        if begins and rest.startswith("[[ "):
            self.at += rest.index(" ]]") + 3
            return False
        if begins and rest.startswith(("for ", "select ")):
            self.at += re.match(r"\w+ \w+ in ", rest).end()  # type: ignore[union-attr]
            return False
        word = self.word()
        if not begins or _ASSIGNMENT.match(word):
            return begins
        if word in KEYWORDS:
            return True
        if not word.startswith(("$", '"', "'")):
            self.found.add(word)
        # These run what follows their own words.
        return word == "exec"

    def word(self) -> str:
        """Read a word, and the commands of substitutions in it."""
        start = self.at
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t\n;|&()<>":
                break
            self.character(character)
        return self.text[start : self.at]

    def character(self, character: str) -> None:
        if character == "\\":
            self.at += 2
        elif character == "'":
            self.at = self.text.index("'", self.at + 1) + 1
        elif character == '"':
            self.at += 1
            while self.text[self.at] != '"':
                self.character(self.text[self.at]) if self.text[self.at] in "\\$" else self.step()
            self.at += 1
        elif self.text.startswith("$((", self.at):
            depth_end = self.text.index("))", self.at) + 2
            inner = self.text[self.at + 3 : depth_end - 2]
            self.found |= commands_in_substitutions(inner)
            self.at = depth_end
        elif self.text.startswith("$(", self.at):
            self.at += 2
            self.read(")")
        elif self.text.startswith("$'", self.at):
            self.at = self.text.index("'", self.at + 2) + 1
        elif self.text.startswith("${", self.at):
            self.at = self.text.index("}", self.at) + 1
        else:
            self.step()

    def step(self) -> None:
        self.at += 1

    def skip_heredocs(self) -> None:
        for word in self.heredocs:
            for line in self.text[self.at :].splitlines(keepends=True):
                self.at += len(line)
                if line.strip() == word:
                    break
        self.heredocs = []


def commands_in_substitutions(text: str) -> set[str]:
    return {found[1] for found in re.finditer(r"\$\(\s*([\w-]+)", text)}


def words_after(text: str, word: str) -> Iterator[str]:
    """What programs such as ``timeout`` run: the first word after options and figures."""
    for found in re.finditer(rf"\b{word}(?:\s+-\S+)*(?:\s+[0-9]\S*)?\s+([a-z][\w-]*)", text):
        yield found[1]
