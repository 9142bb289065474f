"""The settings of a tracker that runs alone: a TOML file, a key file, a registry file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from avalanche.errors import ConfigError
from avalanche.tokens import KEY_BYTES

_KNOWN: dict[str, dict[str, type]] = {
    "tracker": {
        "address": str,
        "port": int,
        "registry": str,
        "swarm_key": str,
        "connections": int,
        "frontend": list,
    },
    "log": {"level": str, "format": str},
}
_BASE_URL = re.compile(r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Config:
    """What ``tracker.toml`` says; paths are relative to the file.

    Attributes:
        address, port: where it listens.
        registry: the file of section 10.4.
        swarm_key: the key frontend and trackers share.
        frontend: base addresses of the frontend, that is told what is found out about hosts; none: the log alone is.
        connections: how many are open at once.
        level, style: of the log.
    """

    registry: Path
    swarm_key: bytes
    address: str = "0.0.0.0"  # noqa: S104 -- a tracker serves its cluster
    port: int = 7969
    connections: int = 10_000
    frontend: tuple[str, ...] = ()
    level: str = "info"
    style: str = "text"


def load_config(path: Path) -> Config:
    """Read the file and the key it names.

    Raises:
        ConfigError: names the file and what to change in it.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; write the tracker's settings there") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    _check(path, document)
    settings, log = document.get("tracker", {}), document.get("log", {})
    for key in ("registry", "swarm_key"):
        if key not in settings:
            raise ConfigError(f"{path}: [tracker] {key} is missing; name the file")
    names = {"address", "port", "connections"} & set(settings)
    return Config(
        registry=path.parent / settings["registry"],
        swarm_key=read_swarm_key(path.parent / settings["swarm_key"]),
        frontend=tuple(settings.get("frontend", ())),
        **{name: settings[name] for name in names},
        **({"level": log["level"]} if "level" in log else {}),
        **({"style": log["format"]} if "format" in log else {}),
    )


def read_swarm_key(path: Path) -> bytes:
    """Read a key file: 64 hexadecimal digits that nobody else may read.

    Raises:
        ConfigError: it is missing, open to others, or no key.
    """
    try:
        mode, text = path.stat().st_mode, path.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; copy the frontend's swarm key there, mode 0600") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may read the swarm key; chmod 0600 it")
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: a swarm key is {2 * KEY_BYTES} hexadecimal digits")
    return key


def _check(path: Path, document: dict[str, Any]) -> None:
    for section, settings in document.items():
        if section not in _KNOWN or not isinstance(settings, dict):
            raise ConfigError(f"{path}: [{section}] is not known{_suggest(section, _KNOWN)}")
        for key, value in settings.items():
            form = _KNOWN[section].get(key)
            if form is None:
                raise ConfigError(f"{path}: [{section}] {key} is not known{_suggest(key, _KNOWN[section])}")
            if type(value) is not form:
                raise ConfigError(f"{path}: [{section}] {key} is {value!r}; it must be of type {form.__name__}")
    settings, log = document.get("tracker", {}), document.get("log", {})
    if not 1 <= settings.get("port", 7969) <= 65535:
        raise ConfigError(f"{path}: [tracker] port must be from 1 to 65535")
    if settings.get("connections", 1) < 1:
        raise ConfigError(f"{path}: [tracker] connections must be at least 1")
    for url in settings.get("frontend", ()):
        if not isinstance(url, str) or not _BASE_URL.fullmatch(url):
            raise ConfigError(f"{path}: [tracker] frontend has {url!r}; an address is of the form http://HOST[:PORT]")
    for key, choices in (("level", ("debug", "info", "warning", "error")), ("format", ("text", "json"))):
        if log.get(key, choices[0]) not in choices:
            raise ConfigError(f"{path}: [log] {key} is {log[key]!r}; it is one of {' '.join(choices)}")


def _suggest(name: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; it is one of {' '.join(sorted(known))}"
