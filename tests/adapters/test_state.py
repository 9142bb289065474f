"""The state directory: what is missing or damaged is one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.adapters.files import write_whole
from avalanche.adapters.state import State
from avalanche.errors import ConfigError


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_an_order_key_is_read_back_and_is_another_each_time(state: State) -> None:
    state.create_order_key()
    first = state.order_key()
    state.create_order_key()
    assert len(first) == 32
    assert state.order_key() != first
    assert state.order_key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, "", "xyz", "00" * 31])
def test_a_missing_or_damaged_order_key_is_refused(state: State, content: str | None) -> None:
    if content is not None:
        state.order_key_file.write_text(content)
    with pytest.raises(ConfigError, match=r"order\.key"):
        state.order_key()


def test_missing_settings_say_how_to_make_a_frontend(state: State) -> None:
    with pytest.raises(ConfigError, match="avalanche init --address ADDRESS"):
        state.config()


def test_settings_that_are_no_text_are_refused(state: State) -> None:
    state.config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        state.config()


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")
    with pytest.raises(TypeError):
        write_whole(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
