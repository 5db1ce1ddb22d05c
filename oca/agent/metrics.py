"""What the agent counts, as Prometheus metrics in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Every metric of one agent. Bytes and totals only grow; gauges are the present state."""

    def __init__(self) -> None:
        """A fresh registry: several agents may live in one process (tests)."""
        self.registry = CollectorRegistry()
        self.faults = Counter(
            "oca_fill_source_faults",
            "Failures of sources, by reason",
            ("source", "reason"),
            registry=self.registry,
        )
        self.fetched_bytes = Counter(
            "oca_fill_fetched_bytes",
            "Bytes received, by how far the source is",
            ("kind",),
            registry=self.registry,
        )
        self.assets_fetched = self._counter("oca_fill_assets", "Assets fetched and made visible")
        self.assets_dropped = self._counter("oca_fill_dropped", "Assets dropped or purged")
        self.disk_refusals = 0
        self._store_errors = self._counter("oca_store_errors", "Refusals of a disk")
        self.loop_faults = Counter(
            "oca_agent_loop_faults",
            "Loops of the agent that failed and were started again",
            ("loop",),
            registry=self.registry,
        )
        self.plans_refused = self._counter(
            "oca_plans_refused", "Plans refused; /v1/status says why"
        )
        self.generation = self._gauge("oca_plan_generation", "Generation of the plan followed")
        self.held = self._gauge("oca_assets_held", "Assets stored whole and verified")
        self.held_bytes = self._gauge("oca_assets_held_bytes", "Bytes of the assets stored")
        self.wanted = self._gauge(
            "oca_fill_assets_left", "Assets that the plan wants fetched still"
        )
        self.wanted_bytes = self._gauge("oca_fill_bytes_left", "Bytes of those")
        self.leaving = self._gauge("oca_assets_leaving", "Assets on their way out")
        self.free_bytes = self._gauge("oca_disk_free_bytes", "Bytes free on the disks")
        self.outbox = self._gauge("oca_outbox_batches", "Batches of counts not acknowledged yet")
        self.health = self._gauge("oca_health", "1 well … 0 must not serve")
        self.admit = self._gauge("oca_admit", "Share of its normal load that the box wants")

    def disk_refused(self) -> None:
        """A disk refused to read or write."""
        self.disk_refusals += 1
        self._store_errors.inc()

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)
