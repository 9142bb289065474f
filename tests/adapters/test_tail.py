"""A log is followed whatever its writer and logrotate do."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalanche.adapters.tail import MAX_LINE, Tail
from avalanche.errors import ConfigError


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "server.log"
    path.write_text("old\n")
    return path


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_only_what_is_added_is_read_and_only_whole_lines(log: Path) -> None:
    tail = Tail(log)
    assert tail.lines() == []
    add(log, b"one\ntw")
    assert tail.lines() == ["one"]
    add(log, b"o\n\xff\n")
    assert tail.lines() == ["two", "\\xff"]
    tail.close()


def test_a_rotated_log_is_read_to_its_end_and_then_the_new_one(log: Path) -> None:
    tail = Tail(log)
    log.rename(log.with_suffix(".1"))
    add(log.with_suffix(".1"), b"last of the old\n")
    assert tail.lines() == ["last of the old"]
    log.write_bytes(b"first of the new\n")
    assert tail.lines() == ["first of the new"]
    add(log, b"more\n")
    assert tail.lines() == ["more"]
    tail.close()


def test_an_emptied_log_is_read_from_its_beginning(log: Path) -> None:
    tail = Tail(log)
    add(log, b"a long line of before\n")
    assert tail.lines() == ["a long line of before"]
    log.write_bytes(b"new\n")
    assert tail.lines() == ["new"]
    tail.close()


def test_a_line_without_end_does_not_fill_the_memory(log: Path) -> None:
    tail = Tail(log)
    add(log, b"x" * (MAX_LINE + 1))
    assert tail.lines() == []
    add(log, b"\nnext\n")
    assert tail.lines() == ["next"]
    tail.close()


def test_a_log_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nix: No such file or directory; is this the server's log"):
        Tail(tmp_path / "nix")
