"""The registry: what the tracker answers for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avalanche.errors import ConfigError
from tests.tracker.worlds import CLOSURE, GENERATION, REGISTERED, THINGS
from tracker.registry import FileRegistry, MemoryRegistry, Registered, parse_registry, write_registry


def test_what_is_written_is_read_back() -> None:
    assert parse_registry(write_registry([REGISTERED]), file="r") == [REGISTERED]


def test_generations_come_and_go() -> None:
    registry = MemoryRegistry()
    registry.add(REGISTERED)
    assert registry.find(GENERATION) is REGISTERED
    registry.remove(GENERATION)
    registry.remove(GENERATION)
    assert registry.find(GENERATION) is None


def test_a_file_is_read_again_when_it_is_replaced_and_kept_when_it_is_bad(tmp_path: Path) -> None:
    path, errors = tmp_path / "registry", list[ConfigError]()
    path.write_bytes(write_registry([]))
    registry = FileRegistry(path, on_error=errors.append)
    assert registry.find(GENERATION) is None
    assert not registry.refresh()
    (tmp_path / "new").write_bytes(write_registry([REGISTERED]))
    (tmp_path / "new").replace(path)
    assert registry.refresh()
    assert registry.find(GENERATION) == REGISTERED
    path.write_bytes(b"nonsense")
    assert not registry.refresh()
    path.unlink()
    assert not registry.refresh()
    assert registry.find(GENERATION) == REGISTERED
    assert [str(error).removeprefix(str(tmp_path)) for error in errors] == [
        "/registry:1: not a registry: Expecting value: line 1 column 1 (char 0)",
        "/registry: No such file or directory; write the registry there, or name another",
    ]


def test_a_file_that_is_not_there_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write the registry there"):
        FileRegistry(tmp_path / "none", on_error=lambda error: None)


def row(**changes: object) -> bytes:
    good = {"generation": GENERATION, "objects": {THINGS[0]: 1}, "closures": {CLOSURE: [0]}, "info_hashes": ["ab" * 20]}
    return b'{"registry": 1}\n' + json.dumps({**good, **changes}).encode() + b"\n"


def test_the_good_row_of_the_next_test_is_good() -> None:
    assert parse_registry(row(), file="r") == [
        Registered(GENERATION, {THINGS[0]: 1}, {CLOSURE: frozenset(THINGS[:1])}, frozenset({b"\xab" * 20}))
    ]


@pytest.mark.parametrize(
    "data",
    [
        b'{"registry": 2}\n', b"[]\n", b"{\n", row() + b"x\n", row()[:-1], row(generation="g"), row(more=1),
        row(objects={"x": 1}), row(objects={THINGS[0]: 0}), row(objects=[]), row(closures={CLOSURE: [1]}),
        row(closures={"x": [0]}), row(closures={CLOSURE: 0}), row(info_hashes=["ab"]), row(info_hashes=[1]),
        row(generation=5),
    ],
)  # fmt: skip
def test_what_is_not_a_registry_is_refused_with_its_line(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^r:"):
        parse_registry(data, file="r")
