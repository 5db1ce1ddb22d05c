"""What was delivered: body bytes to players, per asset and home site, in sequenced batches.

Demand belongs to the client's *home site* (rank 0 for its prefix), whoever served it; else a film
that a site lacks would count as the exchange's demand. Fill traffic is never counted.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from wire.ids import ApplianceId, AssetId, Count, HomeId, SiteId

ROWS_MAX = 100_000  # ~5 MB of JSON: a minute of a busy box, in one request

PLAYED_MAX = 20_000  # ~5 MB as well

BatchSeq = Annotated[int, Meta(ge=1, le=2**62)]


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one asset delivered to clients of one home site within one minute (Unix minutes).

    `home` is empty where nobody knows it (a token of a stand-alone origin, say).
    """

    asset: AssetId
    home: HomeId
    minute: Count
    bytes: Count


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that players said, added up, and how many they were."""

    sum: Count
    count: Count


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What players said (CMCD, CTA-5004) while one asset played to one home site, in one minute.

    Asserted by clients and possibly incomplete: for judging quality, not for bills. `sessions` that
    spoke, counted per box; `requests` with CMCD, of which `starved` followed a stall (`bs`),
    `startups` were urgent (`su`), and `late` were sent after the player's deadline (`dl`). Bitrates
    of what was asked for (`br`) and of the best there is (`tb`), measured throughput (`mtp`) in
    kb/s; buffer (`bl`) in ms; absent where nobody said it.
    """

    asset: AssetId
    home: HomeId
    minute: Count
    sessions: Count
    requests: Count
    starved: Count = 0
    startups: Count = 0
    late: Count = 0
    bitrate_kbps: Said | UnsetType = UNSET
    top_kbps: Said | UnsetType = UNSET
    throughput_kbps: Said | UnsetType = UNSET
    buffer_ms: Said | UnsetType = UNSET


class FillProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a box is with its plan when a batch is made: the generation it follows, assets and
    bytes stored, and those of the plan that are to come. `bps` is what comes now, in bits per
    second; `paused` says why nothing does ("" when nothing is in the way)."""

    generation: Count
    held: Count
    held_bytes: Count
    left: Count
    left_bytes: Count
    bps: Count = 0
    paused: str = ""


class EventBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of one appliance. (appliance, boot, seq) identifies it: sent again, it counts once.

    Within one boot `seq` starts at 1 and has no gaps. `oldest` is said to a receiver that shows a
    gap: the lowest number that the sender still has. What came before was acknowledged once, so
    whoever lost it need not wait for it. `played` is absent where no player speaks CMCD, `filling`
    where nothing changed since it was said last."""

    version: Literal[1] = 1
    appliance: ApplianceId
    site: SiteId
    boot: Count
    seq: BatchSeq
    rows: Annotated[tuple[Delivered, ...], Meta(max_length=ROWS_MAX)]
    oldest: BatchSeq | UnsetType = UNSET
    played: Annotated[tuple[Played, ...], Meta(max_length=PLAYED_MAX)] | UnsetType = UNSET
    filling: FillProgress | UnsetType = UNSET


class EventAck(msgspec.Struct, frozen=True, kw_only=True):
    """All batches of `boot` up to `seq` are stored durably."""

    boot: Count
    seq: Count
