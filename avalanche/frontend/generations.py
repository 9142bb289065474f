"""Generations that are being served: opened once, kept while they are there."""

from __future__ import annotations

import asyncio
import re

from avalanche.adapters.distributions import Distributions, Generation
from avalanche.errors import RepositoryError

_ID = re.compile(r"g-[0-9a-f]{16}")


class Generations:
    """Opens generations by id, each once however many ask at the same time."""

    def __init__(self, distributions: Distributions) -> None:
        self._distributions = distributions
        self._open: dict[str, asyncio.Task[Generation]] = {}

    def __repr__(self) -> str:
        return f"<Generations {', '.join(self._open)}>"

    async def open(self, generation_id: str) -> Generation | None:
        """Return a generation, or None when it is not there (any more)."""
        if not _ID.fullmatch(generation_id):
            return None
        task = self._open.get(generation_id)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._distributions.open, generation_id))
            self._open[generation_id] = task
        try:
            # shield: a client that goes away must not take the others' answer with it.
            generation = await asyncio.shield(task)
        except RepositoryError:
            self._open.pop(generation_id, None)
            return None
        if not generation.path.is_dir():
            self._open.pop(generation_id, None)
            return None
        return generation
