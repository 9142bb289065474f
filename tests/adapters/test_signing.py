"""Signing: the frontend's key, and whose packages are accepted. Real gpg, real rpm."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avalanche.adapters.signing import Keyring, SigningKey
from avalanche.errors import ConfigError, RepositoryError
from tests.adapters.rpms import Vendor, build_rpm


def agents_of(home: Path) -> list[str]:
    """Running gpg-agents that have the home's directory open or named."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"gpg-agent" in command and Path(os.fsdecode(command.split(b"\0")[2])).resolve() == home.resolve():
                running.append(process.name)
        except OSError:
            continue
    return running


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A home whose path is longer than a socket's may be."""
    return tmp_path / ("a" * 60) / ("b" * 60) / "gnupg"


def test_a_key_is_made_once_and_its_home_is_private(deep: Path) -> None:
    key = SigningKey.create(deep)
    assert SigningKey.create(deep).fingerprint == key.fingerprint == SigningKey.open(deep).fingerprint
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700
    assert agents_of(deep) == []


def test_a_home_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    for home in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match=r"holds no signing key: run 'avalanche init'"):
            SigningKey.open(home)


def verifies(
    public: bytes, signature: Path, document: Path, directory: Path, *, clock: timedelta = timedelta()
) -> bool:
    """Does gpg accept the signature on a host whose clock is off by ``clock``?"""
    home = directory / "host"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "key.asc").write_bytes(public)
    moment = (datetime.now(UTC) + clock).strftime("%Y%m%dT%H%M%S")
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-autostart", "--faked-system-time", moment]
    subprocess.run([*gpg, "--import", str(home / "key.asc")], check=True, capture_output=True)
    return subprocess.run([*gpg, "--verify", signature, document], check=False, capture_output=True).returncode == 0


def test_a_signature_is_good_and_reproducible(state: Path, tmp_path: Path) -> None:
    key = SigningKey.open(state / "gnupg")
    document = tmp_path / "repomd.xml"
    document.write_bytes(b"<repomd/>")
    signature = key.sign_detached(document)
    assert signature == tmp_path / "repomd.xml.asc"
    first = signature.read_bytes()
    assert key.sign_detached(document).read_bytes() == first
    assert verifies(key.export_public(), signature, document, tmp_path)
    document.write_bytes(b"<repomd>")
    assert not verifies(key.export_public(), signature, document, tmp_path)
    assert agents_of(state / "gnupg") == []


@pytest.mark.parametrize("days", [-1, 1, 4000])
def test_a_host_whose_clock_is_off_accepts_the_signature(state: Path, tmp_path: Path, days: int) -> None:
    key = SigningKey.open(state / "gnupg")
    document = tmp_path / "repomd.xml"
    document.write_bytes(b"<repomd/>")
    signature = key.sign_detached(document)
    assert verifies(key.export_public(), signature, document, tmp_path, clock=timedelta(days=days))


def test_packages_signed_by_an_accepted_key_pass(packages: Path, vendor: Vendor) -> None:
    assert Keyring([vendor.public_key]).refused(sorted(packages.rglob("*.rpm"))) == {}


def test_who_did_not_sign_or_is_not_accepted_is_said(
    tmp_path: Path, packages: Path, vendor: Vendor, new_vendor: Callable[[], Vendor]
) -> None:
    unsigned = build_rpm(tmp_path, "unsigned")
    stranger, foreign = new_vendor(), build_rpm(tmp_path, "foreign")
    stranger.sign(foreign)
    signed = next(packages.rglob("alpha*.rpm"))
    refused = Keyring([vendor.public_key]).refused([signed, unsigned, foreign])
    assert refused.keys() == {unsigned, foreign}
    assert refused[unsigned] == "is not signed"
    assert refused[foreign].startswith("is signed by key ") and refused[foreign].endswith("which is not accepted")
    assert Keyring([vendor.public_key, stranger.public_key]).refused([signed, foreign]) == {}
    assert Keyring([]).refused([signed, unsigned, foreign], allow_unsigned=True) == {}
    assert Keyring([]).refused([signed]).keys() == {signed}


@pytest.mark.parametrize("damage", ["truncated", "header", "payload", "appended", "text", "short"])
@pytest.mark.parametrize("allow_unsigned", [False, True])
def test_a_damaged_package_is_refused_in_any_case(
    tmp_path: Path, packages: Path, vendor: Vendor, damage: str, allow_unsigned: bool
) -> None:
    good = next(packages.rglob("beta*.rpm")).read_bytes()
    middle = len(good) // 2
    bad = tmp_path / "bad.rpm"
    bad.write_bytes(
        {
            "truncated": good[:-1],
            "header": good.replace(b"/usr/share/beta", b"/usr/share/bata", 1),
            "payload": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            "appended": good + b"x",
            "text": b"404 not found\n",
            "short": good[:50],
        }[damage]
    )
    refused = Keyring([vendor.public_key]).refused([bad], allow_unsigned=allow_unsigned)
    assert refused == {bad: "is damaged or cut off"}


def test_hundreds_of_packages_are_checked_in_batches(packages: Path, vendor: Vendor, tmp_path: Path) -> None:
    source = next(packages.rglob("alpha*.rpm"))
    copies = [tmp_path / f"{number} copy.rpm" for number in range(250)]
    for copy in copies:
        copy.hardlink_to(source)
    copies[249] = build_rpm(tmp_path, "unsigned")
    assert Keyring([vendor.public_key]).refused(copies) == {copies[249]: "is not signed"}


def test_a_key_that_is_no_key_is_named(packages: Path, tmp_path: Path) -> None:
    key = tmp_path / "RPM-GPG-KEY-wrong"
    key.write_bytes(b"not a key")
    with pytest.raises(RepositoryError, match="RPM-GPG-KEY-wrong is not a public key"):
        Keyring([key]).refused(list(packages.rglob("*.rpm")))
    with pytest.raises(RepositoryError, match="RPM-GPG-KEY-gone: No such file"):
        Keyring([tmp_path / "RPM-GPG-KEY-gone"])


def test_a_missing_tool_is_an_error_that_names_its_package(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="rpmkeys is not installed: install the system package 'rpm'"):
        Keyring([]).refused(list(packages.rglob("*.rpm")))
    with pytest.raises(ConfigError, match=r"gpg\w* is not installed: install the system package 'gnupg'"):
        SigningKey.create(tmp_path / "gnupg")
