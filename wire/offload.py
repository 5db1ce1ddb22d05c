"""Who served whom, counted: `GET /v1/offload` on fill's admin listener. Bytes to players only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from wire.ids import ApplianceId, Count, HomeId, Share, SiteId


class HomeOffload(msgspec.Struct, frozen=True, kw_only=True):
    """Clients of one home site: bytes delivered to them by serving site and by appliance; offload
    is the share that their own site served, as counted and as planned (None: no figure)."""

    bytes: Count
    by_site: Mapping[SiteId, Count]
    by_appliance: Mapping[ApplianceId, Count]
    realised: Share | None = None
    planned: Share | None = None


class OffloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """All home sites since `since_s` (Unix seconds, rounded down to a minute); "" is the home of
    bytes whose token named none. `generation` is the plan in force (0: none yet)."""

    version: Literal[1] = 1
    since_s: Count
    generation: Count
    homes: Mapping[HomeId, HomeOffload]
