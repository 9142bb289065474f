"""Log lines: one per finished thing, and nobody else can write one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from avalanche.log import facts, setup_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(style: str, *, level: str = "info") -> str:
    stream = io.StringIO()
    setup_logging(level, style, stream)
    log = logging.getLogger("avalanche.frontend.boot")
    log.debug("not said")
    log.info("stub served", extra=facts(host="compute-0-0", why='a "b"\nERROR c', seconds=0.25, order=None, bytes=5))
    return stream.getvalue()


def test_a_text_line_has_time_level_place_and_facts() -> None:
    time, rest = logged("text").split(" ", 1)
    assert time.endswith("Z")
    assert rest == (
        'INFO frontend.boot: stub served host=compute-0-0 why="a \\"b\\"\\nERROR c" seconds=0.250 bytes=5\n'
    )


def test_a_json_line_is_one_object() -> None:
    (line,) = logged("json").splitlines()
    row = json.loads(line)
    assert (row["level"], row["message"], row["host"], row["bytes"]) == ("INFO", "stub served", "compute-0-0", 5)
    assert "order" not in row


def test_a_line_break_in_a_message_stays_in_its_line() -> None:
    stream = io.StringIO()
    setup_logging("info", "text", stream)
    logging.getLogger("x").info("a %s", "b\nc\x1b[31m")
    assert stream.getvalue().endswith("x: a b\\nc\\x1b[31m\n")


def test_what_a_library_loads_is_not_told() -> None:
    stream = io.StringIO()
    setup_logging("info", "text", stream)
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("alembic.runtime.migration").warning("something is wrong")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_failure_of_ours_shows_where(style: str) -> None:
    stream = io.StringIO()
    setup_logging("info", style, stream)
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError:
        logging.getLogger("x").exception("request failed")
    assert "ZeroDivisionError: oops" in stream.getvalue()
