"""What one published generation says of itself: its manifest, beside the plan's tables. Pure.

These files are fill's own (`state/generations/<generation>/`); boxes see the signed slices only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from wire.ids import Count


class BoxSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One box: bytes of its disk, usable, planned, fetched and dropped; `tau` and `mu` in bytes
    asked for a day per byte; `generation` is that of its plan (older than the folder's where only
    canaries got the new one)."""

    site: str
    generation: int
    state: str
    disk_bytes: Count
    usable_bytes: Count
    planned_bytes: Count
    fill_bytes: Count
    fetch_bytes: Count
    drop_bytes: Count
    keep: Count
    fetch: Count
    drop: Count
    tau: float
    mu: float


class SiteSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One site, in bytes a day: demand of its own clients, what of it the site should serve, and
    could at best (`oracle_bytes`); what nearer sites leave to it, and what of that it serves;
    `points`: bytes of disk that one copy of the most asked for takes to cover a share of demand."""

    kind: str
    demand_bytes: float
    served_bytes: float
    oracle_bytes: float
    taken_bytes: float = 0.0
    covered_bytes: float = 0.0
    points: Mapping[str, float] = {}

    @property
    def offload(self) -> float | None:
        """Planned offload of its own clients' demand; None where nothing is asked for."""
        return self.served_bytes / self.demand_bytes if self.demand_bytes else None

    @property
    def oracle(self) -> float | None:
        """The best offload its disks allow."""
        return self.oracle_bytes / self.demand_bytes if self.demand_bytes else None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """When the night's transfers end, if all goes as planned: seconds after the window opens, what
    comes from outside sites and what at least must, and what will not make it: transfers, bytes,
    and the bytes a day that will be asked for meanwhile, by site. `own_hours`: sites have
    windows of their own; seconds count from the plan on, until the last one closes (`window_s`)."""

    slot_s: float
    window_s: int
    makespan_s: float
    makespan_bound_s: float
    upstream_bytes: Count
    upstream_bound_bytes: Count
    peer_bytes: Count
    late: Count = 0
    late_bytes: Count = 0
    late_cost_bytes: Mapping[str, float] = {}
    own_hours: bool = False


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One generation (manifest.json): what went in (digests), what came out, by which options.
    `files`: SHA-256 of each table beside it."""

    version: Literal[1] = 1
    generation: int
    made_s: int
    epoch: str
    inputs: Mapping[str, str]
    ignored_demand: Mapping[str, int]
    sites: Mapping[str, SiteSummary]
    boxes: Mapping[str, BoxSummary]
    force: bool = False
    canary: tuple[str, ...] = ()
    rollback_of: int = 0
    schedule: Forecast | None = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = {}
