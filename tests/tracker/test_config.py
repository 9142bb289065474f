"""The settings of a tracker that runs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.errors import ConfigError
from tests.tracker.worlds import KEY
from tracker.config import load_config

GOOD = '[tracker]\nregistry = "r"\nswarm_key = "key"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(KEY.hex() + "\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "tracker.toml").write_text(text)
    return folder / "tracker.toml"


def test_paths_are_relative_to_the_file_and_the_rest_has_defaults(folder: Path) -> None:
    config = load_config(write(folder, GOOD))
    assert (config.registry, config.swarm_key, config.address, config.port) == (folder / "r", KEY, "0.0.0.0", 7969)


def test_everything_can_be_set(folder: Path) -> None:
    more = 'address = "10.1.1.1"\nport = 80\nconnections = 5\nfrontend = ["http://10.1.1.1:8080"]\n'
    more += '[log]\nlevel = "debug"\nformat = "json"\n'
    config = load_config(write(folder, GOOD + more))
    assert (config.address, config.port, config.connections, config.level, config.style) == (
        "10.1.1.1",
        80,
        5,
        "debug",
        "json",
    )
    assert config.frontend == ("http://10.1.1.1:8080",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "not TOML"),
        ("[tracker]\n", "registry is missing; name the file"),
        (GOOD + "prot = 80\n", r"prot is not known; did you mean port\?"),
        (GOOD + "port = '80'\n", "must be of type int"),
        (GOOD + "port = 70000\n", "from 1 to 65535"),
        (GOOD + "connections = 0\n", "at least 1"),
        (GOOD + "zzz = 1\n", "it is one of address connections frontend port registry swarm_key"),
        (GOOD + 'frontend = ["https://10.1.1.1/x"]\n', r"an address is of the form http://HOST"),
        (GOOD + "[lug]\n", r"\[lug\] is not known; did you mean log\?"),
        (GOOD + "[log]\nlevel = 'loud'\n", "one of debug info warning error"),
        ("tracker = 1\n", r"\[tracker\] is not known"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(folder: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_config(write(folder, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write the tracker's settings there"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (KEY.hex(), 0o644, "chmod 0600"),
        ("abc", 0o600, "64 hexadecimal digits"),
        (KEY.hex() * 2, 0o600, "64"),
        ("é", 0o600, "64"),
    ],
)
def test_a_bad_key_file_is_refused(folder: Path, text: str, mode: int, reason: str) -> None:
    (folder / "key").write_text(text)
    (folder / "key").chmod(mode)
    with pytest.raises(ConfigError, match=reason):
        load_config(write(folder, GOOD))
    (folder / "key").unlink()
    with pytest.raises(ConfigError, match="copy the frontend's swarm key"):
        load_config(write(folder, GOOD))
