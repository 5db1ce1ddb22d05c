"""What `fill serve` counts, for Prometheus."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from wire.events import EventBatch, FillProgress
from wire.web import Handler

FILLING = {
    "generation": "generation of the plan that is followed",
    "held": "assets stored",
    "held_bytes": "bytes stored",
    "left": "assets of the plan to come",
    "left_bytes": "bytes of the plan to come",
    "bps": "bits per second that come now",
}
assert FILLING.keys() < set(FillProgress.__struct_fields__)


class Metrics:
    """The counters of one process, on a registry of their own."""

    def __init__(self) -> None:
        """All at zero."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "fill_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._batches = Counter(
            "fill_event_batches", "Event batches by outcome.", ["outcome"], registry=self._registry
        )
        self._bytes = Counter(
            "fill_delivered_bytes",
            "Bytes to players, as counted.",
            ["site"],
            registry=self._registry,
        )
        self._filling = {
            name: Gauge(
                f"fill_box_{name}", f"As boxes said last: {text}.", ["box"], registry=self._registry
            )
            for name, text in FILLING.items()
        }
        self.generation = Gauge(
            "fill_plan_generation", "Generation of the plan in force.", registry=self._registry
        )

    def batch(self, batch: EventBatch, new: bool) -> None:
        """Count a stored batch (or one sent again)."""
        self._batches.labels("new" if new else "again").inc()
        if new:
            self._bytes.labels(batch.site).inc(sum(row.bytes for row in batch.rows))
        if new and batch.filling is not UNSET:
            for name, gauge in self._filling.items():
                gauge.labels(batch.appliance).set(getattr(batch.filling, name))

    def page(self) -> bytes:
        """The exposition (text format)."""
        return generate_latest(self._registry)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request by route and status."""
        response = await handler(request)
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        self._requests.labels(route, str(response.status)).inc()
        return response
