"""The process in which insert-ethers' Python plugins run; adapters/plugins.py starts it and ends it.

Reads one JSON object per line, ``{"plugin", "event", "facts"}``, and answers each with ``{"problem"}``. An entry point
is a class without arguments, or an object, with any of the methods ``added(host)``, ``removed(host)``, ``update()``,
``done()``, ``restart()``; ``host`` is a dictionary of texts.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from avalanche.adapters.plugins import GROUP


def main() -> None:
    """Answer calls until the input ends."""
    loaded: dict[str, Any] = {}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # What a plugin prints must not be taken for our answer.
        with contextlib.redirect_stdout(sys.stderr):
            problem = _called(loaded, request["plugin"], request["event"], request["facts"])
        sys.stdout.write(json.dumps({"problem": problem}) + "\n")
        sys.stdout.flush()


def _called(loaded: dict[str, Any], name: str, event: str, facts: Mapping[str, str]) -> str:
    try:
        if name not in loaded:
            (entry,) = entry_points(group=GROUP, name=name)
            found = entry.load()
            loaded[name] = found() if isinstance(found, type) else found
        method = getattr(loaded[name], event, None)
        if method is not None:
            method(dict(facts)) if event in ("added", "removed") else method()
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ""


if __name__ == "__main__":
    main()
