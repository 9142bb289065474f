"""Remark: something suspicious in a roll that does not stop a compile; ``avalanche graph check`` prints them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Remark:
    """A place and what is odd there. ``code`` is a stable word for scripts, as ``order-unknown-node``."""

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message} [{self.code}]"
