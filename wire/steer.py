"""Steering's answers: ranked signed URLs, and the explanation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from wire.ids import ApplianceId, AssetId, Count, HomeId, Share, SiteId, SiteKind, TitleId


class Reason(StrEnum):
    """Why a box or a site was passed over; the letters classify every miss later."""

    HEALTH = "H"
    CONTENT = "C"
    LOAD = "L"
    DRAINING = "D"
    ROUTE = "R"
    OVER = "+"  # nothing is wrong with it: enough better ones were found

    @property
    def words(self) -> str:
        """The reason in plain English."""
        return _WORDS[self]


_WORDS = {
    Reason.HEALTH: "unhealthy or silent",
    Reason.CONTENT: "does not hold it",
    Reason.LOAD: "has no room for more",
    Reason.DRAINING: "is being drained",
    Reason.ROUTE: "its route is gone",
    Reason.OVER: "not needed: enough better ones",
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One pathway (= appliance) of an answer; `rank` is its site's, by proximity alone."""

    pathway: ApplianceId
    site: SiteId
    rank: Count


class AssetUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Where to get one asset: signed folder URLs by pathway, best first; add the file's name."""

    asset: AssetId
    name: str
    urls: Mapping[ApplianceId, str]


class SteerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who should serve this client, best first. `stale` says that the view of the fleet is old."""

    version: Literal[1] = 1
    title: TitleId
    home: HomeId
    ttl_s: Annotated[int, Meta(ge=1)]
    places: tuple[Place, ...]
    assets: tuple[AssetUrls, ...]
    stale: bool = False


BATCH_MAX = 1000
"""Assets in one question: a page of 40 titles with 25 assets each; 25 ms of decisions."""


class BatchQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets are asked for at once; one that is named twice is answered once."""

    assets: Annotated[tuple[AssetId, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class BatchAsset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One asset of a batch: its URL is the base URL of a pathway + `path` + the file's name.

    `pathways` are those that hold it, best first. Where it cannot be had `reason` says why, in
    `detail` for people, and there is neither path nor pathway.
    """

    asset: AssetId
    title: TitleId | None = None
    name: str = ""
    path: str = ""
    pathways: tuple[ApplianceId, ...] = ()
    reason: Literal["", "unknown", "unavailable"] = ""
    detail: str = ""


class BatchPlace(msgspec.Struct, frozen=True, kw_only=True):
    """One pathway of a batch with its base URL, such as `https://a1.example`."""

    pathway: ApplianceId
    site: SiteId
    rank: Count
    base_url: str


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who should serve this client these assets: in the order asked, hosts and tokens said once."""

    version: Literal[1] = 1
    home: HomeId
    ttl_s: Annotated[int, Meta(ge=1)]
    places: tuple[BatchPlace, ...]
    assets: tuple[BatchAsset, ...]
    stale: bool = False


class BoxVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One box in an explanation: its score (higher is first), or the reason it was passed over."""

    appliance: ApplianceId
    score: float
    reason: Reason | None = None
    detail: str = ""
    chosen: bool = False
    health: Share = 1.0
    admit: Share = 1.0


class SiteVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One site in an explanation, with what ranked it."""

    site: SiteId
    kind: SiteKind
    rank: Count
    prefix: str
    why: str
    boxes: tuple[BoxVerdict, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything behind one decision: `GET /v1/explain` on steering's admin listener."""

    version: Literal[1] = 1
    client: str
    asset: AssetId | None
    title: TitleId
    home: HomeId
    stale: bool
    sites: tuple[SiteVerdict, ...]
    chosen: tuple[Place, ...]
    ttl_s: int


class BoxState(msgspec.Struct, frozen=True, kw_only=True):
    """One appliance on `/v1/fleet`; `silent_s` since its last heartbeat (None: never heard)."""

    appliance: ApplianceId
    site: SiteId
    state: str
    health: float
    admit: float
    why: str
    silent_s: float | None
    assets: Count
    routes: Count
    served_bps: Count
    generation: Count
    refused: Mapping[str, int] = {}
    last_refusal: str = ""


class FleetState(msgspec.Struct, frozen=True, kw_only=True):
    """Steering's view of the whole fleet. `behind_s`: half of the boxes were last heard longer ago
    than this (left out: none was ever heard); `stale`: for most that is too long.
    `generation` and `policy` are of the configuration that runs."""

    epoch: str
    stale: bool
    behind_s: float | UnsetType = UNSET
    boxes: tuple[BoxState, ...]
    generation: Count = 0
    policy: str = ""
