"""One logging setup: one line per finished thing, as text with ``key=value`` facts or as JSON.

Code says ``log.info("profile served", extra=facts(host=host.name, bytes=size))``. Values that came from outside are
quoted here, so that nobody can write a log line of his own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,~-]+")


def facts(**values: object) -> dict[str, Any]:
    """Wrap the facts of a log line for ``extra=``; None means unknown and is left out."""
    return {"facts": {name: value for name, value in values.items() if value is not None}}


def setup_logging(level: str, style: str, stream: TextIO = sys.stderr) -> None:
    """Send everything at ``level`` and above to ``stream``.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Which of its parts it loaded is nothing to an operator.
    logging.getLogger("alembic").setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """``2026-11-20T06:00:00.123Z INFO frontend.app: profile served host=compute-0-0 bytes=812``."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {_name(record)}: {_quote_line(record.getMessage())}"
        for name, value in getattr(record, "facts", {}).items():
            line += f" {name}={_quote(value)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the facts as keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        row = {
            "time": _time(record),
            "level": record.levelname,
            "logger": _name(record),
            "message": record.getMessage(),
        }
        row.update(getattr(record, "facts", {}))
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


def _time(record: logging.LogRecord) -> str:
    # UTC, because an operator compares the lines of several machines.
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _name(record: logging.LogRecord) -> str:
    return record.name.removeprefix("avalanche.")


def _quote_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _quote(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
