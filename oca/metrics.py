"""The workers' counters as Prometheus text: read from their mappings, added up, never asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from oca.counters import CounterFileError, metrics_files, read_metrics
from oca.reasons import BUFFER, CONNECTIONS_OPEN, THROUGHPUT

HISTOGRAMS = (THROUGHPUT, BUFFER)

HELP = {
    "oca_requests_total": "Requests read whole",
    "oca_body_bytes_total": "Bytes of bodies that the kernel took, for players",
    "oca_fill_body_bytes_total": "Bytes of bodies that the kernel took, for peers that fill",
    "oca_unacked_bytes_total": "Bytes of those that peers never acknowledged",
    "oca_uncounted_bytes_total": "Bytes missing in the books: the run folder's disk is full",
    "oca_access_log_dropped_total": "Lines that the access log could not keep or write",
    "oca_cold_opens_total": "Requests that waited for a thread to open or read a file",
    "oca_cold_reads_total": "Spans of files that a thread read from the disk before they were sent",
    "oca_connections_total": "Connections accepted",
    "oca_ktls_connections_total": "TLS connections that the kernel encrypts",
    CONNECTIONS_OPEN: "Connections open now",
    "oca_cmcd_requests_total": "Granted requests of players that speak CMCD",
    "oca_cmcd_starved_total": "Of those, after the player's buffer ran dry (bs)",
    "oca_cmcd_startups_total": "Of those, urgent: start, seek or after a stall (su)",
    "oca_cmcd_late_total": "Of those, sent after the player's deadline (dl)",
    THROUGHPUT: "Throughput that players measured (mtp), kb/s",
    BUFFER: "What players had in their buffer when they asked (bl), ms",
    "oca_responses_total": "Answers, by class of status",
    "oca_closes_total": "Ends of connections, by reason",
    "oca_refusals_total": "403 answers, by reason",
}


def totals(run_dir: Path) -> dict[str, int]:
    """Every sample of all workers added up: name as Prometheus writes it → value."""
    found: dict[str, int] = {}
    for _worker, path in metrics_files(run_dir):
        try:
            samples = read_metrics(path)
        except (CounterFileError, FileNotFoundError):
            continue
        for name, value in samples.items():
            found[name] = found.get(name, 0) + value
    return found


class WorkersCollector(Collector):
    """For any registry: the workers' samples as metric families."""

    def __init__(self, run_dir: Path) -> None:
        """`run_dir` is where the mappings are."""
        self._run_dir = run_dir

    def collect(self) -> Iterable[Metric]:
        """One family per name, its labels as counted."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        samples = totals(self._run_dir)
        for sample, value in samples.items():
            name, _, label = sample.rstrip("}").partition("{")
            if name.startswith(HISTOGRAMS):
                continue
            key, _, text = label.partition("=")
            family = families.get(name)
            if family is None:
                kind = GaugeMetricFamily if name == CONNECTIONS_OPEN else CounterMetricFamily
                family = kind(name, HELP.get(name, name), labels=[key] if key else [])
                families[name] = family
            family.add_metric([text.strip('"')] if key else [], value)
        return [*families.values(), *(_histogram(name, samples) for name in HISTOGRAMS)]


def _histogram(name: str, samples: dict[str, int]) -> HistogramMetricFamily:
    """The family of one histogram: buckets as Prometheus has them, each with all below it."""
    buckets, total, start = [], 0, f'{name}_bucket{{le="'
    for sample, value in samples.items():
        if sample.startswith(start):
            total += value
            buckets.append((sample[len(start) : -2], float(total)))
    family = HistogramMetricFamily(name, HELP[name])
    if buckets:
        family.add_metric([], buckets, samples.get(f"{name}_sum", 0))
    return family


def metrics_text(run_dir: Path) -> bytes:
    """The exposition of all workers, in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkersCollector(run_dir))
    return generate_latest(registry)
