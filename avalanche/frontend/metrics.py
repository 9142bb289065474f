"""``/metrics``: what a frontend counts, for Prometheus. The table in docs/operations.md lists it.

Labels are bounded by the program itself: the pattern of an address, never what somebody asked for; no host's name.
"""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from avalanche import __version__
from avalanche.frontend.gate import Gate

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
NOWHERE = "none"

# A series beside each counter, of no use to anybody.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one frontend; each has a registry of its own."""

    def __init__(self, gate: Gate) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("avalanche_frontend_build", "This frontend's version.", registry=registry).info({"version": __version__})
        self.sent = Counter(
            "avalanche_frontend_sent_bytes_total",
            "Bytes of packages and pieces that were sent to hosts.",
            registry=registry,
        )
        self._requests = Counter(
            "avalanche_frontend_requests_total",
            "Requests that were answered, by the address's pattern and the answer's status.",
            ("route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "avalanche_frontend_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        gauges = (
            ("streams", "Answers with packages or pieces that run.", lambda: gate.running),
            ("streams_waiting", "Those that wait to be admitted.", lambda: gate.waiting),
            ("streams_limit", "Those that may run at once.", lambda: gate.caps.streams),
            ("egress_limit_bytes_per_second", "What they may take of the network; 0: no bound.",
             lambda: gate.caps.rate),
        )  # fmt: skip
        for name, text, read in gauges:
            Gauge(f"avalanche_frontend_{name}", text, registry=registry).set_function(read)
        self._refused = Counter(
            "avalanche_frontend_streams_refused_total", "Answers with packages or pieces that were told to come back.",
            registry=registry,
        )  # fmt: skip
        gate.on_refused = self._refused.inc

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every answer, an abandoned one too."""
        began, status = time.monotonic(), "aborted"
        try:
            answer = await handler(request)
            status = str(answer.status)
            return answer
        except web.HTTPException as error:
            status = str(error.status)
            raise
        finally:
            resource = request.match_info.route.resource
            route = NOWHERE if resource is None else resource.canonical
            self._requests.labels(route, status).inc()
            self._seconds.labels(route).observe(time.monotonic() - began)

    async def get(self, request: web.Request) -> web.Response:
        """``GET /metrics``."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
