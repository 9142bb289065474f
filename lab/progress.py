"""How far a long step is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[int], None]
_QUIET_SECONDS = 10.0


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show a step of ``total`` parts on stderr; call the yielded function with the number that are done."""
    if sys.stderr.isatty():
        yield from _bar(title, total)
    else:
        yield from _lines(title, total)


def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(title, total=total)
        yield lambda done: display.update(task, completed=min(done, total))
        display.update(task, completed=total)


def _lines(title: str, total: int) -> Iterator[Advance]:
    began = said = time.monotonic()

    def advance(done: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _QUIET_SECONDS:
            said = time.monotonic()
            say(f"{title}: {min(done, total) * 100 // max(total, 1)} %")

    say(f"{title} ...")
    yield advance
    say(f"{title}: done in {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    """Print one line for the person who watches."""
    print(text, file=sys.stderr, flush=True)
