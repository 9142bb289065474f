"""The document becomes a kickstart: what the original's ``kgen`` printed, section by section."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from avalanche.errors import DefinitionError
from avalanche.legacy.conditions import compose, holds
from avalanche.legacy.text import NOWHERE, Place, Stopped, Written, WrittenReader, refuse

MAIN = frozenset({
    "include", "main", "auth", "clearpart", "autopart", "device", "driverdisk", "eula", "firstboot", "ignoredisk",
    "install", "nfs", "cdrom", "interactive", "harddrive", "url", "keyboard", "lang", "langsupport", "lilo",
    "lilocheck", "bootloader", "mouse", "network", "part", "volgroup", "logvol", "raid", "reboot", "rootpw", "skipx",
    "sshpw", "text", "timezone", "upgrade", "xconfig", "zerombr",
})  # fmt: skip
OTHERS = frozenset({
    "attributes", "debug", "description", "package", "pre", "post", "boot", "configure", "ansible",
})  # fmt: skip
PHASES = frozenset({"pre", "post"})
TRUE_WORDS = frozenset({"ON", "YES", "Y", "TRUE", "1", "ENABLED", "ENABLE"})
OS = "linux"  # of the machine that generated
LOG = "/mnt/sysimage/var/log/rocks-install.log"

_ESCAPED = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


@dataclass
class Tag:
    """An element of the document, with its place in the node file and its number in the document's order."""

    name: str
    attributes: Mapping[str, str]
    place: Place
    content: list[Union[str, Tag]] = field(default_factory=list)


def generate(document: Written, attributes: Mapping[str, str]) -> str:
    """Print the kickstart of a document.

    Raises:
        Stopped: the original raised an exception.
        DefinitionError: a bound is broken, or something is not reproduced.
    """
    reader = _DocumentReader(document)
    try:
        reader.read(close=True)
    except Stopped as error:
        words = error.message.partition("SAXParseException: ")[2]
        raise Stopped(f"kgen XML parse exception: {words}", Place(error.file or "", error.line or 0)) from None
    if attributes.get("os") == "sunos":
        refuse("--legacy does not reproduce the original's generator for os=sunos", NOWHERE)
    generator = _Generator(_environment(attributes))
    generator.take_main(reader.tags)
    generator.take_others(reader.tags)
    return "".join(f"{line.rstrip()}\n" for line in generator.lines())


class _DocumentReader(WrittenReader):
    """Collects the elements in the order of their start tags."""

    def __init__(self, document: Written) -> None:
        super().__init__(document)
        self.tags: list[Tag] = []
        self.open: list[Tag] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        found = Tag(tag, attributes, self.here())
        if self.open:
            self.open[-1].content.append(found)
        self.open.append(found)
        self.tags.append(found)

    def end(self, tag: str) -> None:
        self.open.pop()

    def characters(self, data: str) -> None:
        if self.open:
            self.open[-1].content.append(data)


def _environment(attributes: Mapping[str, str]) -> dict[str, str]:
    """What conditions see: the values, read back from the text of a Python dictionary."""
    return {name: _read_back(name, value) for name, value in attributes.items()}


def _read_back(name: str, value: str) -> str:
    text = re.sub("[\t\n\r]", " ", value).replace("'", "\\'")
    if "\\" not in text:
        return text

    def character(found: re.Match[str]) -> str:
        octal, hexadecimal, letter = found.groups()
        if letter is None:
            return chr(int(octal, 8) & 255) if octal else chr(int(hexadecimal, 16))
        if letter == "x":
            raise Stopped(f"ValueError: invalid \\x escape in the value of the attribute {name}")
        return _ESCAPES.get(letter, found[0])

    bare = _ESCAPED.sub("", text)
    if "'" in bare or "\\" in bare:
        raise Stopped(f"SyntaxError: invalid syntax after the value of the attribute {name}")
    return _ESCAPED.sub(character, text)


class _Generator:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.order: list[str] = []
        self.debug: list[str] = []
        self.main: list[str] = []
        self.on: list[str] = []
        self.off: list[str] = []
        self.pre: list[tuple[str, str]] = []
        self.post: list[tuple[str, str, str]] = []
        self.boot: dict[str, list[str]] = {"pre": [], "post": []}
        self.checked_in: dict[str, tuple[str, str]] = {}
        self.temporary = 0

    # Reading the document

    def take_main(self, tags: list[Tag]) -> None:
        """Commands: children of an accepted ``main``, also within tags that are not accepted themselves."""
        place = {id(tag): index for index, tag in enumerate(tags)}
        index = 0
        while index < len(tags):
            if tags[index].name == "main" and self.accepts(tags[index], MAIN):
                commands = self.visible(tags[index])
                for command in commands:
                    self.command(command)
                # The walk goes on from the last command, not from the end of <main>.
                index = place[id(commands[-1])] if commands else index
            index += 1

    def take_others(self, tags: list[Tag]) -> None:
        for tag in tags:
            if self.accepts(tag, OTHERS):
                self.note_order(tag)
                self.handle(tag)

    def visible(self, tag: Tag) -> list[Tag]:
        """The accepted tags nearest below a tag; what is not accepted is looked through."""
        found: list[Tag] = []
        for child in tag.content:
            if isinstance(child, Tag):
                found += [child] if self.accepts(child, MAIN) else self.visible(child)
        return found

    def accepts(self, tag: Tag, names: frozenset[str]) -> bool:
        if tag.name not in names:
            return False
        get = tag.attributes.get
        if "phase" in tag.attributes and not PHASES & set(tag.attributes["phase"].split(",")):
            return False
        return holds(compose(get("arch"), get("os"), get("release"), get("cond")), self.environment, tag.place)

    def note_order(self, tag: Tag) -> None:
        file, roll = tag.attributes.get("file", ""), tag.attributes.get("roll", "")
        line = f"# {file} ({roll})" if roll else f"# {file}"
        if line not in self.order:
            self.order.append(line)

    def command(self, tag: Tag) -> None:
        text = self.text(tag)
        if tag.name == "langsupport":
            self.main.append(f"langsupport --default={text.strip()}")
        elif tag.name == "sshpw":
            self.main.append(f"sshpw {text.strip()}")
        else:
            self.main.append(f"{'bootloader' if tag.name == 'lilo' else tag.name} {text}")

    def handle(self, tag: Tag) -> None:
        get = tag.attributes.get
        if tag.name in ("post", "configure"):
            interpreter = f"#!{get('interpreter', '/bin/bash')}".strip()
            self.post.append((get("arg", "").strip(), interpreter, self.text(tag)))
        elif tag.name == "package":
            self.package(tag)
        elif tag.name == "pre":
            interpreter = f"--interpreter {get('interpreter')}" if "interpreter" in tag.attributes else ""
            self.pre.append((f"{interpreter} {get('arg', '')}".strip(), self.text(tag)))
        elif tag.name == "boot":
            order = get("order", "pre")
            if order not in self.boot:
                raise Stopped(f"KeyError: 'boot-{order}'", tag.place)
            self.boot[order].append(self.text(tag))
        elif tag.name == "debug":
            self.debug.append(self.text(tag))
        elif tag.name == "description":
            self.text(tag)
        elif tag.name == "ansible":
            raise _not_reproduced(tag)
        else:
            raise Stopped(f"AttributeError: Generator_linux instance has no attribute 'handle_{tag.name}'", tag.place)

    def package(self, tag: Tag) -> None:
        name = self.text(tag).strip()
        if tag.attributes.get("type") == "meta":
            name = f"@{name}"
        if "disable" in tag.attributes:
            if name not in self.on:
                self.off.append(name)
            return
        self.on.append(name)
        if name in self.off:
            self.off.remove(name)  # one of them only

    def text(self, tag: Tag) -> str:
        written = []
        for child in tag.content:
            if isinstance(child, str):
                written.append(child)
            elif child.name == "file":
                written.append(self.file(child))
            elif ":" in child.name:
                raise Stopped("SyntaxError: invalid syntax", child.place)
            else:
                name = re.split("[-.]", child.name)[0]
                words = f"AttributeError: Generator_linux instance has no attribute 'handle_child_{name}'"
                raise Stopped(words, child.place)
        return "".join(written)

    # Files

    def file(self, tag: Tag) -> str:
        """The shell commands of a ``<file>``. Its ``cond`` counts for nothing, its ``os`` is compared as it stands."""
        get = tag.attributes.get
        if get("os", OS) != OS:
            return ""
        text = self.text(tag)
        name = get("name", "")
        if not name:
            return ""
        command, perms = get("expr"), get("perms", "")
        arrow = ">>" if get("mode") == "append" else ">"
        lines = ""
        if get("rcs", "yes").upper() in TRUE_WORDS:
            lines += self.check_in(name, get("owner", ""), perms)
        if command:
            lines += f"{command} {arrow} {name}\n"
        if not text:
            lines += f"touch {name}\n"
        elif get("mode") == "pipe":
            lines += self.pipe(name, get("src", ""), text.strip())
        else:
            delimiter = "EOF" if get("vars") == "expanded" else "'EOF'"
            lines += f"cat {arrow} {name} << {delimiter}" + ("" if text.startswith("\n") else "\n") + text
            lines += "EOF\n" if text.endswith("\n") else "\nEOF\n"
        if perms:
            lines += f"chmod {perms} {name}\n"
        return lines + f"dn=$(dirname {name})\nmkdir -p /var/rocks/$dn \n/bin/cp -p {name} /var/rocks/$dn\n"

    def pipe(self, name: str, source: str, command: str) -> str:
        if source:
            return f"cat {source} | ({command}) > {name}\n"
        temporary = self.temporary_name()
        return f"cat {name} | ({command}) > {temporary}\nmv {temporary} {name}\n"

    def temporary_name(self) -> str:
        """The original's were random."""
        self.temporary += 1
        return f"/tmp/TMP{self.temporary:05}"  # noqa: S108  (text for a script, not a file of ours)

    def check_in(self, name: str, owner: str, perms: str) -> str:
        folder, archive = _archive(name)
        lines = [""]
        if name in self.checked_in:
            earlier_owner, earlier_perms = self.checked_in[name]
            owner, perms = owner or earlier_owner, perms or earlier_perms
        else:
            lines += [
                f"if [ ! -f {archive} ]; then",
                f"\tif [ ! -f {name} ]; then",
                f"\t\ttouch {name};",
                "\tfi",
                f"\tif [ ! -d {folder} ]; then",
                f"\t\tmkdir -m 700 {folder}",
                f"\t\tchown 0:0 {folder}",
                "\tfi;",
                f'\techo "original" | /opt/rocks/bin/ci {name};',
                f"\t/opt/rocks/bin/co -f -l {name};",
                "fi",
            ]
        self.checked_in[name] = owner, perms
        if owner:
            lines += [f"chown {owner} {name}", f"chown {owner} {archive}"]
        return "\n".join([*lines, ""])

    # Printing

    def lines(self) -> list[str]:
        return [
            "#", "# Node Traversal Order", "#", *self.order, "#",
            "#", "# Debugging Information", "#",
            *(f"# {line}" for text in self.debug for line in text.split("\n")), "#",
            "", *self.main,
            "%packages --ignoremissing", *sorted(self.on), *(f"-{name}" for name in sorted(self.off)), "%end",
            "", *self.pre_lines(),
            "", *self.post_lines(),
            *self.boot_lines(),
        ]  # fmt: skip

    def pre_lines(self) -> list[str]:
        return [line for words, body in self.pre for line in (f"%pre --log=/tmp/ks-pre.log {words}", body, "%end")]

    def post_lines(self) -> list[str]:
        lines = []
        for words, interpreter, body in self.post:
            script = self.temporary_name()
            lines += [
                f"%post --log={LOG} {words}",
                f"cat > {script} << 'ROCKS-KS-POST'",
                interpreter,
                body,
                "\nROCKS-KS-POST",
                f"/bin/chmod +x {script}",
                script,
                f"/bin/rm {script}",
                "%end",
            ]
        return lines

    def boot_lines(self) -> list[str]:
        """Here-documents that are not quoted: the installing shell expands what stands in them."""
        closed = [_check_in_again(name, *self.checked_in[name]) for name in sorted(self.checked_in)]
        return [
            "", f"%post --log={LOG}",
            "", "cat >> /etc/sysconfig/rocks-pre << EOF", *closed, *self.boot["pre"], "EOF",
            "", "cat >> /etc/sysconfig/rocks-post << EOF", *self.boot["post"], "EOF",
            "", "%end",
        ]  # fmt: skip


def _archive(name: str) -> tuple[str, str]:
    """The folder and the file that RCS keeps a file's history in."""
    folder = posixpath.join(posixpath.dirname(name), "RCS")
    return folder, f"{posixpath.join(folder, posixpath.basename(name))},v"


def _check_in_again(name: str, owner: str, perms: str) -> str:
    lines = ["", f"if [ -f {name} ]; then", f'\techo "rocks" | /opt/rocks/bin/ci {name};']
    lines += [f"\t/opt/rocks/bin/co -f -l {name};", "fi"]
    if owner:
        lines += [f"chown {owner} {name}", f"chown {owner} {_archive(name)[1]}"]
    if perms:
        lines.append(f"chmod {perms} {name}")
    return "\n".join(lines)


def _not_reproduced(tag: Tag) -> DefinitionError:
    message = f"--legacy does not reproduce <{tag.name}>"
    return DefinitionError(message, file=tag.place.file or None, line=tag.place.line or None)
