"""Modules of a repository (``modules.yaml``): which packages dnf 4 hides, because their stream is nobody's default.

A *stream* is a line of versions of several packages that are installed together, such as nodejs 20; EL 8 and 9 have
them, Fedora since 39 and EL 10 do not. Of each module, dnf shows the stream that was enabled, else the default one,
and hides all others; what a shown stream has hides packages of the same names that are of no module. Documents:
modulemd version 1 and 2, modulemd-defaults 1 (their specification: libmodulemd's ``yaml_specs``).
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from avalanche.errors import RepositoryError, Unsatisfiable
from avalanche.profile import Command, Profile

MAXIMUM_MODULES = 64 << 20
"""Bytes of the largest document that is read; EL 8's is 8 MB."""

PLATFORM = "platform"
"""The module that every other one needs: the release itself."""

_MAX_DEPTH = 32
_ARCHITECTURES = ("x86_64", "noarch")
# Texts stay texts: stream 1.10 is not 1.1. libyaml's parser is ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class ModuleRequest:
    """What a ``<module>`` of a node file asks for; ``stream`` None: the default one."""

    module: str
    stream: str | None
    disable: bool
    node: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a stream.

    Attributes:
        needs: for each alternative, the streams of other modules that it needs; none named: any, ``-x``: not x.
        packages: the NEVRAs of its packages.
    """

    module: str
    stream: str
    version: int
    context: str
    arch: str
    needs: tuple[Mapping[str, tuple[str, ...]], ...]
    packages: frozenset[str]

    @property
    def name(self) -> str:
        """How dnf names a stream."""
        return f"{self.module}:{self.stream}"


@dataclass(frozen=True)
class Modules:
    """All builds of all streams, and each module's default stream."""

    builds: tuple[Build, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    def shown(self, enabled: Mapping[str, str], disabled: Collection[str]) -> tuple[Build, ...]:
        """The builds whose packages dnf shows: those of each enabled stream or else default one, and of what its newest
        one needs; none, where something it needs is not there.

        Args:
            enabled: streams by module, in place of the defaults.
            disabled: modules that shall have none.
        """
        chosen = {module: name for module, name in self.defaults.items() if module not in disabled}
        chosen |= enabled
        while True:
            found = [self._build(module, stream, chosen) for module, stream in chosen.items()]
            more = {
                module: stream for build in found if build is not None for module, stream in self._needed(build, chosen)
            }
            if not more:
                break
            chosen |= more
        # Its older builds are shown beside it.
        lines = {(build.module, build.stream, build.context) for build in found if build is not None}
        return tuple(build for build in self.builds if (build.module, build.stream, build.context) in lines)

    def _build(self, module: str, stream: str, chosen: Mapping[str, str]) -> Build | None:
        builds = [
            build for build in self.builds if (build.module, build.stream) == (module, stream) and _fits(build.arch)
        ]
        newest = max((build.version for build in builds), default=0)
        candidates = sorted(
            (build for build in builds if build.version == newest and self._needs(build, chosen) is not None),
            key=lambda build: build.context,
        )
        return candidates[0] if candidates else None

    def _needs(self, build: Build, chosen: Mapping[str, str]) -> Mapping[str, tuple[str, ...]] | None:
        """The first alternative that agrees with what is chosen; None: none does."""
        for needs in build.needs or ({},):
            if all(
                module == PLATFORM or any(_allows(streams, stream) for stream in self._streams(module, chosen))
                for module, streams in needs.items()
            ):
                return needs
        return None

    def _needed(self, build: Build, chosen: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        for module, streams in (self._needs(build, chosen) or {}).items():
            if module != PLATFORM and module not in chosen:
                yield module, next(one for one in self._streams(module, chosen) if _allows(streams, one))

    def _streams(self, module: str, chosen: Mapping[str, str]) -> list[str]:
        if module in chosen:
            return [chosen[module]]
        return sorted({build.stream for build in self.builds if build.module == module and _fits(build.arch)})


def _fits(arch: str) -> bool:
    return arch in _ARCHITECTURES


def _allows(streams: tuple[str, ...], stream: str) -> bool:
    if f"-{stream}" in streams:
        return False
    wanted = [one for one in streams if not one.startswith("-")]
    return not wanted or stream in wanted


def requested_modules(profile: Profile) -> tuple[ModuleRequest, ...]:
    """What the kickstart command ``module --name=NAME [--stream=STREAM] [--disable]`` asks for in a profile.

    Raises:
        Unsatisfiable: it is not written so that a frontend could know what a host will do.
    """
    found = []
    for command in profile.commands:
        if command.command == "module":
            file = profile.node(command.node).file
            try:
                found.append(_requested(command, file))
            except ValueError:
                message = f"{command.node}: write it as <module>--name=NAME --stream=STREAM</module>, in plain words"
                raise Unsatisfiable(message, file=file, line=command.line) from None
    return tuple(found)


def _requested(command: Command, file: str) -> ModuleRequest:
    """Read it as pykickstart does; raises ValueError when it is none, or holds an attribute's value."""
    (text,) = command.text.parts
    if not isinstance(text, str):
        raise ValueError(text)
    options: dict[str, str] = {}
    words = iter(shlex.split(text))
    for word in words:
        name, sign, value = word.partition("=")
        if name in ("--name", "--stream"):
            options[name] = value if sign else next(words, "")
        elif word == "--disable":
            options[name] = name
        else:
            raise ValueError(word)
    if not options.get("--name") or options.get("--stream") == "":
        raise ValueError(text)
    disable = "--disable" in options
    return ModuleRequest(options["--name"], options.get("--stream"), disable, command.node, file, command.line)


def parse_modules(data: bytes, *, file: str) -> Modules:
    """Read the documents of ``modules.yaml``; those of other kinds (translations, obsoletes) are passed over.

    Args:
        file: its name for error messages.

    Raises:
        RepositoryError: it is none; names file and line.
    """
    if len(data) > MAXIMUM_MODULES:
        raise RepositoryError(f"{file}: {len(data)} bytes, more than the {MAXIMUM_MODULES} that are read")
    builds: list[Build] = []
    defaults: dict[str, tuple[int, str | None]] = {}
    try:
        for number, document in enumerate(_documents(data, file), 1):
            try:
                _take(document, builds, defaults)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RepositoryError(f"{file}: document {number} is no module, or a broken one: {error!r}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise RepositoryError(f"{file}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise RepositoryError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    return Modules(tuple(builds), {module: stream for module, (_, stream) in defaults.items() if stream is not None})


def _documents(data: bytes, file: str) -> Iterator[Any]:
    """Make documents of texts from the parser's events. libyaml's own way of making them recurses, and ends the process
    where they nest too deeply; references, which could blow them up, are in none that libmodulemd wrote.
    """
    open_ones: list[list[Any]] = []
    for event in yaml.parse(data, Loader=_LOADER):
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
        elif isinstance(event, yaml.CollectionEndEvent):
            value = open_ones.pop()
            if isinstance(event, yaml.MappingEndEvent):
                value = dict(zip(value[::2], value[1::2], strict=True))
        elif isinstance(event, yaml.AliasEvent):
            raise _refusal(event, "references (*name) are not read", file)
        elif len(open_ones) == _MAX_DEPTH:
            raise _refusal(event, "nested too deeply", file)
        else:
            if isinstance(event, yaml.CollectionStartEvent):
                open_ones.append([])
            continue
        if not open_ones:
            yield value
        else:
            open_ones[-1].append(value)


def _refusal(event: yaml.Event, what: str, file: str) -> RepositoryError:
    line = event.start_mark.line + 1 if event.start_mark is not None else 1
    return RepositoryError(f"{file}:{line}: {what}")


def _take(document: Any, builds: list[Build], defaults: dict[str, tuple[int, str | None]]) -> None:
    if document is None or document == "":
        return
    kind, data = document["document"], document["data"]
    if kind == "modulemd":
        builds.append(_build(data))
    elif kind == "modulemd-defaults" and data.get("stream"):
        # Of two that differ, the later one holds; when neither is later, there is no default.
        module, fresh = str(data["module"]), (int(data.get("modified") or 0), str(data["stream"]))
        before = defaults.get(module)
        if before is None or fresh[0] > before[0]:
            defaults[module] = fresh
        elif fresh[0] == before[0] and fresh[1] != before[1]:
            defaults[module] = (fresh[0], None)


def _build(data: Any) -> Build:
    needs = data.get("dependencies") or []
    packages = (data.get("artifacts") or {}).get("rpms") or []
    return Build(
        module=str(data["name"]),
        stream=str(data["stream"]),
        version=int(data.get("version") or 0),
        context=str(data.get("context") or ""),
        arch=str(data.get("arch") or "noarch"),
        # Version 1 has one alternative, and one stream for each module.
        needs=tuple(
            {str(module): _texts(streams) for module, streams in (one.get("requires") or {}).items()}
            for one in (needs if isinstance(needs, list) else [needs])
        ),
        packages=frozenset(map(str, packages)),
    )


def _texts(streams: Any) -> tuple[str, ...]:
    return tuple(map(str, streams)) if isinstance(streams, list) else (str(streams),) if streams else ()


def joined_modules(documents: Sequence[tuple[bytes, str]]) -> bytes:
    """Put the documents of several repositories into one file.

    Args:
        documents: each with its file's name for error messages. One alone stays as it is, byte for byte.

    Raises:
        RepositoryError: as ``parse_modules``, of a file or of all together.
    """
    for data, file in documents:
        parse_modules(data, file=file)
    if len(documents) == 1:
        return documents[0][0]
    parts = [data if data.startswith(b"---") else b"---\n" + data for data, _ in documents]
    whole = b"".join(part.rstrip(b"\n") + b"\n" for part in parts)
    # What is right alone may be wrong among others: its encoding, or the size of all.
    parse_modules(whole, file=" + ".join(file for _, file in documents))
    return whole
