"""The process in which the templates of rolls and sites are rendered; adapters/typesetting.py starts it and ends it.

Reads one request, a pickle of our own program, and answers with one JSON object: ``files``, or what is ``wrong`` with
``file`` and ``line``, or what is ``too_much``, or why the roster was ``refused``.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys

from avalanche.adapters.typesetting import Bounds
from avalanche.errors import AvalancheError
from avalanche.report import Renderer, TemplateError, render


def main() -> None:
    """Answer one request."""
    name, roster, folder, templates, bounds = pickle.load(sys.stdin.buffer)  # noqa: S301 -- our parent's
    _bound(bounds)
    try:
        files = render([name], roster, Renderer(templates), folder)
        answer = _answer(files, bounds)
    except MemoryError:
        answer = json.dumps({"too_much": f"takes more than {bounds.memory} bytes of memory"})
    except TemplateError as error:
        answer = json.dumps({"wrong": error.message, "file": error.file, "line": error.line})
    except AvalancheError as error:
        answer = json.dumps({"refused": str(error)})
    sys.stdout.write(answer)
    sys.stdout.flush()


def _answer(files: dict[str, str], bounds: Bounds) -> str:
    size = sum(len(text) for text in files.values())
    if size > bounds.text:
        return json.dumps({"too_much": f"makes {size} characters; {bounds.text} are the most"})
    return json.dumps({"files": files})


def _bound(bounds: Bounds) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (bounds.processor, bounds.processor + 1))
    resource.setrlimit(resource.RLIMIT_AS, (bounds.memory, bounds.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
