"""The cache of costly artefacts."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from avalanche.errors import ConfigError
from lab.cache import Cache, key_of, require_space


def test_an_artefact_is_built_once(tmp_path: Path) -> None:
    builds: list[Path] = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "file").write_text("content")

    cache = Cache(tmp_path / "cache")
    first = cache.provide("thing", "0123", build, megabytes=1)
    assert cache.provide("thing", "0123", build, megabytes=1) == first
    assert (first / "file").read_text() == "content"
    assert len(builds) == 1


def test_an_interrupted_build_is_taken_up_and_never_seen(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    cache = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.provide("thing", "0123", interrupted, megabytes=1)
    assert not cache.folder("thing", "0123").exists()
    found = cache.provide("thing", "0123", lambda folder: (folder / "rest").touch(), megabytes=1)
    assert {path.name for path in found.iterdir()} == {"half", "rest"}


def test_two_runs_do_not_build_the_same_thing_twice(tmp_path: Path) -> None:
    builds: list[Path] = []
    cache = Cache(tmp_path)
    threads = [
        Thread(target=cache.provide, args=("thing", "0123", builds.append), kwargs={"megabytes": 1}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_the_key_depends_on_every_input_and_not_on_their_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1, "b": [2]}) != key_of({"a": 1, "b": [3]})


def test_missing_space_is_said_before_anything_is_made(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with pytest.raises(ConfigError, match=rf"building thing needs 10\d+ MB of disk, {tmp_path} has \d+ MB free"):
        cache.provide("thing", "0123", lambda folder: None, megabytes=10**12)
    assert not cache.root.exists()
    require_space(tmp_path / "not" / "there", 1, purpose="nothing")
