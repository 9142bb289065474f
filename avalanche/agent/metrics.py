"""What an agent counts, as Prometheus reads it: a text, written without a library.

Source of the form: Prometheus, *Exposition formats*, version 0.0.4.
"""

from __future__ import annotations

from typing import NamedTuple

from avalanche.agent.cache import Cache
from avalanche.agent.catalogue import Catalogue
from avalanche.agent.downloader import Downloader

TARGET = "/.avalanche/metrics"
"""On the proxy's port, on 127.0.0.1. No generation has a path that begins so."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """One metric: its name without the prefix, type, help, and values by their label (``""``: without)."""

    name: str
    type: str
    help: str
    values: tuple[tuple[str, int], ...]


def families(catalogue: Catalogue, downloader: Downloader, cache: Cache, *, sent: int) -> tuple[Family, ...]:
    """What an agent counts now; ``sent`` bytes went to other hosts."""
    figures = downloader.figures
    received = (
        ('{source="frontend"}', figures.bytes_from_frontend),
        ('{source="peers"}', figures.bytes_from_peers),
    )
    closure = sum(item.entry.size for item in catalogue.closure)
    flights = sum(1 for _ in downloader.flights)
    return (
        Family("received_bytes_total", "counter", "Bytes that came, good or bad.", received),
        Family("verified_bytes_total", "counter", "Bytes whose hash was right.", (("", figures.verified),)),
        Family("sent_bytes_total", "counter", "Bytes of objects sent to other hosts.", (("", sent),)),
        Family("packages_total", "counter", "Packages that are complete.", (("", figures.packages),)),
        Family("closure_bytes", "gauge", "Bytes of everything this host installs.", (("", closure),)),
        Family("cache_bytes", "gauge", "Bytes promised to objects in the cache.", (("", cache.used),)),
        Family("transfers", "gauge", "Objects on their way.", (("", flights),)),
    )


def exposition(found: tuple[Family, ...]) -> str:
    """Write metrics as Prometheus reads them.

    >>> print(exposition((Family("transfers", "gauge", "Objects on their way.", (("", 2),)),)), end="")
    # HELP avalanche_agent_transfers Objects on their way.
    # TYPE avalanche_agent_transfers gauge
    avalanche_agent_transfers 2
    """
    lines = []
    for family in found:
        name = f"avalanche_agent_{family.name}"
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.type}"]
        lines += [f"{name}{label} {value}" for label, value in family.values]
    return "".join(line + "\n" for line in lines)
