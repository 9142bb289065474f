"""A deadline that keeps cancellation intact.

``asyncio.wait_for`` before Python 3.12 can swallow a cancellation that arrives together with the result (bpo-37658):
the task that should end then goes on. ``asyncio.timeout`` begins with 3.11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns; cancel it after ``seconds``, or when the caller is cancelled.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    await asyncio.wait({task})
    raise asyncio.TimeoutError
