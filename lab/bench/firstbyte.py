"""The proxy's first byte: how long an installer waits for a package that nobody has loaded yet, on an idle link.

One host of the lab at 100 Mbit/s stands at its barrier, so that nothing is prefetched; curl asks its proxy, then the
frontend itself. The limit beside it is the time that a first piece, which is hashed before it is released, takes on the
wire.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from avalanche.manifest import PIECE, Entry
from lab.cache import Cache
from lab.cluster import Cluster
from lab.contained import dependent, run
from lab.demo import roots_of
from lab.frontend import URL
from lab.packages.repository import rpm_repository
from lab.settings import Settings

RATE_MBIT = 100
PACKAGES = 40
TARGET_SECONDS = 0.05
PROXY = "http://127.0.0.1:7070/"


def run_firstbyte(cache: Cache) -> dict[str, float]:
    """Measure, print, and return the figures."""
    settings = Settings(hosts=1, rate_mbit=RATE_MBIT, mode="download", plane="relay")
    repository, roots = rpm_repository(cache), roots_of(cache)
    with (
        tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder,
        Cluster(settings, Path(folder), repository=repository, roots=roots) as cluster,
    ):
        cluster.prepare()
        cluster.start_hosts()
        cluster.wait_until_ready(lambda _: None)
        closure = cluster.largest
        packages = sorted((entry for entry in closure.entries if entry.nevra), key=lambda entry: entry.size)
        chosen = packages[:: max(1, len(packages) // PACKAGES)][:PACKAGES]
        direct = f"{URL}/install/packages/{closure.generation}/"
        through = []
        for entry in chosen:
            through.append(_seconds(cluster, PROXY, entry))
            _curl(cluster, PROXY + quote(entry.path))  # whole: else the next one would share the link with its rest
        plain = [_seconds(cluster, direct, entry) for entry in chosen]
    limits = [min(entry.size, PIECE) * 8 / (RATE_MBIT * 1e6) for entry in chosen]
    figures = {
        "first byte through the proxy, median (ms)": statistics.median(through) * 1000,
        "  95th percentile (ms)": _percentile(through, 0.95) * 1000,
        "  largest (ms)": max(through) * 1000,
        "  share within 50 ms": sum(each <= TARGET_SECONDS for each in through) / len(through),
        "  beyond the first piece's time on the wire, median (ms)": 1000
        * statistics.median(found - limit for found, limit in zip(through, limits, strict=True)),
        "  first byte of the frontend itself, median (ms)": statistics.median(plain) * 1000,
        "  a whole piece's time on the wire (ms)": PIECE * 8 / (RATE_MBIT * 1e3),
    }
    for name, value in figures.items():
        print(f"{name:60} {value:10.3f}")
    return figures


def _seconds(cluster: Cluster, base: str, entry: Entry) -> float:
    """The time until the first byte of the body is there: of a range of one byte nothing else can be the first."""
    return float(_curl(cluster, "--range", "0-0", "--write-out", "%{time_total}", base + quote(entry.path)))


def _curl(cluster: Cluster, *arguments: str) -> str:
    namespace = cluster.network.namespace(cluster.hosts[0].name)
    command = ("curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", *arguments)
    return run(dependent(*namespace.command(*command)), timeout=60)


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
