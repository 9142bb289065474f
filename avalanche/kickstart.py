"""The kickstart: stage 2, from a profile and a host's attributes to the text that the installer reads.

Part of the agent's import closure (Python 3.9, standard library). The text depends on nothing else, so that the
frontend shows byte for byte what the host uses. Every ``<post>`` is a section of its own; no body can end its section,
whatever it holds.
"""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from avalanche import quoting
from avalanche.attributes import Attributes
from avalanche.document import Reference
from avalanche.errors import KickstartRefused
from avalanche.places import AGENT, REPOSITORY
from avalanche.profile import Profile
from avalanche.sections import BASH, SHELLS, Comment, FileWrite, NodeName, Script

LOGS = "/var/log/avalanche"  # on the installed system; anaconda makes the folder of a section's log
TARGET = "/mnt/sysroot"  # where the installer mounts the installed system
FAILED = f"{LOGS}/failed"  # what the first failed post says; reported by %onerror
TRACE = f"{LOGS}/trace.sh"
BOOT = "/usr/lib/avalanche/boot"  # on the installed system: the <boot> scripts, until they have run
SUPPORTING = {"el7": "", "el8": " --excludeWeakdeps"}  # how older releases leave weak dependencies out


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
    return "".join(renderer.kickstart())


def pre_scripts(profile: Profile, attributes: Attributes) -> tuple[PreScript, ...]:
    """Return the ``<pre>`` scripts in order. The kickstart holds none: a ``%pre`` in a generated file would never run.

    Raises:
        UndefinedAttribute, KickstartRefused: as ``render``.
    """
    profile.check_references(attributes)
    renderer = _Renderer(profile, attributes)
    return tuple(renderer.pre(script) for script in profile.pre)


@lru_cache(maxsize=8)
def _data(name: str) -> str:
    source = pkgutil.get_data("avalanche", f"templates/{name}")
    assert source is not None, name
    return source.decode()


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
        return self.attributes.get(reference.name, "") if reference.optional else self.attributes[reference.name]

    def kickstart(self) -> Iterator[str]:
        """Write all of it, some lines at a time."""
        profile = self.profile
        yield f"# Kickstart of the root node {profile.root} for {profile.release}, rendered by Avalanche."
        yield " Nodes in order:\n"
        for node in profile.nodes:
            yield f"#   {_origin(node)}\n"
        for comment in profile.comments:
            for line in self.comment(comment):
                yield f"# {_comment(line)}\n"
        yield f"url --url={REPOSITORY}\n"
        for node, lines in self.commands():
            yield f"# from {_origin(node)}\n"
            yield from (f"{line}\n" for line in lines)
        yield "\n"
        yield from self.packages()
        yield "\n"
        yield from _trace()
        for index, script in enumerate(profile.post, start=1):
            yield "\n"
            yield from self.post(index, script)
        yield from self.boot()
        yield "\n"
        yield _data("last-words.ks").format(failed=TARGET + FAILED, agent=AGENT)

    def packages(self) -> Iterator[str]:
        wanted = _packages(self.profile)
        weak = SUPPORTING.get(self.profile.release, " --exclude-weakdeps")
        # Anaconda adds @core by itself; what is installed is what the graph asks for and the closure was solved for.
        core = "" if "@core" in wanted else " --nocore"
        yield "# A frontend that is away for minutes costs time, not the install.\n"
        yield f"%packages{weak} --timeout=60 --retries=10{core}\n"
        yield from (f"{line}\n" for line in wanted)
        yield "%end\n"

    def comment(self, comment: Comment) -> list[str]:
        return comment.text.strip().fill(self.value).splitlines()

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

    def post(self, index: int, script: Script) -> Iterator[str]:
        node = self.nodes[script.node]
        chroot, system = ("", "") if script.chroot else (" --nochroot", TARGET)
        how = "" if script.strict else " lax"
        trace = f"source {system}{TRACE} {shlex.quote(node.file)} {script.line}{how} || exit\n"
        log = f"{system}{LOGS}/{index:02}-{script.node}.log"
        yield f"%post{chroot} --interpreter=/bin/bash --erroronfail --log={log}\n"
        yield f"# from {node.name}: {node.file} line {script.line} (roll {node.roll})\n"
        yield _protect(trace + self.shell(script))
        yield "%end\n"

    def pre(self, script: Script) -> PreScript:
        node = self.nodes[script.node]
        if script.interpreter not in SHELLS:
            return PreScript(node.name, node.file, script.line, script.interpreter, self.other(script))
        return PreScript(node.name, node.file, script.line, BASH, self.alone(script))

    def alone(self, script: Script) -> str:
        """Write a script with its own tracing; what it says on its standard error is reported by who runs it."""
        file = shlex.quote(self.nodes[script.node].file)
        place = f"avalanche_file={file} avalanche_line={script.line} avalanche_lax={'' if script.strict else 'lax'}\n"
        keep = "avalanche_failed=/dev/null avalanche_lapses=/dev/null avalanche_originals=\n"
        return place + keep + _data("trace.sh") + self.shell(script)

    def boot(self) -> Iterator[str]:
        """Write the section that writes the ``<boot>`` scripts, if there are any."""
        found = {"pre": self.profile.boot_pre, "post": self.profile.boot_post}
        if not any(found.values()):
            return
        yield f"\n%post --interpreter=/bin/bash --erroronfail --log={LOGS}/boot.log\n"
        yield "# what <boot> asks for, when the system boots for the first time\n"
        yield "set -e\n"
        for order in filter(found.get, found):
            unit = f"avalanche-boot-{order}.service"
            yield f"mkdir -p -m 0700 {BOOT}/{order}.d\n"
            yield f"cat > /etc/systemd/system/{unit} {_heredoc(_data(f'boot-{order}.service'))}\n"
            yield f"systemctl enable {unit}\n"
        yield f"cat > {BOOT}/run {_heredoc(_data('boot-run.sh'))}\n"
        for order, scripts in found.items():
            for index, script in enumerate(scripts, start=1):
                path = shlex.quote(f"{BOOT}/{order}.d/{index:02}-{script.node}")
                yield _protect(f"cat > {path} {_heredoc(self.alone(script))}\n")
        yield "%end\n"

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
        yield "avalanche_body=$(mktemp /tmp/avalanche.XXXXXX)\n"
        yield f'cat > "$avalanche_body" {_heredoc(_ended(self.other(script)))}\n'
        yield f'{_shift(script.line)}{script.interpreter} "$avalanche_body"\nrm -f "$avalanche_body"\n'

    def other(self, script: Script) -> str:
        try:
            return "".join(quoting.fill_other(text, self.value) for text in script.texts)
        except quoting.Refused as refused:
            raise self.refuse(script.node, refused) from None

    def file(self, part: FileWrite) -> str:
        """Write a block that writes a file, as one compound command: it may stand wherever a command may."""
        name = shlex.quote(part.name)
        folder = shlex.quote(part.name.rpartition("/")[0] or "/")
        first = [f"mkdir -p {folder}"]
        if part.keep:
            first.append(f"avalanche_keep {name}")
        if part.perms is not None:
            first.append(f"(umask 077; : >> {name})")  # nobody else reads it before its mode is set
        first.append(self.write(part, name))
        rest = []
        if part.owner is not None:
            rest.append(f"chown {shlex.quote(part.owner.replace('.', ':'))} {name}")
        if part.perms is not None:
            rest.append(f"chmod {shlex.quote(part.perms)} {name}")
        last = _shift(part.line) + "; ".join(rest) + "\n" if rest else ""
        return "{ " + _shift(part.line) + "; ".join(first) + "\n" + last + "}\n"

    def write(self, part: FileWrite, name: str) -> str:
        redirection = f"{'>>' if part.mode.startswith('append') else '>'} {name}"
        if part.mode == "pipe":
            return self.pipe(part, name)
        if part.mode in ("output", "append-output"):
            return "{ " + _ended(quoting.fill_script(part.text, self.value)) + "} " + redirection
        if not part.text:
            return f": {redirection}"
        return self.text(part, redirection)

    def text(self, part: FileWrite, redirection: str) -> str:
        if part.vars == "expanded":
            text = _ended(quoting.fill_script(part.text, self.value, heredoc=True))
            return f"cat {redirection} {_heredoc(text, quote=False)}"
        text = part.text.fill(self.value)
        if part.encoding is not None:
            return f"avalanche_decode {redirection} {_heredoc(_ended(text))}"
        if not text.endswith("\n"):
            return f"printf %s {quoting.ansi(text)} {redirection}"
        return f"cat {redirection} {_heredoc(text)}"

    def pipe(self, part: FileWrite, name: str) -> str:
        """Send a file, or ``src=``, through the commands that the text is; the file keeps its owner and mode."""
        commands = _ended(quoting.fill_script(part.text, self.value)) if part.text.strip() else "cat\n"
        source = name if part.source is None else shlex.quote(part.source)
        begin = f"avalanche_pipe=$(mktemp /tmp/avalanche.XXXXXX); cat {source} | {{\n"
        return f'{begin}{commands}}} > "$avalanche_pipe"; cat "$avalanche_pipe" > {name}; rm -f "$avalanche_pipe"'

    def refuse(self, node: str, refused: quoting.Refused) -> KickstartRefused:
        name = refused.reference.name
        message = f"the attribute {name} cannot stand here: {refused.why}"
        return KickstartRefused(message, file=self.nodes[node].file, line=refused.reference.line)


def _trace() -> Iterator[str]:
    """Write the section that leaves on the system what every other script begins with."""
    yield "%post --interpreter=/bin/bash --erroronfail\n"
    yield "# The scripts' logs may hold what only root should read.\n"
    yield f"mkdir -p {LOGS}\nchmod 0700 {LOGS}\n"
    yield f"cat > {TRACE} {_heredoc(_data('trace-begin.sh') + _data('trace.sh'))}\n"
    yield "%end\n"


def _origin(node: NodeName) -> str:
    return f"{node.name}: {node.file} (roll {node.roll})"


def _comment(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line).strip()


def _shift(line: int) -> str:
    """Write the line that makes the next one count as this line of the node file."""
    return f"avalanche_shift=$(({line - 1} - LINENO))\n"


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _heredoc(text: str, *, quote: bool = True) -> str:
    """Write a here-document of a text that ends its last line."""
    delimiter = _delimiter(text)
    sign = f"'{delimiter}'" if quote else delimiter
    return f"<< {sign}\n{text}{delimiter}"


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
