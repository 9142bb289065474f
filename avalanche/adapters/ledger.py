"""A ledger: facts that were dear to find out, kept as lines of JSON, one writer at a time.

It is a cache: whoever deletes the file loses time and nothing else. Appending a line is all a write does, so a process
that is killed leaves at most one torn line, which the next reader skips.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Ledger:
    """A mapping from text to JSON values in one file.

    Args:
        path: the file; made at the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts: dict[str, Any] | None = None

    def get(self, key: str) -> Any:
        """The value of ``key``, or None."""
        return self._load().get(key)

    def set(self, key: str, value: Any) -> None:
        """Remember ``value`` (None forgets the key)."""
        facts = self._load()
        if facts.get(key) == value:
            return
        with self._path.open("ab") as file:
            file.write(_line((key, value)))
        if value is None:
            del facts[key]
        else:
            facts[key] = value

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._load()))

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return f"<Ledger {self._path.name} {len(self)} facts>"

    def _load(self) -> dict[str, Any]:
        if self._facts is not None:
            return self._facts
        facts: dict[str, Any] = {}
        lines = self._path.read_bytes().split(b"\n") if self._path.exists() else [b""]
        for line in lines:
            try:
                key, value = json.loads(line)
            except ValueError:
                continue
            facts[str(key)] = value
        self._facts = {key: value for key, value in facts.items() if value is not None}
        # A torn last line would swallow the next one; many superseded lines would only cost time.
        if lines[-1] or len(lines) > 2 * len(self._facts) + 100:
            self._rewrite()
        return self._facts

    def _rewrite(self) -> None:
        assert self._facts is not None
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(b"".join(map(_line, self._facts.items())))
        fresh.replace(self._path)


def _line(fact: tuple[str, Any]) -> bytes:
    return json.dumps(fact, separators=(",", ":")).encode() + b"\n"
