"""What Prometheus sees of a steering replica: decisions, reasons, reports, the fleet's state."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from steering.decide import Decision
from steering.engine import Engine
from steering.limiter import Limiter

# Decisions take well under a millisecond; what is above is a queue.
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)

LOOKED_PER_S = 100
"""Decisions a second whose times and reasons are looked at: all boxes are judged again, ~0.1 ms."""


class Metrics:
    """The counters of one replica, in a registry of its own."""

    def __init__(self, engine: Engine) -> None:
        """Gauges are read from `engine` when they are asked for."""
        self._engine = engine
        self.limiter: Limiter | None = None
        self._answers: dict[str, int] = {}
        self._first: dict[int, int] = {}
        self._second = self._room = self._unlooked = 0
        self._children: dict[tuple[Counter, str], Counter] = {}
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "steering_decisions_total", "Answers given", ["surface"], registry=self.registry
        )
        self._passed = Counter(
            "steering_passed_over_total", "Boxes passed over", ["reason"], registry=self.registry
        )
        self._ranks = Counter(
            "steering_first_rank_total", "Rank of the best place", ["rank"], registry=self.registry
        )
        self._reports = Counter(
            "steering_reports_total", "Reports received", ["kind", "result"], registry=self.registry
        )
        self.sessions = Counter(
            "steering_sessions_total", "States that players sent", ["state"], registry=self.registry
        )
        self.answer_s = Histogram(
            "steering_answer_seconds", "Time to answer", buckets=_BUCKETS_S, registry=self.registry
        )
        self._boxes = Gauge(
            "steering_boxes", "Appliances by state", ["state"], registry=self.registry
        )
        self._stale = Gauge(
            "steering_view_stale", "1 while most of the fleet is silent", registry=self.registry
        )
        self._refused = Gauge(
            "steering_refused", "Requests refused under load", ["kind"], registry=self.registry
        )
        self._limit = Gauge(
            "steering_limit", "Requests answered in one turn at most", registry=self.registry
        )
        self._titles = Gauge("steering_titles", "Titles known", registry=self.registry)
        self._routes = Gauge("steering_prefixes", "Prefixes in the table", registry=self.registry)
        self._records = Counter(
            "steering_records_total", "Records of decisions", ["result"], registry=self.registry
        )
        self._generation = Gauge(
            "steering_config_generation", "Configuration that runs", registry=self.registry
        )
        self._signed = Gauge("steering_tokens_signed", "Tokens signed", registry=self.registry)

    def decided(self, surface: str, decision: Decision, took_s: float) -> None:
        """Count one decision of a surface. Why boxes were passed over is looked at for so many a
        second and counted for all of them: of thousands a second a sample says the same."""
        self._answers[surface] = self._answers.get(surface, 0) + 1
        if decision.places:
            rank = decision.places[0].rank
            self._first[rank] = self._first.get(rank, 0) + 1
        self._unlooked += 1
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._room = second, LOOKED_PER_S
        if self._room > 0:
            self._room -= 1
            self.answer_s.observe(took_s)
            for _, reason in decision.passed_over():
                self._child(self._passed, reason.value).inc(self._unlooked)
            self._unlooked = 0

    def _settle(self) -> None:
        """Hand the counts over to what is exposed."""
        for surface, count in self._answers.items():
            self._child(self._decisions, surface).inc(count)
        for rank, count in self._first.items():
            self._child(self._ranks, str(rank)).inc(count)
        self._answers.clear()
        self._first.clear()

    def _child(self, counter: Counter, label: str) -> Counter:
        """The counter of one label, found once."""
        found = self._children.get((counter, label))
        if found is None:
            found = self._children[counter, label] = counter.labels(label)
        return found

    def recorded(self, result: str, count: int) -> None:
        """Count records of decisions: `written`, `left_out`, `failed`."""
        self._records.labels(result).inc(count)

    def reported(self, kind: str, result: str) -> None:
        """Count one report (`heartbeat`, `inventory`, `routes`) and how it went."""
        self._reports.labels(kind, result).inc()

    def text(self) -> bytes:
        """The exposition, with gauges of this moment."""
        self._settle()
        view = self._engine.view
        state = view.state(time.monotonic())
        self._boxes.clear()
        for box in state.boxes:
            self._boxes.labels(box.state).inc()
        self._stale.set(state.stale)
        self._generation.set(state.generation)
        self._titles.set(len(self._engine.titles.by_title))
        self._routes.set(view.prefixes)
        self._signed.set(self._engine.tokens.signed)
        if self.limiter is not None:
            self._limit.set(self.limiter.limit)
            for kind, count in self.limiter.refused.items():
                self._refused.labels(kind.value).set(count)
        return generate_latest(self.registry)
