"""The kickstart: stage 2, from a profile and a host's attributes to the text that the installer reads.

Part of the agent's import closure (Python 3.9, standard library and jinja2). The text depends on nothing else, so that
the frontend shows byte for byte what the host uses. Every ``<post>`` is a section of its own; no body can end its
section, whatever it holds.
"""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import jinja2

from avalanche import quoting
from avalanche.attributes import Attributes
from avalanche.document import Reference
from avalanche.errors import KickstartRefused
from avalanche.places import AGENT, REPOSITORY
from avalanche.profile import Profile
from avalanche.sections import BASH, SHELLS, FileWrite, NodeName, Script

LOGS = "/var/log/avalanche"  # on the installed system; anaconda makes the folder of a section's log
TARGET = "/mnt/sysroot"  # where the installer mounts the installed system
FAILED = f"{LOGS}/failed"  # what the first failed post says; reported by %onerror
TRACE = f"{LOGS}/trace.sh"


@dataclass(frozen=True)
class Post:
    """A ``%post`` section, ready to be written."""

    node: NodeName
    line: int
    chroot: bool
    log: str
    body: str


@dataclass(frozen=True)
class PreScript:
    """A ``<pre>`` script, ready to be run: ``body`` is a program for ``interpreter``."""

    node: str
    file: str
    line: int
    interpreter: str
    body: str


def render(profile: Profile, attributes: Attributes) -> str:
    """Render the kickstart of a profile under a host's attributes.

    Raises:
        UndefinedAttribute: a reference names an attribute that the host does not have; names node file and line.
        KickstartRefused: a value cannot stand where its reference stands; names node file and line.
    """
    profile.check_references(attributes)
    renderer = _Renderer(profile, attributes)
    return _template().render(
        profile=profile,
        repository=REPOSITORY,
        agent=AGENT,
        logs=LOGS,
        trace_file=TRACE,
        trace=_data("trace.sh"),
        failed=TARGET + FAILED,
        commands=list(renderer.commands()),
        packages=_packages(profile),
        posts=[renderer.post(index, script) for index, script in enumerate(profile.post, start=1)],
    )


def pre_scripts(profile: Profile, attributes: Attributes) -> tuple[PreScript, ...]:
    """Return the ``<pre>`` scripts in order. The kickstart holds none: a ``%pre`` in a generated file would never run.

    Raises:
        UndefinedAttribute, KickstartRefused: as ``render``.
    """
    profile.check_references(attributes)
    renderer = _Renderer(profile, attributes)
    return tuple(renderer.pre(script) for script in profile.pre)


@lru_cache(maxsize=2)
def _data(name: str) -> str:
    source = pkgutil.get_data("avalanche", f"templates/{name}")
    assert source is not None, name
    return source.decode()


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    # A kickstart is no markup: values are escaped by quoting.py, for the shell.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_data("kickstart.ks.j2"))


def _packages(profile: Profile) -> list[str]:
    wanted = sorted((not package.meta, package.name) for package in profile.requested)
    unwanted = sorted((not package.meta, package.name) for package in profile.excluded)
    sign = {False: "@", True: ""}
    return [sign[single] + name for single, name in wanted] + [f"-{sign[single]}{name}" for single, name in unwanted]


class _Renderer:
    """Turns sections into text; knows whose values are inserted."""

    def __init__(self, profile: Profile, attributes: Attributes) -> None:
        self.attributes = attributes
        self.nodes = {node.name: node for node in profile.nodes}
        self.profile = profile

    def value(self, reference: Reference) -> str:
        return self.attributes[reference.name]

    def commands(self) -> Iterator[tuple[NodeName, list[str]]]:
        for node, commands in groupby(self.profile.commands, key=lambda command: command.node):
            lines = []
            for command in commands:
                name = "%include" if command.command == "include" else command.command
                try:
                    lines.append(f"{name} {quoting.fill_command(command.text, self.value)}".rstrip())
                except quoting.Refused as refused:
                    raise self.refuse(node, refused) from None
            yield self.nodes[node], lines

    def post(self, index: int, script: Script) -> Post:
        node = self.nodes[script.node]
        system = "" if script.chroot else TARGET
        log = f"{system}{LOGS}/{index:02}-{script.node}.log"
        trace = f"source {system}{TRACE} {shlex.quote(node.file)} {script.line} || exit\n"
        return Post(node, script.line, script.chroot, log, _protect(trace + self.shell(script)))

    def pre(self, script: Script) -> PreScript:
        node = self.nodes[script.node]
        if script.interpreter not in SHELLS:
            return PreScript(node.name, node.file, script.line, script.interpreter, self.other(script))
        # What it says on its standard error is reported by who runs it.
        place = f"avalanche_file={shlex.quote(node.file)} avalanche_line={script.line} avalanche_failed=/dev/null\n"
        return PreScript(node.name, node.file, script.line, BASH, place + _data("trace.sh") + self.shell(script))

    def shell(self, script: Script) -> str:
        """Write what bash has to do for a script."""
        try:
            return "".join(self.parts(script) if script.interpreter in SHELLS else self.foreign(script))
        except quoting.Refused as refused:
            raise self.refuse(script.node, refused) from None

    def parts(self, script: Script) -> Iterator[str]:
        for part in script.parts:
            if isinstance(part, FileWrite):
                yield self.file(part)
            else:
                yield _shift(part.line)
                yield _ended(quoting.fill_script(part.text, self.value))

    def foreign(self, script: Script) -> Iterator[str]:
        """Write the body to a file for its interpreter: bash stays in charge, to trace and record."""
        body = _ended(self.other(script))
        delimiter = _delimiter(body)
        yield "avalanche_body=$(mktemp /tmp/avalanche.XXXXXX)\n"
        yield f"cat > \"$avalanche_body\" << '{delimiter}'\n{body}{delimiter}\n"
        yield f'{_shift(script.line)}{script.interpreter} "$avalanche_body"\nrm -f "$avalanche_body"\n'

    def other(self, script: Script) -> str:
        try:
            return "".join(quoting.fill_other(text, self.value) for text in script.texts)
        except quoting.Refused as refused:
            raise self.refuse(script.node, refused) from None

    def file(self, part: FileWrite) -> str:
        """Write a block that writes a file, as one compound command: it may stand wherever a command may."""
        name = shlex.quote(part.name)
        sign = ">" if part.mode == "create" else ">>"
        folder = shlex.quote(part.name.rpartition("/")[0] or "/")
        first = [f"mkdir -p {folder}"]
        if part.perms is not None:
            first.append(f"(umask 077; : >> {name})")  # nobody else reads it before its mode is set
        first.append(self.write(part, f"{sign} {name}"))
        rest = []
        if part.owner is not None:
            rest.append(f"chown {shlex.quote(part.owner.replace('.', ':'))} {name}")
        if part.perms is not None:
            rest.append(f"chmod {part.perms} {name}")
        last = _shift(part.line) + "; ".join(rest) + "\n" if rest else ""
        return "{ " + _shift(part.line) + "; ".join(first) + "\n" + last + "}\n"

    def write(self, part: FileWrite, redirection: str) -> str:
        if not part.text:
            return f": {redirection}"
        if part.vars == "expanded":
            text = _ended(quoting.fill_script(part.text, self.value, heredoc=True))
            delimiter = _delimiter(text)
            return f"cat {redirection} << {delimiter}\n{text}{delimiter}"
        text = part.text.fill(self.value)
        if not text.endswith("\n"):
            return f"printf %s {quoting.ansi(text)} {redirection}"
        delimiter = _delimiter(text)
        return f"cat {redirection} << '{delimiter}'\n{text}{delimiter}"

    def refuse(self, node: str, refused: quoting.Refused) -> KickstartRefused:
        name = refused.reference.name
        message = f"the attribute {name} cannot stand here: {refused.why}"
        return KickstartRefused(message, file=self.nodes[node].file, line=refused.reference.line)


def _shift(line: int) -> str:
    """Write the line that makes the next one count as this line of the node file."""
    return f"avalanche_shift=$(({line - 1} - LINENO))\n"


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _delimiter(text: str) -> str:
    """Choose a word that no line of the text is."""
    lines = set(re.findall(r"^AVALANCHE_EOF[0-9]*$", text, re.MULTILINE))
    delimiter, number = "AVALANCHE_EOF", 1
    while delimiter in lines:
        delimiter, number = f"AVALANCHE_EOF{number}", number + 1
    return delimiter


def _protect(body: str) -> str:
    """Write a body so that no line of it looks like a kickstart's (``%end``, ``%include``, ...)."""
    if any(line.lstrip().startswith("%") for line in body.splitlines()):
        return f"eval {quoting.ansi(body)}\n"
    return body
