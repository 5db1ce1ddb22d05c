"""Bytes by home site and serving box: offload, who covered for whom, and the checks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Bytes = Counter[tuple[str, str]]
"""Body bytes delivered, by (home site of the viewer, appliance that served)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, whether it was kept, and the figures that say so."""

    name: str
    held: bool
    figures: str


@dataclass(slots=True)
class Book:
    """What the viewers received, by home site and serving host."""

    site_of: Mapping[str, str]
    box_of_host: Mapping[str, str]
    counted: Bytes = field(default_factory=Counter)

    def add(self, home: str, delivered: Mapping[str, int]) -> None:
        """Enter the bytes that viewers of `home` received, by host."""
        for host, size in delivered.items():
            self.counted[(home, self.box_of_host[host])] += size


def offload(counted: Bytes, home: str, site_of: Mapping[str, str]) -> float:
    """The share of the bytes for `home` that its own boxes served, 0 to 1."""
    total = sum(size for (site, _), size in counted.items() if site == home)
    own = sum(
        size for (site, box), size in counted.items() if site == home and site_of[box] == home
    )
    return own / total if total else 0.0


def by_serving_site(counted: Bytes, home: str, site_of: Mapping[str, str]) -> dict[str, int]:
    """Bytes for viewers of `home` by the site that served them."""
    sums: Counter[str] = Counter()
    for (site, box), size in counted.items():
        if site == home:
            sums[site_of[box]] += size
    return dict(sums)


def difference(players: Bytes, events: Bytes) -> list[str]:
    """Where the two books differ, in words; empty when they agree to the byte."""
    return [
        f"{box} for {home}: players {players[home, box]}, events {events[home, box]}"
        for home, box in sorted(players.keys() | events.keys())
        if players[home, box] != events[home, box]
    ]


def verdict(checks: Iterable[Check]) -> bool:
    """Whether every check held."""
    return all(check.held for check in checks)
