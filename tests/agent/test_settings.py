"""``agent.json``: strict, and optional."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.agent.settings import Settings, load_settings
from avalanche.errors import ConfigError


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings == Settings()
    assert (settings.port, settings.target_roots[0]) == (7070, Path("/mnt/sysroot"))


def test_every_key_overrides_its_default(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(
        '{"cache_dir": "/x/y", "cache_limit_bytes": 5, "port": 7071, "target_roots": ["/t"]}'
    )
    assert load_settings(tmp_path) == Settings(Path("/x/y"), 5, 7071, (Path("/t"),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"cache": 1}', "unknown key 'cache'"),
        ('{"cache_dir": "relative"}', "cache_dir must be an absolute path"),
        ('{"cache_limit_bytes": true}', "cache_limit_bytes must be a whole number"),
        ('{"cache_limit_bytes": 0}', "cache_limit_bytes must be a whole number"),
        ('{"port": 70000}', "port must be"),
        ('{"target_roots": "/mnt"}', "target_roots must be a list"),
        ('{"target_roots": [1]}', "target_roots must be an absolute path"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "agent.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "agent.json"))
