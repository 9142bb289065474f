"""The state directory: where everything of a frontend lives, and the settings and keys in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.adapters.files import write_whole
from avalanche.config import Config, DatabaseConfig, parse_config
from avalanche.errors import ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.engine import Where

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class State:
    """The paths below one state directory."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.root / "avalanche.toml"

    @property
    def database_file(self) -> Path:
        """The SQLite database."""
        return self.root / "avalanche.db"

    @property
    def database_password_file(self) -> Path:
        """The password of a database server, on one line."""
        return self.root / "database.password"

    @property
    def authority(self) -> Path:
        """The folder of the certificate authority."""
        return self.root / "authority"

    @property
    def order_key_file(self) -> Path:
        """The key from which the secrets of orders are derived."""
        return self.root / "order.key"

    @property
    def swarm_key_file(self) -> Path:
        """The key that frontend and trackers share (docs/protocol.md, section 9)."""
        return self.root / "swarm.key"

    @property
    def ethers_plugins(self) -> Path:
        """The folder of executables that insert-ethers calls (docs/insert-ethers.md)."""
        return self.root / "plugins" / "insert-ethers"

    @property
    def wheels(self) -> Path:
        """The folder of libtorrents for hosts whose Python is another than the frontend's (docs/operations.md)."""
        return self.root / "libtorrent"

    @property
    def signing_home(self) -> Path:
        """The home of the GPG key that signs repositories."""
        return self.root / "gnupg"

    def config(self) -> Config:
        """Read the settings.

        Raises:
            ConfigError: there are none, they may not be read, or they are wrong.
        """
        try:
            text = self.config_file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.config_file}: there is no frontend here; make one: avalanche init --address ADDRESS"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.config_file}: {error.strerror}; are you the user who ran avalanche init?"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.config_file}: not UTF-8 text") from error
        return parse_config(text, file=str(self.config_file))

    def database(self) -> Where:
        """Where the database is; the password of a server is read from its file.

        Raises:
            ConfigError: the settings are wrong, or the password cannot be read.
        """
        settings = self.config().database
        if not settings.url:
            return self.database_file
        return self.database_at(settings)

    def database_at(self, settings: DatabaseConfig) -> Where:
        """Where a server's database is. Raises as ``database``."""
        from avalanche.adapters.engine import parse_where

        named = settings.password_file
        file = self.root / named if named is not None else self.database_password_file
        try:
            password = file.read_text(encoding="utf-8").removesuffix("\n")
        except FileNotFoundError:
            if named is not None:
                raise ConfigError(f"{file}: the password of database.url is not there") from None
            password = None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: the password of database.url cannot be read: {error}") from None
        return parse_where(settings.url, password=password)

    def order_key(self) -> bytes:
        """Read the order key.

        Raises:
            ConfigError: it is not there or damaged.
        """
        return _read_key("order key", self.order_key_file)

    def create_order_key(self) -> None:
        """Make a new order key; every secret handed out before becomes void."""
        _create_key(self.order_key_file)

    def swarm_key(self) -> bytes:
        """Read the swarm key. Raises as `order_key`."""
        return _read_key("swarm key", self.swarm_key_file)

    def create_swarm_key(self) -> None:
        """Make a new swarm key; every swarm token handed out before becomes void."""
        _create_key(self.swarm_key_file)


def _read_key(what: str, path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: the {what} is not there; run: avalanche init") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the {what} cannot be read: {error}") from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: not a key of {KEY_BYTES} bytes")
    return key


def _create_key(path: Path) -> None:
    write_whole(path, secrets.token_hex(KEY_BYTES).encode("ascii") + b"\n")
