"""``python -m lab.bench.one``: one cell in namespaces of its own, started by the driver; everything ends with it.

Reads a line of JSON: the cell, the folder to work in, the file of results, and what is there already.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from avalanche.errors import AvalancheError
from lab.bench.arena import Arena
from lab.bench.cells import Cell
from lab.bench.peers.all import plane_of
from lab.bench.peers.http import Http
from lab.bench.trial import Trial
from lab.contained import run
from lab.progress import progress, say


def measure(cell: Cell, work: Path, result: Path, document: dict[str, Any]) -> None:
    """Measure the planes of a cell that ``document`` has not got, and write it after each.

    Raises:
        AvalancheError: the cell cannot be set up.
    """
    with ExitStack() as stack:
        with progress(f"{cell.name}: set up", 1):
            arena = stack.enter_context(Arena(cell, work))
        closures = arena.closures
        document |= {"closures": {"union": closures.union, "largest": closures.largest, "total": closures.total}}
        document["limit_seconds"] = round(arena.limit_seconds, 3)
        document["single_host_http_seconds"] = round(_single(arena), 3)
        planes = document.setdefault("planes", {})
        for name in cell.planes:
            if name in planes:
                continue
            with progress(f"{cell.name}: {name}", 1):
                planes[name] = _try(arena, name, document["single_host_http_seconds"])
            _write(result, document)
            _tell(name, planes[name], document)


def _single(arena: Arena) -> float:
    plane = Http(arena)
    plane.start()
    try:
        return arena.measure_single()
    finally:
        plane.stop()


def _try(arena: Arena, name: str, single: float) -> dict[str, Any]:
    plane = plane_of(name, arena)
    try:
        return Trial(arena, plane, single=single).run()
    except AvalancheError as error:
        # The other planes have a right to be measured.
        return {"failed": str(error)}


def _write(path: Path, document: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(path)


def _tell(name: str, found: dict[str, Any], document: dict[str, Any]) -> None:
    if "failed" in found:
        say(f"  {name}: {found['failed']}")
        return
    ends = [value for value in found["seconds"].values() if value is not None]
    slowest = max(ends, default=float("inf"))
    best = max(document["limit_seconds"], document["single_host_http_seconds"])
    marks = ", cpu_bound" if found["cpu_bound"] else ""
    say(
        f"  {name}: slowest {slowest:.2f} s ({slowest / best:.3f}), {found['verified']} verified, frontend "
        f"{found['frontend_wire_copies']:.3f} wire copies, {found['cpu_seconds_per_host']['median']:.2f} CPU s, "
        f"{found['rss_mib_per_host']:.0f} MiB, busy {found['busy']:.2f}{marks}, took {found['took_seconds']:.0f} s"
    )


def main() -> int:
    given = json.loads(sys.stdin.readline())
    fields = given["cell"] | {"planes": tuple(given["cell"]["planes"])}
    work = Path(given["work"])
    if given["memory_mb"]:
        run(["mount", "-t", "tmpfs", "-o", f"size={given['memory_mb']}m,mode=755", "tmpfs", str(work)])
    began = time.monotonic()
    try:
        measure(Cell(**fields), work, Path(given["result"]), given["document"])
    except AvalancheError as error:
        print(error, file=sys.stderr)
        return 1
    say(f"{fields['name']}: done in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
