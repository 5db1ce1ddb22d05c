"""Offload as counted beside offload as planned, per home site. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fill.generation import Summary
from wire.offload import HomeOffload, OffloadReport

MINUTE_S = 60


def offload_report(
    totals: Iterable[tuple[str, str, str, int]], since_s: int, summary: Summary | None
) -> OffloadReport:
    """The report of (home, serving site, appliance, bytes) rows against a generation's promise."""
    by_site: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    by_box: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for home, site, appliance, count in totals:
        by_site[home][site] += count
        by_box[home][appliance] += count
    return OffloadReport(
        since_s=since_s - since_s % MINUTE_S,
        generation=summary.generation if summary else 0,
        homes={
            home: _home(home, by_site[home], by_box[home], _planned(home, summary))
            for home in sorted(by_site)
        },
    )


def _home(
    home: str, by_site: Mapping[str, int], by_box: Mapping[str, int], planned: float | None
) -> HomeOffload:
    total = sum(by_site.values())
    return HomeOffload(
        bytes=total,
        by_site=dict(by_site),
        by_appliance=dict(by_box),
        realised=by_site.get(home, 0) / total if total and home else None,
        planned=planned,
    )


def _planned(home: str, summary: Summary | None) -> float | None:
    site = summary.sites.get(home) if summary else None
    return min(1.0, site.offload) if site and site.offload is not None else None
