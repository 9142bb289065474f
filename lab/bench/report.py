"""``docs/benchmarks.md`` and its plots, from what was measured: the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.bench.cells import ALL, CELLS, STAR_HOSTS, STARS
from lab.bench.plot import Point, Series, line_chart
from lab.bench.targets import best, slowest

Document = Mapping[str, Any]
Measure = Callable[[Document, Document], float | None]
"""From a cell and a plane's result in it to a figure."""

PLOTS = "benchmarks"
_SCALED = ("single", "four", "scaled-16", "scaled-32", "scaled-64")
_UNTOUCHED = "as the cells are defined"
_HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. [The lab](lab.md) says how to run it, and which cells there are. All planes of a
cell carried the same payload over the same shaped links, one after the other, in one run; every file of every host was
hashed afterwards.

* *Ratio*: the slowest host's time to the longer of two: what one host alone took with plain curl in the same cell, and
  the limit that no plane can beat. *Others*: without the hosts that a fault was meant for.
* *Copies*: what the frontend sent, in unions of what all hosts wanted: payload as agents counted it / bytes of its
  interface.
* *CPU s*: from the barrier on, median of the hosts; *MiB*: the largest peak of a process on any host (libtorrent maps
  its files); *busy*: the share of this machine's processors. **cpu**: it was above 90 %, and the figures say more about
  the processors than about the plane.
"""


def write_report(document: Document, folder: Path) -> None:
    """Write ``benchmarks.md`` and ``benchmarks/*.svg`` into a folder of documents."""
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    cells = document["cells"]
    planes = {name: cells[name] for name in _ordered(cells) if "planes" in cells[name]}
    parts = [_HEAD]
    plots = {
        "ratio": _ratio_plot(planes, ALL),
        "ratio-peers": _ratio_plot(planes, [plane for plane in ALL if plane not in STARS]),
        "copies": _copies_plot(planes),
        **_growth_plots(cells),
    }
    parts += _targets(document["targets"])
    for old in (folder / PLOTS).glob("*.svg"):
        old.unlink()
    for name, svg in plots.items():
        if svg:
            (folder / PLOTS / f"{name}.svg").write_text(svg)
            parts.append(f"![{name}]({PLOTS}/{name}.svg)\n")
    parts += [_cell(name, cell, planes) for name, cell in planes.items()]
    parts += [_figures(name, cell) for name, cell in cells.items() if "figures" in cell]
    (folder / "benchmarks.md").write_text("\n".join(parts))


def _ordered(cells: Iterable[str]) -> list[str]:
    order = {cell.name: place for place, cell in enumerate(CELLS)}
    return sorted(cells, key=lambda name: (order.get(name, len(order)), name))


def _targets(rows: Sequence[Document]) -> list[str]:
    lines = ["## Targets\n", "| case | plane | target | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        value = "-" if row["value"] is None else f"{row['value']:.3f}"
        lines.append(f"| {row['target']} | {row['plane']} | <= {row['bound']:g} | {value} | {row['state']} |")
    return [*lines, ""]


# --- plots ---


def _ratio_plot(planes: Mapping[str, Document], names: Sequence[str]) -> str:
    title = "The slowest host, to the best that is possible"
    # Stars dwarf the others.
    return _by_hosts(planes, names, title, "ratio", _ratio, log_y=STARS[0] in names)


def _copies_plot(planes: Mapping[str, Document]) -> str:
    def sent(_: Document, result: Document) -> float | None:
        value = result["frontend_wire_copies"]
        return None if value is None else float(value)

    return _by_hosts(planes, ALL, "What the frontend sends", "copies, as its interface counts", sent, log_y=True)


def _by_hosts(
    planes: Mapping[str, Document], names: Sequence[str], title: str, label: str, measure: Measure, *, log_y: bool
) -> str:
    series = []
    for plane in names:
        points: list[Point] = []
        guessed: list[Point] = []
        for name in _SCALED:
            cell = planes.get(name)
            if cell is None or cell["changes"]:
                continue
            result = cell["planes"].get(plane)
            value = None if result is None or "failed" in result else measure(cell, result)
            if value is not None:
                points.append((cell["hosts"], value))
            elif plane in STARS and points:
                hosts, last = points[-1]
                # A proxy's own link is what is full; the frontend sends it one copy, however many want it.
                grows = not (plane == "squid" and measure is not _ratio)
                guessed.append((cell["hosts"], last * cell["hosts"] / hosts if grows else last))
        if points:
            series.append(Series(plane, points, guessed, ALL.index(plane)))
    enough = any(len(each.points) > 1 for each in series)
    return line_chart(title, "hosts", label, series, log_y=log_y) if enough else ""


def _ratio(cell: Document, result: Document) -> float | None:
    seconds = slowest(result)
    return None if seconds is None else seconds / best(cell)


def _growth_plots(cells: Mapping[str, Document]) -> dict[str, str]:
    growth = cells.get("growth")
    if growth is None:
        return {}
    worlds = growth["figures"]["worlds"]

    def chart(title: str, label: str, key: str) -> str:
        series = [
            Series(world["name"], [(row["hosts"], row[key]) for row in world["rows"]], colour=number)
            for number, world in enumerate(worlds)
        ]
        return line_chart(title, "hosts (simulated)", label, series, log_y=True)

    return {
        "growth-time": chart("The slowest of simulated hosts", "seconds", "seconds"),
        "growth-tracker": chart(
            "The tracker's decisions, on this machine", "CPU seconds per install", "tracker_seconds"
        ),
        "growth-lookups": chart("Lookups", "per second of the install", "lookups_per_second"),
    }


# --- tables ---


def _cell(name: str, cell: Document, planes: Mapping[str, Document]) -> str:
    changes = ", ".join(f"{key}={value}" for key, value in cell["changes"].items()) or _UNTOUCHED
    facts = cell["conditions"]
    extras = [f"faults `{cell['faults']}`"] if cell["faults"] else []
    extras += [f"{cell['racks']} racks"] if cell["racks"] > 1 else []
    extras += [f"a host every {cell['stagger']:g} s"] if cell["stagger"] else []
    lines = [
        f"## {name}: {cell['about']}\n",
        f"{cell['hosts']} hosts, {cell['size'] / 1e6:g} MB in {cell['files']} files at {cell['rate_mbit']:g} Mbit/s, "
        f"seed {cell['seed']}{''.join(', ' + extra for extra in extras)}; {changes}.",
    ]
    if "limit_seconds" in cell:
        lines.append(
            f"One host alone with plain curl: {cell['single_host_http_seconds']:.2f} s. "
            f"Limit: {cell['limit_seconds']:.2f} s."
        )
    lines += [
        f"{_conditions(facts)}; payload in {facts['work']}.\n",
        "| plane | slowest s | ratio | others | copies | CPU s | MiB | busy | verified | |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(cell, plane, result) for plane, result in cell["planes"].items()),
        *_extrapolated(cell, planes),
        "",
    ]
    return "\n".join(lines)


def _row(cell: Document, plane: str, result: Document) -> str:
    if "failed" in result:
        return f"| {plane} | - | - | - | - | - | - | - | - | {result['failed']} |"
    seconds, others = slowest(result), slowest(result, without_hit=True)
    remarks = ["**cpu**"] if result["cpu_bound"] else []
    remarks += [f"{len(result['killed'])} killed"] if result["killed"] else []
    remarks += [f"outage {value:.1f} s" for value in result["outages"]]
    remarks += [f"trunk {into:.2f} in, {out:.2f} out" for into, out in result["trunk_copies"].values()]
    remarks += [f"{len(result['problems'])} never finished"] if result["problems"] else []
    payload = "-" if result["frontend_copies"] is None else f"{result['frontend_copies']:.3f}"
    return (
        f"| {plane} | {_number(seconds)} | {_number(seconds, best(cell))} "
        f"| {_number(others, best(cell)) if result['hit'] else ''} | {payload} / {result['frontend_wire_copies']:.3f} "
        f"| {result['cpu_seconds_per_host']['median']:.2f} | {result['rss_mib_per_host']:.0f} | {result['busy']:.2f} "
        f"| {result['verified']} | {', '.join(remarks)} |"
    )


def _number(value: float | None, to: float = 1.0) -> str:
    return "never" if value is None else f"{value / to:.3f}" if to != 1.0 else f"{value:.2f}"


def _extrapolated(cell: Document, planes: Mapping[str, Document]) -> list[str]:
    """What stars would take here, from the largest cell of the same kind where they were measured."""
    rows = []
    if cell["hosts"] <= STAR_HOSTS or cell["faults"] or cell["changes"] or "limit_seconds" not in cell:
        return []
    for plane in STARS:
        for name in reversed(_SCALED):
            other = planes.get(name)
            result = None if other is None or other["changes"] else other["planes"].get(plane)
            value = None if other is None or result is None or "failed" in result else _ratio(other, result)
            if other is not None and value is not None:
                guess = value * cell["hosts"] / other["hosts"]
                remark = f"extrapolated from N = {other['hosts']}"
                rows.append(f"| {plane} | {guess * best(cell):.0f} | {guess:.1f} | | | | | | | {remark} |")
                break
    return rows


def _figures(name: str, cell: Document) -> str:
    lines = [f"## {name}\n", f"{_conditions(cell['conditions'])}.\n"]
    if name == "growth":
        return "\n".join([*lines, *_growth_tables(cell["figures"])])
    lines += ["| figure | |", "|---|---|"]
    lines += [f"| {key.strip()} | {value:.3f} |" for key, value in cell["figures"].items()]
    return "\n".join([*lines, ""])


def _growth_tables(figures: Document) -> list[str]:
    lines = []
    for world in figures["worlds"]:
        lines += [
            f"{world['about']} Limit: {world['limit_seconds']:.2f} s.\n",
            "| hosts | slowest s | ratio | frontend copies | most copies of a host | lookups | lookups/s "
            "| tracker CPU s | of a core | simulated in s |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in world["rows"]:
            lines.append(
                f"| {row['hosts']} | {row['seconds']:.2f} | {row['seconds'] / world['limit_seconds']:.2f} "
                f"| {row['frontend_copies']:.3f} | {row['most_copies']:.2f} | {row['lookups']} "
                f"| {row['lookups_per_second']:.0f} | {row['tracker_seconds']:.2f} "
                f"| {row['tracker_seconds'] / row['seconds']:.2f} | {row['took_seconds']:.0f} |"
            )
        lines.append("")
    return lines


def _conditions(facts: Document) -> str:
    load = "/".join(f"{value:g}" for value in facts["load"])
    return (
        f"{facts['date']}, commit `{facts['commit'] or 'unknown'}`, {facts['cores']} cores, kernel {facts['kernel']}, "
        f"Python {facts['python']}, ten million additions in {facts['yardstick_seconds']:.2f} s, load before it {load}"
    )
