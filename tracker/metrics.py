"""``/metrics``: what a tracker counts, for Prometheus. No label has a value that somebody else chose."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

# A series beside each counter, of no use to anybody.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one tracker.

    Args:
        hosts: how many hosts it knows now.
        peers: how many BitTorrent clients.
    """

    def __init__(self, *, hosts: Callable[[], int], peers: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("avalanche_tracker_hosts", "Hosts that install now.", registry=registry).set_function(hosts)
        Gauge("avalanche_tracker_bittorrent_peers", "BitTorrent clients.", registry=registry).set_function(peers)
        self._requests = Counter(
            "avalanche_tracker_requests_total",
            "Requests that were answered, by what was asked and how it ended.",
            ("what", "outcome"),
            registry=registry,
        )
        self.lookup_seconds = Histogram(
            "avalanche_tracker_lookup_seconds",
            "Processing of a lookup that was read; without waiting for it.",
            buckets=SECONDS,
            registry=registry,
        )
        self.asked = Counter(
            "avalanche_tracker_asked_objects_total", "Objects for which hosts asked a parent.", registry=registry
        )
        self.reports = Counter(
            "avalanche_tracker_reports_total",
            "What was found out about hosts: corrupt, slow, restored, refused.",
            ("status",),
            registry=registry,
        )

    def count(self, what: str, outcome: str) -> None:
        """A request was answered: ``lookup``, ``announce`` or ``scrape``; ``ok``, ``refused``, ``paced``, ``malformed``
        or ``replaced``.
        """
        self._requests.labels(what, outcome).inc()

    async def get(self, request: web.Request) -> web.Response:
        """``GET /metrics``."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
