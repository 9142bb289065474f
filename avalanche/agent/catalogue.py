"""The objects of the generation this host knows: its closure, and what was looked up since."""

from __future__ import annotations

import asyncio
from typing import Callable, Optional

from avalanche.agent.frontend import Frontend
from avalanche.agent.item import Item
from avalanche.manifest import Manifest

ABSENT_SECONDS = 10.0
"""So long the answer *not in this generation* is believed without asking again."""
ABSENT_PATHS = 1000
"""So many of those answers are kept."""


class Catalogue:
    """Finds an item by path; asks the frontend for paths outside the closure, once per path at a time.

    What is outside comes from the frontend alone, and no other host gets it: `find_object` does not know it.
    """

    def __init__(self, manifest: Manifest, frontend: Frontend, *, clock: Callable[[], float]) -> None:
        self.generation = manifest.generation
        self.closure = tuple(Item(entry) for entry in manifest.entries)
        self._items = {item.entry.path: item for item in self.closure}
        self._objects = {item.entry.sha256: item for item in reversed(self.closure)}
        self._frontend = frontend
        self._clock = clock
        self._absent: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Optional[Item]]] = {}

    def __repr__(self) -> str:
        return f"<Catalogue {self.generation} {len(self._items)} items>"

    @property
    def items(self) -> tuple[Item, ...]:
        """Everything known, in the order it became known."""
        return tuple(self._items.values())

    def find_object(self, sha256: str) -> Optional[Item]:
        """The item of the closure with these bytes, the first when there are several; None: there is none."""
        return self._objects.get(sha256)

    async def find(self, path: str) -> Optional[Item]:
        """The item at ``path``, or None when the generation has none.

        Raises:
            AvalancheError: the frontend gave a final answer that says neither.
        """
        item = self._items.get(path)
        if item is not None or self._clock() < self._absent.get(path, 0.0):
            return item
        task = self._asking.get(path)
        if task is None:
            # A task of its own: a client that goes away must not cancel the question of another one.
            task = asyncio.get_running_loop().create_task(self._ask(path))
            self._asking[path] = task
            task.add_done_callback(lambda _: self._asking.pop(path))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, path: str) -> Optional[Item]:
        entry = await self._frontend.lookup(self.generation, path)
        if entry is None:
            while len(self._absent) >= ABSENT_PATHS:
                del self._absent[next(iter(self._absent))]
            self._absent[path] = self._clock() + ABSENT_SECONDS
            return None
        item = Item(entry)
        self._items[path] = item
        return item
