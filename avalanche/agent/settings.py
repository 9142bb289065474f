"""What an installing host may set, and where its files are.

``agent.json`` in the run directory overrides the defaults: a lab or a site's own initrd writes it before the stub runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from avalanche.errors import ConfigError
from avalanche.places import REPOSITORY

NAME = "agent.json"
KEYS = ("cache_dir", "cache_limit_bytes", "port", "target_roots")


@dataclass(frozen=True)
class Settings:
    """How this host keeps and serves packages.

    Attributes:
        cache_dir: where packages wait for the installer until the target disk is mounted.
        cache_limit_bytes: most bytes kept in ``cache_dir``; None for half of the memory that is available, because
            the installer's ``/tmp`` is memory.
        port: port of the package proxy on 127.0.0.1.
        target_roots: where the installer mounts the target disk; once one of them is a mount point the cache goes on
            there, without the limit.
    """

    cache_dir: Path = Path("/tmp/avalanche-cache")  # noqa: S108 - opened as a directory of ours, never followed
    cache_limit_bytes: Optional[int] = None
    port: int = urlsplit(REPOSITORY).port or 80
    target_roots: tuple[Path, ...] = (Path("/mnt/sysroot"), Path("/mnt/sysimage"))


def load_settings(run: Path) -> Settings:
    """Read ``agent.json`` of the run directory; the defaults when there is none.

    Raises:
        ConfigError: the file is not what this page says; names file and key.
    """
    path = run / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        row = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{path}: not a JSON object")
    return _settings(path, row)


def _settings(path: Path, row: dict[str, Any]) -> Settings:
    for key in row:
        if key not in KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}; the keys are {', '.join(KEYS)}")
    default = Settings()
    limit = row.get("cache_limit_bytes")
    port = row.get("port", default.port)
    roots = row.get("target_roots", [str(root) for root in default.target_roots])
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigError(f"{path}: cache_limit_bytes must be a whole number of bytes from 1, not {limit!r}")
    if type(port) is not int or not 1 <= port <= 65535:
        raise ConfigError(f"{path}: port must be a whole number from 1 to 65535, not {port!r}")
    if not isinstance(roots, list):
        raise ConfigError(f"{path}: target_roots must be a list of absolute paths, not {roots!r}")
    return Settings(
        cache_dir=_absolute(path, "cache_dir", row.get("cache_dir", str(default.cache_dir))),
        cache_limit_bytes=limit,
        port=port,
        target_roots=tuple(_absolute(path, "target_roots", root) for root in roots),
    )


def _absolute(path: Path, key: str, value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ConfigError(f"{path}: {key} must be an absolute path, not {value!r}")
    return Path(value)
