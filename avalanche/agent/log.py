"""The agent's log: one line per outcome in ``agent.log``, beside whatever Python itself says there."""

from __future__ import annotations

import logging
import time
from pathlib import Path


class _OneLine(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.exc_info else " ".join(text.split())


def open_log(path: Path) -> None:
    """Send everything from INFO on to the end of ``path``, in UTC."""
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_OneLine("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
