"""A throw-away GPG key and what it signs. No agent outlives a call."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lab.contained import contained, run

KEY_FILE = "RPM-GPG-KEY-lab"


class ThrowAwayKey:
    """A signing key without passphrase in a GPG home of its own.

    Args:
        home: folder of the key; made when missing. Its path must be short: gpg puts sockets there.
        owner: the name on the key.
    """

    def __init__(self, home: Path, *, owner: str = "Avalanche lab") -> None:
        self.home = home
        self.owner = owner

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "GNUPGHOME": str(self.home), "LC_ALL": "C.UTF-8"}

    def _gpg(self, *arguments: str) -> str:
        return run(contained("gpg", "--batch", "--quiet", *arguments), environment=self._environment)

    def create(self) -> None:
        """Make the key unless it is there."""
        if (self.home / "created").exists():
            return
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._gpg(
            "--passphrase", "", "--quick-gen-key", f"{self.owner} <lab@example.invalid>", "rsa3072", "sign", "never"
        )
        (self.home / "created").touch()

    def export(self) -> str:
        """Return the public key in armour."""
        return self._gpg("--armor", "--export")

    def sign_rpms(self, paths: Iterable[Path]) -> None:
        """Sign RPMs in place; a signature they have is replaced."""
        settings = ("--define", f"_gpg_name {self.owner}", "--define", "__gpg /usr/bin/gpg")
        run(contained("rpmsign", *settings, "--resign", *map(str, paths)), environment=self._environment)

    def sign_detached(self, path: Path) -> None:
        """Write ``PATH.asc``."""
        self._gpg("--yes", "--armor", "--detach-sign", str(path))
