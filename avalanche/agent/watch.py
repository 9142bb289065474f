"""What the installer's own requests say about how far it is: the only progress that needs no help of the installer."""

from __future__ import annotations

from avalanche.agent.events import Events
from avalanche.agent.item import Item


class InstallWatch:
    """Counts the packages the installer asks for."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._asked: set[str] = set()

    def __repr__(self) -> str:
        return f"<InstallWatch {len(self._asked)} packages>"

    def asked(self, item: Item) -> None:
        """The installer asks for ``item``."""
        if item.entry.nevra is None or item.entry.path in self._asked:
            return
        if not self._asked:
            self._events.report("install", "start", "the installer fetches its packages")
        self._asked.add(item.entry.path)
        count = len(self._asked)
        self._events.report("install", "progress", f"{count} packages given to the installer", {"packages": count})
