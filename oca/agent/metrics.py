"""What the agent counts, as Prometheus metrics in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from oca.partfile import StoreError
from wire.events import Played


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
        self._of_disks()
        self.loop_faults = Counter(
            "oca_agent_loop_faults",
            "Loops of the agent that failed and were started again",
            ("loop",),
            registry=self.registry,
        )
        self.plans_refused = self._counter(
            "oca_plans_refused", "Plans refused; /v1/status says why"
        )
        self._played_requests = self._by_home("oca_played_requests", "Requests with CMCD")
        self._played_starved = self._by_home("oca_played_starved", "Of those, after a stall (bs)")
        self._played_late = self._by_home("oca_played_late", "Of those, sent after the deadline")
        self._played_lost = self._counter("oca_played_lost", "Rows of those, overwritten unread")
        self.generation = self._gauge("oca_plan_generation", "Generation of the plan followed")
        self.held = self._gauge("oca_assets_held", "Assets stored whole and verified")
        self.held_bytes = self._gauge("oca_assets_held_bytes", "Bytes of the assets stored")
        self.wanted = self._gauge(
            "oca_fill_assets_left", "Assets that the plan wants fetched still"
        )
        self.wanted_bytes = self._gauge("oca_fill_bytes_left", "Bytes of those")
        self.fill_bps = self._gauge("oca_fill_bps", "Bits per second that come just now")
        self.fill_limit_bps = self._gauge(
            "oca_fill_limit_bps", "What fill may take: the rate set, or less for viewers; 0: all"
        )
        self.fill_paused = self._gauge("oca_fill_paused", "1 when fill waits; /v1/status says why")
        self.budget_left = self._gauge(
            "oca_fill_budget_left_bytes", "What may still be pulled in this window"
        )
        self.sources_struck = self._gauge(
            "oca_fill_sources_struck", "Sources that sent wrong bytes and are not asked"
        )
        self.leaving = self._gauge("oca_assets_leaving", "Assets on their way out")
        self.free_bytes = self._gauge("oca_disk_free_bytes", "Bytes free on the disks")
        self.outbox = self._gauge("oca_outbox_batches", "Batches of counts not acknowledged yet")
        self.health = self._gauge("oca_health", "1 well … 0 must not serve")
        self.admit = self._gauge("oca_admit", "Share of its normal load that the box wants")

    def played(self, played: Iterable[Played], lost: int) -> None:
        """What players said in minutes that are over; `lost` rows were overwritten unread."""
        self._played_lost.inc(lost)
        for row in played:
            self._played_requests.labels(row.home).inc(row.requests)
            self._played_starved.labels(row.home).inc(row.starved)
            self._played_late.labels(row.home).inc(row.late)

    def _of_disks(self) -> None:
        self.disk_refusals = 0
        self.on_refusal: Callable[[StoreError], None] = lambda _fault: None
        self._store_errors = Counter(
            "oca_store_errors",
            "Reads and writes that a disk refused: full, io, readonly, gone, other",
            ("kind",),
            registry=self.registry,
        )
        self.scrubbed_bytes = self._counter("oca_scrub_bytes", "Stored bytes read again and hashed")
        self.rotten = self._counter("oca_scrub_bad_files", "Stored files found wrong, moved aside")
        self.disk_live = Gauge(
            "oca_disk_live", "1 while a disk is in use", ("path",), registry=self.registry
        )

    def disk_refused(self, fault: StoreError) -> None:
        """A disk refused to read or write; one that is only full is not ill."""
        self._store_errors.labels(fault.kind).inc()
        if fault.is_disk:
            self.disk_refusals += 1
        self.on_refusal(fault)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def _by_home(self, name: str, text: str) -> Counter:
        return Counter(
            name, f"{text}, by the viewers' home site", ("home",), registry=self.registry
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)
