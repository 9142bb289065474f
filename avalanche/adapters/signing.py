"""Signatures: the frontend's own key over repository data, and the vendors' keys over packages.

Wraps ``gpg`` and ``rpmkeys``. Neither touches the user's or the system's keys: the frontend's key lives in its own
home, accepted vendors' keys in a throw-away rpm database, and no gpg-agent is left running.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from avalanche.errors import ConfigError, RepositoryError

USER_ID = "Avalanche frontend <avalanche@localhost>"
BACKDATED = timedelta(days=2)
"""A key counts as made this long ago, so that a host whose clock is behind does not refuse it as made in the future."""
BATCH = 100
"""Packages one ``rpmkeys`` checks."""
TIMEOUT = 600
"""Seconds a program may take: ``rpmkeys`` reads every byte of its batch."""
_FINDING = re.compile(r".*?(?P<kind>digest|[Ss]ignature)(?:, key ID (?P<key>\w+))?: (?P<verdict>\w+)")
_PACKAGES = {"gpg": "gnupg", "gpgconf": "gnupg", "rpmkeys": "rpm"}


class SigningKey:
    """The frontend's key: RSA 3072, for signing only, without a passphrase, in a directory only its owner can read.

    Args:
        home: the directory; use `create` or `open`.
        fingerprint: of the key, 40 hexadecimal digits.
        created: seconds since 1970.
    """

    def __init__(self, home: Path, *, fingerprint: str, created: int) -> None:
        self._home = home
        self.fingerprint = fingerprint
        self._created = created

    def __repr__(self) -> str:
        return f"<SigningKey {self.fingerprint[-16:]}>"

    @classmethod
    def create(cls, home: Path) -> SigningKey:
        """Make a key in ``home``, or open the one that is there.

        Raises:
            ConfigError: gpg is missing or refuses.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _gpg_home(home) as environment:
            if not _keys(environment):
                made = _clock(datetime.now(UTC) - BACKDATED)
                _gpg(environment, *made, "--quick-gen-key", USER_ID, "rsa3072", "sign", "never")
        return cls.open(home)

    @classmethod
    def open(cls, home: Path) -> SigningKey:
        """Open the key in ``home``.

        Raises:
            ConfigError: there is none, or gpg is missing.
        """
        keys = []
        if home.is_dir():
            with _gpg_home(home) as environment:
                keys = _keys(environment)
        if not keys:
            raise ConfigError(f"{home} holds no signing key: run 'avalanche init'")
        fingerprint, created = keys[0]
        return cls(home, fingerprint=fingerprint, created=created)

    def sign_detached(self, path: Path) -> Path:
        """Write ``path``'s armoured signature beside it, as ``path`` + ``.asc``; the same bytes get the same signature.

        Raises:
            ConfigError: gpg refuses.
        """
        signature = path.with_name(path.name + ".asc")
        # A fixed moment keeps generations reproducible, and is in no host's future (docs/decisions/0011).
        moment = _clock(datetime.fromtimestamp(self._created, UTC) + timedelta(seconds=1), frozen=True)
        with _gpg_home(self._home) as environment:
            _gpg(environment, *moment, "--local-user", self.fingerprint, "--armor", "--digest-algo", "SHA256",
                 "--output", str(signature), "--detach-sign", str(path))  # fmt: skip
        return signature

    def export_public(self) -> bytes:
        """The public key, armoured, as dnf and rpm import it.

        Raises:
            ConfigError: gpg refuses.
        """
        with _gpg_home(self._home) as environment:
            return _gpg(environment, "--armor", "--export", self.fingerprint)


class Keyring:
    """Vendors' public keys that packages may be signed with.

    Args:
        keys: files as dnf's ``gpgkey=`` names them (armoured).
    """

    def __init__(self, keys: Sequence[Path]) -> None:
        try:
            self._data = {key: key.read_bytes() for key in keys}
        except OSError as error:
            raise RepositoryError(f"key {error.filename}: {error.strerror}") from error

    @property
    def exported(self) -> bytes:
        """All keys in one file."""
        return b"".join(data.rstrip() + b"\n" for data in self._data.values())

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 that is equal for equal keys."""
        return hashlib.sha256(b"".join(sorted(self._data.values()))).hexdigest()

    def refused(self, packages: Sequence[Path], *, allow_unsigned: bool = False) -> dict[Path, str]:
        """Check RPM files whole: digests of header and payload, and that one of the keys signed them.

        Args:
            packages: absolute paths.
            allow_unsigned: check digests only.

        Returns:
            Why each refused file is refused.

        Raises:
            RepositoryError: rpmkeys is missing, or a key cannot be imported.
        """
        with tempfile.TemporaryDirectory(prefix="avalanche-rpmdb-") as database:
            for key in self._data:
                imported = _run(["rpmkeys", "--dbpath", database, "--import", str(key)])
                if imported.returncode:
                    raise RepositoryError(f"key {key} is not a public key rpm can read: {_last_line(imported.stderr)}")
            batches = [packages[start : start + BATCH] for start in range(0, len(packages), BATCH)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                answers = pool.map(lambda batch: _refused(batch, database, allow_unsigned), batches)
                return {path: reason for answer in answers for path, reason in answer.items()}


def _refused(packages: Sequence[Path], database: str, allow_unsigned: bool) -> dict[Path, str]:
    options = ["--nosignature"] if allow_unsigned else []
    result = _run(["rpmkeys", "--dbpath", database, "-Kv", *options, "--", *map(str, packages)])
    findings: dict[str, list[str]] = {str(path): [] for path in packages}
    current: list[str] = []
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        if line.endswith(":") and line[:-1] in findings:
            current = findings[line[:-1]]
        elif line.startswith(" "):
            current.append(line.strip())
    reasons = {path: _objection(findings[str(path)], allow_unsigned) for path in packages}
    return {path: reason for path, reason in reasons.items() if reason}


def _objection(findings: Sequence[str], allow_unsigned: bool) -> str:
    """What speaks against a package, or nothing.

    ``findings`` are lines as ``Header V4 RSA/SHA256 Signature, key ID ce9e10ee: OK`` and ``MD5 digest: BAD (...)``.
    """
    found = [match for match in map(_FINDING.match, findings) if match]
    digests = {match["verdict"] for match in found if match["kind"] == "digest"}
    signatures = {match["verdict"]: match["key"] for match in found if match["kind"] != "digest"}
    if "OK" not in digests or "BAD" in digests:
        return "is damaged or cut off"
    if allow_unsigned:
        return ""
    if "BAD" in signatures:
        return f"has a bad signature by key {signatures['BAD']}"
    if "NOKEY" in signatures:
        return f"is signed by key {signatures['NOKEY']}, which is not accepted"
    return "" if "OK" in signatures else "is not signed"


@contextmanager
def _gpg_home(home: Path) -> Iterator[dict[str, str]]:
    """An environment in which gpg uses ``home`` alone, one process at a time; its agent ends with it."""
    with (home / ".lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="avalanche-gpg-") as short:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # gpg's agent listens on a socket in its home, and a socket's path has room for 107 bytes only.
        link = Path(short, "home")
        link.symlink_to(home.resolve())
        environment = {**os.environ, "GNUPGHOME": str(link), "LC_ALL": "C"}
        try:
            yield environment
        finally:
            for leave in (["--kill", "all"], ["--remove-socketdir"]):
                _run(["gpgconf", *leave], environment)


def _gpg(environment: dict[str, str], *arguments: str) -> bytes:
    options = ["--batch", "--yes", "--no-tty", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    result = _run(["gpg", *options, *arguments], environment)
    if result.returncode:
        raise ConfigError(f"gpg failed in {Path(environment['GNUPGHOME']).resolve()}: {_last_line(result.stderr)}")
    return result.stdout


def _keys(environment: dict[str, str]) -> list[tuple[str, int]]:
    """Fingerprint and time of making of each secret key (gpg's doc/DETAILS describes the columns)."""
    rows = [line.split(":") for line in _gpg(environment, "--with-colons", "--list-secret-keys").decode().splitlines()]
    created = [int(row[5]) for row in rows if row[0] == "sec"]
    fingerprints = [row[9] for row in rows if row[0] == "fpr"]
    return list(zip(fingerprints, created, strict=True))


def _clock(moment: datetime, *, frozen: bool = False) -> tuple[str, str]:
    return "--faked-system-time", moment.strftime("%Y%m%dT%H%M%S") + ("!" if frozen else "")


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = environment or {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=TIMEOUT)
    except FileNotFoundError as error:
        package = _PACKAGES[command[0]]
        raise ConfigError(f"{command[0]} is not installed: install the system package {package!r}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{command[0]} did not end within {TIMEOUT} seconds") from error


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
