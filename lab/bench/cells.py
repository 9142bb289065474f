"""The cells of the data planes' benchmark, as data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from avalanche.errors import ConfigError
from lab.faults import parse_faults
from lab.settings import PLANES, check_faults

OURS = tuple(plane for plane in ("relay", "swarm", "auto") if plane in PLANES)
"""Our planes that this version has; ``http`` among them is the plain server's."""
STARS = ("http", "squid")
"""Whoever serves sends everything to everybody: what they take grows with the hosts."""
SWARMS = ("libtorrent-v1", "libtorrent-v2", "aria2")
MULTICAST = "udpcast"
ALL = (*STARS, *SWARMS, MULTICAST, *OURS)
STAR_HOSTS = 16
"""Stars are measured up to here; beyond, what they take is extrapolated."""
QUICK_STAR_HOSTS = 4
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Cell:
    """Hosts, links, a payload and what goes wrong; every plane of the cell carries the same payload over the same
    links.

    Attributes:
        about: what it shows.
        size: bytes of the largest closure, nearly; ``files``: its packages.
        planes: who carries it, one after the other.
        mixed: half of the hosts want another appliance (`lab.bench.payload`).
        faults, racks, stagger: as for the demo (`lab.settings`); faults are for all planes.
        is_quick: it is part of ``BENCH=quick``.
    """

    name: str
    about: str
    hosts: int
    size: int = 32 * MEGABYTE
    rate_mbit: float = 24
    planes: tuple[str, ...] = ALL
    faults: str = ""
    racks: int = 1
    stagger: float = 0.0
    mixed: bool = False
    files: int = 330
    seed: int = 1
    is_quick: bool = False

    def __post_init__(self) -> None:
        check_faults(parse_faults(self.faults), self.hosts)
        unknown = [plane for plane in self.planes if plane not in ALL]
        if unknown:
            raise ConfigError(f"PLANES: {unknown[0]!r} is not one of {', '.join(ALL)}")


_PEERS = (*SWARMS, *OURS)
_FAULTY = ("libtorrent-v2", *OURS)

CELLS: tuple[Cell, ...] = (
    Cell("single", "one host alone", 1, is_quick=True),
    Cell("four", "N = 4", 4, is_quick=True),
    Cell("scaled-16", "N = 16", 16, is_quick=True),
    Cell("scaled-32", "N = 32", 32, planes=(*_PEERS, MULTICAST)),
    Cell("scaled-64", "N = 64", 64, size=16 * MEGABYTE, rate_mbit=12, planes=(*_PEERS, MULTICAST)),
    Cell(
        "gentle-16",
        "a third of the rate, so that fewer processors suffice, N = 16",
        16,
        rate_mbit=8,
        planes=("libtorrent-v2", *OURS),
    ),
    Cell("gentle-64", "the same, N = 64", 64, size=16 * MEGABYTE, rate_mbit=4, planes=("relay",)),
    Cell("real", "real size, N = 8", 8, size=325 * MEGABYTE, rate_mbit=100, files=400),
    Cell("staggered", "a host every 0.3 s, N = 16", 16, planes=_PEERS, stagger=0.3),
    Cell("mixed", "half A, half 60 % of A and 40 % of B, N = 16", 16, planes=_PEERS, mixed=True),
    Cell("killed", "20 % killed at a third, N = 16", 16, planes=_FAULTY, faults="kill:3@33%", is_quick=True),
    Cell(
        "outage",
        "20 % killed, frontend and tracker still for 5 s, both at a third, N = 16",
        16,
        planes=_FAULTY,
        faults="kill:3@33%,frontend-freeze:5s@33%",
    ),
    Cell(
        "restart",
        "20 % killed, frontend and tracker too, which start again after 5 s, all at a third, N = 16",
        16,
        planes=OURS,
        faults="kill:3@33%,frontend-kill:5s@33%",
    ),
    Cell("slow", "one host with a quarter of its uplink, N = 16", 16, planes=_FAULTY, faults="slow-up:1@25%"),
    Cell("stopped", "SIGSTOP of one host for 5 s, N = 16", 16, planes=_FAULTY, faults="stop:1:5s@30%"),
    Cell("late", "half of the hosts join at 50 %, N = 16", 16, planes=_FAULTY, faults="join:8@50%"),
    Cell("racks", "two racks, trunk of one link, N = 16", 16, planes=_FAULTY, racks=2),
)


def overridden(cell: Cell, environment: Mapping[str, str]) -> Cell:
    """Return the cell with what HOSTS, RATE, SIZE (MB), FILES, SEED, FAULTS, RACKS, STAGGER and PLANES say.

    Raises:
        ConfigError: one of them makes no sense.
    """
    changes: dict[str, object] = {}
    try:
        for name, key, scale in (("hosts", "HOSTS", 1), ("size", "SIZE", MEGABYTE), ("files", "FILES", 1)):
            if environment.get(key):
                changes[name] = int(float(environment[key]) * scale)
        for name, key in (("seed", "SEED"), ("racks", "RACKS")):
            if environment.get(key):
                changes[name] = int(environment[key])
        for name, key in (("rate_mbit", "RATE"), ("stagger", "STAGGER")):
            if environment.get(key):
                changes[name] = float(environment[key])
    except ValueError as error:
        raise ConfigError(f"HOSTS, RATE, SIZE, FILES, SEED, RACKS and STAGGER are numbers: {error}") from error
    if environment.get("FAULTS"):
        changes["faults"] = environment["FAULTS"]
    if environment.get("PLANES"):
        changes["planes"] = tuple(environment["PLANES"].split(","))
    return replace(cell, **changes)  # type: ignore[arg-type]


def quick(cell: Cell) -> Cell:
    """Return the cell without the planes that take minutes."""
    if cell.hosts <= QUICK_STAR_HOSTS:
        return cell
    return replace(cell, planes=tuple(plane for plane in cell.planes if plane not in STARS))


def find(names: Iterable[str]) -> tuple[Cell, ...]:
    """Return cells by name."""
    known = {cell.name: cell for cell in CELLS}
    return tuple(known[name] for name in names)
