"""The workers' counters as Prometheus text: read from their mappings, added up, never asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oca.counters import CounterFileError, metrics_files, read_metrics
from oca.reasons import CONNECTIONS_OPEN

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
    CONNECTIONS_OPEN: "Connections open now",
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
        for sample, value in totals(self._run_dir).items():
            name, _, label = sample.rstrip("}").partition("{")
            key, _, text = label.partition("=")
            family = families.get(name)
            if family is None:
                kind = GaugeMetricFamily if name == CONNECTIONS_OPEN else CounterMetricFamily
                family = kind(name, HELP.get(name, name), labels=[key] if key else [])
                families[name] = family
            family.add_metric([text.strip('"')] if key else [], value)
        return families.values()


def metrics_text(run_dir: Path) -> bytes:
    """The exposition of all workers, in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkersCollector(run_dir))
    return generate_latest(registry)
