"""What one published generation says of itself: summary and explanations, beside its plans. Pure.

These files are fill's own (`state/plans/<generation>/`); boxes see the signed plans only.
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
    could at best (`oracle_bytes`); what nearer sites leave to it, and what of that it serves."""

    kind: str
    demand_bytes: float
    served_bytes: float
    oracle_bytes: float
    taken_bytes: float = 0.0
    covered_bytes: float = 0.0

    @property
    def offload(self) -> float | None:
        """Planned offload of its own clients' demand; None where nothing is asked for."""
        return self.served_bytes / self.demand_bytes if self.demand_bytes else None

    @property
    def oracle(self) -> float | None:
        """The best offload its disks allow."""
        return self.oracle_bytes / self.demand_bytes if self.demand_bytes else None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: what went in (digests), what came out, and by which options."""

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


class CopyTold(msgspec.Struct, frozen=True, kw_only=True):
    """One copy on one box."""

    box: str
    number: int
    density: float
    action: str


class RefusalTold(msgspec.Struct, frozen=True, kw_only=True):
    """One box that did not take a copy, and why."""

    box: str
    why: str


class AssetTold(msgspec.Struct, frozen=True, kw_only=True):
    """One asset in one site: demand in bytes a day (own clients', and left by nearer sites)."""

    size_bytes: int
    own_bytes: float
    taken_bytes: float
    order: tuple[str, ...]
    copies: tuple[CopyTold, ...]
    refused_number: int = 0
    refused_density: float = 0.0
    refused: tuple[RefusalTold, ...] = ()


class SiteTold(msgspec.Struct, frozen=True, kw_only=True):
    """Why one site holds what it holds: by asset id (as text, for JSON)."""

    version: Literal[1] = 1
    site: str
    assets: Mapping[str, AssetTold]
