"""``python -m lab bench``: measures the chosen cells, one after the other, and writes what was found.

``var/bench/cells/NAME.json`` holds a cell, ``var/bench/result.json`` all cells ever measured here with the conditions
of each, ``docs/benchmarks.md`` and its plots the same for people. A cell is a process in namespaces of its own, so that
nothing outlives it however it ends. A run that was interrupted is gone on with when the same is asked for again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avalanche.errors import AvalancheError, ConfigError
from lab.bench.cells import CELLS, STARS, Cell, overridden, quick
from lab.bench.conditions import commit, conditions
from lab.bench.report import write_report
from lab.bench.targets import verdicts
from lab.cache import Cache, require_space
from lab.cluster import locked
from lab.contained import contained
from lab.preflight import available_memory_mb
from lab.progress import say
from lab.result import seconds_at

QUICK = "quick"
_QUICK_FIGURES = ("compile", "reports")
_PROGRAMS = ("aria2c", "nginx", "squid", "udp-receiver", "udp-sender")
_OVERRIDES = ("HOSTS", "RATE", "SIZE", "FILES", "SEED", "FAULTS", "RACKS", "STAGGER", "PLANES")
_DOCS = Path(__file__).parents[2] / "docs"
# Beside the payload on every host: the frontend's state, logs, what peers make.
_WORK_MB = 400
# libtorrent, unpacked on every host: its file is in use until the agent's end, with a name or without.
_LIBRARY_MB = 35
_SETUP_SECONDS, _SETUP_SECONDS_PER_HOST = 180.0, 12.0

Document = dict[str, Any]
Figures = Mapping[str, Any]


class BenchFailed(AvalancheError):
    """Something could not be measured; the message holds a line per cell."""


def figure_cells(environment: Mapping[str, str], var: Path, cache: Cache) -> dict[str, Callable[[], Figures]]:
    """The cells that are not data planes: profiles, service files, a host with a real dnf, the simulator.

    Raises:
        ConfigError: ``GROWTH`` is no number of hosts.
    """
    from lab.bench.compile import run_compile
    from lab.bench.firstbyte import run_firstbyte
    from lab.bench.growth import run_growth, up_to
    from lab.bench.inventory import run_inventory
    from lab.bench.processor import run_processor
    from lab.bench.profiles import run_profiles
    from lab.bench.reports import run_reports
    from lab.bench.stage2 import run_stage2
    from lab.bench.tracker import run_tracker

    hosts = up_to(environment.get("GROWTH", ""))
    return {
        "compile": run_compile,
        "stage2": lambda: run_stage2(cache),
        "reports": run_reports,
        "inventory": run_inventory,
        "profiles": lambda: run_profiles(cache),
        "dnf": lambda: _run_dnf(var, cache),
        "firstbyte": lambda: run_firstbyte(cache),
        "processor": run_processor,
        "tracker": run_tracker,
        "growth": lambda: run_growth(hosts),
    }


def _run_dnf(var: Path, cache: Cache) -> Figures:
    """One host with a real dnf in front of the agent, against plain curl."""
    from lab.demo import run_demo
    from lab.settings import Settings

    run_demo(Settings(hosts=1, mode="download"), var, cache)
    document = json.loads((var / "demo/result.json").read_text())
    return {
        key: document[key] for key in ("single_host_http_seconds", "limit_seconds", "ratio", "frontend_wire_copies")
    }


def run_bench(environment: Mapping[str, str], var: Path, cache: Cache) -> None:
    """Measure what ``BENCH`` says: nothing for everything, ``quick``, or names of cells.

    Raises:
        ConfigError: there is no such cell, or something is missing on this machine.
        BenchFailed: at the end, when a cell could not be measured.
    """
    figures = figure_cells(environment, var, cache)
    names = chosen(environment.get("BENCH") or "", tuple(figures))
    is_quick = environment.get("BENCH") == QUICK
    cells = {
        cell.name: overridden(quick(cell) if is_quick else cell, environment) for cell in CELLS if cell.name in names
    }
    _require_programs(names)
    folder = var / "bench"
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    with locked(folder):
        done = begin(folder, names, environment)
        problems = {}
        for name in names:
            if name in done:
                continue
            try:
                if name in figures:
                    _measure_figures(folder, name, figures[name], environment)
                else:
                    _measure_cell(folder, name, cells[name], environment)
            except AvalancheError as error:
                say(f"{name}: {error}")
                problems[name] = str(error)
            done.append(name)
            keep(folder, done)
            document = collect(folder)
            write_report(document, _DOCS if not _changed(environment) else folder / "docs")
        (folder / "unfinished.json").unlink()
    _print_verdicts(document)
    if problems:
        raise BenchFailed("\n".join(f"{name}: {problem}" for name, problem in problems.items()))


def chosen(text: str, figures: tuple[str, ...]) -> list[str]:
    """Return the names of the cells that ``BENCH`` means.

    Raises:
        ConfigError: one does not exist.
    """
    known = [*figures[:-1], *(cell.name for cell in CELLS), *figures[-1:]]
    if not text:
        return known
    if text == QUICK:
        return [name for name in known if name in _QUICK_FIGURES or any(c.is_quick and c.name == name for c in CELLS)]
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"BENCH={text}: {', '.join(unknown) or 'nothing'} is no cell: quick, or of {' '.join(known)}")
    return names


def _require_programs(names: list[str]) -> None:
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing and any(cell.name in names for cell in CELLS):
        raise ConfigError(f"{', '.join(missing)} missing: 'make bench' installs what peers need")


def _changed(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: environment[key] for key in _OVERRIDES if environment.get(key)}


# --- going on ---


def begin(folder: Path, names: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return which cells an interrupted run of the same choice has done; else forget what the chosen ones were."""
    path = folder / "unfinished.json"
    wanted = {"names": names, "changes": _changed(environment), "commit": commit()}
    if path.exists() and not environment.get("FRESH"):
        found = json.loads(path.read_text())
        if {key: found[key] for key in wanted} == wanted:
            say("going on where the last run stopped (FRESH=1 begins anew)")
            return list(found["done"])
    for name in names:
        (folder / "cells" / f"{name}.json").unlink(missing_ok=True)
    path.write_text(json.dumps(wanted | {"done": []}))
    return []


def keep(folder: Path, done: list[str]) -> None:
    path = folder / "unfinished.json"
    _write(path, json.loads(path.read_text()) | {"done": done})


# --- measuring ---


def _measure_figures(folder: Path, name: str, work: Callable[[], Figures], environment: Mapping[str, str]) -> None:
    say(f"{name} ...")
    facts = conditions(environment)
    try:
        found = dict(work())
    except AvalancheError:
        raise
    except Exception as error:  # whatever it is: the cells behind it are hours of measurement
        traceback.print_exc()
        raise BenchFailed(f"{name} failed, see above: {error}") from error
    _write(folder / "cells" / f"{name}.json", {"conditions": facts, "figures": found})


def _measure_cell(folder: Path, name: str, cell: Cell, environment: Mapping[str, str]) -> None:
    result, work = folder / "cells" / f"{name}.json", folder / "work"
    document: Document = json.loads(result.read_text()) if result.exists() else {}
    planes = document.get("planes", {})
    document["planes"] = {plane: found for plane, found in planes.items() if "failed" not in found}
    document |= asdict(cell) | {"planes": document["planes"], "changes": _changed(environment)}
    document["conditions"] = conditions(environment)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    megabytes = _WORK_MB + int(cell.size * 1.6 * (cell.hosts + 5) / 1e6) + _LIBRARY_MB * cell.hosts
    in_memory = available_memory_mb() > megabytes + 150 * cell.hosts + 1000
    if not in_memory:
        require_space(work, megabytes, purpose=f"the cell {name}")
    document["conditions"]["work"] = "memory" if in_memory else "disk"
    given = {
        "cell": asdict(cell), "work": str(work), "result": str(result), "document": document,
        "memory_mb": megabytes if in_memory else 0,
    }  # fmt: skip
    try:
        done = subprocess.run(
            contained(sys.executable, "-m", "lab.bench.one"), input=json.dumps(given) + "\n", text=True, check=False,
            timeout=_bound(cell),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"not done after {_bound(cell):.0f} s; what was measured is kept") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if done.returncode:
        raise BenchFailed(f"{name} failed, see above")
    failed = [plane for plane, found in json.loads(result.read_text())["planes"].items() if "failed" in found]
    if failed:
        raise BenchFailed(f"{', '.join(failed)} could not be measured, see {result}")


def _bound(cell: Cell) -> float:
    """Far above what a cell takes: this only ends what would never end."""
    alone = 2 * seconds_at(cell.size, cell.rate_mbit)
    stars = sum(plane in STARS for plane in cell.planes) * alone * cell.hosts
    setup = (len(cell.planes) + 1) * (_SETUP_SECONDS + _SETUP_SECONDS_PER_HOST * cell.hosts)
    return setup + stars + 8 * alone * len(cell.planes)


# --- what was found ---


def collect(folder: Path) -> Document:
    """Put all cells into ``result.json``, with the verdicts over those that were measured as they are defined."""
    cells: Document = {}
    for path in sorted((folder / "cells").glob("*.json")):
        cells[path.stem] = json.loads(path.read_text())
    standard = {name: cell for name, cell in cells.items() if "planes" in cell and not cell["changes"]}
    document = {"cells": cells, "targets": [asdict(verdict) for verdict in verdicts(standard)]}
    _write(folder / "result.json", document)
    return document


def _write(path: Path, document: Mapping[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.replace(path)


def _print_verdicts(document: Document) -> None:
    for row in document["targets"]:
        if row["state"] != "not measured":
            value = "never" if row["value"] is None else f"{row['value']:.3f}"
            print(f"{row['state']:12} {value:>8} <= {row['bound']:<6g} {row['target']} ({row['plane']})")
