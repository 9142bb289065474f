"""An agent bundle for tests, made of the sources at hand.

The frontend's own maker needs Python 3.11; this one runs on the agent's floor. It also lets the isolated Python find
pykickstart where the tests have it, since no installer is here to bring its own.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from pathlib import Path

import h11

ROOT = Path(__file__).resolve().parent.parent.parent


def make_bundle(*, main: str = "") -> bytes:
    """The zip file; ``main`` replaces its entry point."""
    site = Path(str(importlib.import_module("pykickstart").__file__)).parent.parent
    entry = main or f"import sys\nsys.path.append({str(site)!r})\nfrom avalanche.agent.__main__ import main\nmain()\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", entry)
        if not main:
            ours = ROOT / "avalanche"
            for path in [*ours.glob("*.py"), *ours.glob("agent/*.py"), *ours.glob("templates/*")]:
                archive.write(path, str(path.relative_to(ROOT)))
            for path in Path(str(h11.__file__)).parent.glob("*.py"):
                archive.write(path, f"h11/{path.name}")
    return buffer.getvalue()
