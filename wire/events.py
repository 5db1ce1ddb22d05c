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

BatchSeq = Annotated[int, Meta(ge=1, le=2**62)]


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one asset delivered to clients of one home site within one minute (Unix minutes).

    `home` is empty where nobody knows it (a token of a stand-alone origin, say).
    """

    asset: AssetId
    home: HomeId
    minute: Count
    bytes: Count


class EventBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of one appliance. (appliance, boot, seq) identifies it: sent again, it counts once.

    Within one boot `seq` starts at 1 and has no gaps. `oldest` is said to a receiver that shows a
    gap: the lowest number that the sender still has. What came before was acknowledged once, so
    whoever lost it need not wait for it."""

    version: Literal[1] = 1
    appliance: ApplianceId
    site: SiteId
    boot: Count
    seq: BatchSeq
    rows: Annotated[tuple[Delivered, ...], Meta(max_length=ROWS_MAX)]
    oldest: BatchSeq | UnsetType = UNSET


class EventAck(msgspec.Struct, frozen=True, kw_only=True):
    """All batches of `boot` up to `seq` are stored durably."""

    boot: Count
    seq: Count
