"""A plan: what one appliance should hold, in order of value, and where to get it. Signed by fill.

The plan is a *desired set*: the agent computes the difference to what it holds itself, so a box
that missed a night is right again with the next plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wire.codec import decode, encode
from wire.ids import ApplianceId, AssetId, Count, Epoch, Sha256Hex
from wire.keys import SigningKey, VerifyKey
from wire.signed import open_signed, sign

PLAN_TYP = "plan"
PURGE_TYP = "purge"


class SourceKind(StrEnum):
    """How far a source is, nearest first."""

    PEER = "peer"
    SITE = "site"
    ORIGIN = "origin"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Somewhere to pull from: `url` is its base, to which `/a/<asset>/<file>` is added."""

    id: ApplianceId
    kind: SourceKind
    url: str


class Desired(msgspec.Struct, frozen=True, kw_only=True, array_like=False):
    """One asset to hold. `sources` are indexes into the plan's sources, best first; `digest` is the
    SHA-256 of its catalogue entry's bytes; `value` is demanded bytes a day for each byte stored;
    `action` and `why` explain, and decide nothing."""

    asset: AssetId
    bytes: Count
    digest: Sha256Hex
    sources: tuple[Annotated[int, Meta(ge=0)], ...]
    value: float = 0.0
    action: Literal["keep", "fetch"] = "fetch"
    why: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one appliance should hold. Times are Unix seconds; `fill_bytes` is what it may pull in
    one window; `peers` (id → public key) may fetch from it; `force` lifts the agent's drop
    brake, `out_of_window` lets it fill at any hour."""

    version: Literal[1] = 1
    appliance: ApplianceId
    epoch: Epoch
    generation: Annotated[int, Meta(ge=1, le=2**53)]
    made_s: Count
    expires_s: Count
    fill_bytes: Count
    desired: tuple[Desired, ...]
    sources: tuple[Source, ...]
    peers: Mapping[ApplianceId, str]
    force: bool = False
    out_of_window: bool = False


class PurgeList(msgspec.Struct, frozen=True, kw_only=True):
    """Assets to unlink at once, everywhere. `number` only grows; the list is cumulative."""

    version: Literal[1] = 1
    epoch: Epoch
    number: Count
    assets: tuple[AssetId, ...]


class PurgeAck(msgspec.Struct, frozen=True, kw_only=True):
    """An appliance has carried out the purge list up to `number`."""

    appliance: ApplianceId
    number: Count


def sign_plan(plan: Plan, key: SigningKey) -> bytes:
    """The plan as it travels and is stored: its exact bytes, signed."""
    return sign(encode(plan), key, PLAN_TYP)


def open_plan(raw: bytes, keys: Mapping[str, VerifyKey]) -> Plan:
    """A plan whose signature holds; raises AuthError, or WireError naming the field at fault."""
    return decode(Plan, open_signed(raw, keys, PLAN_TYP), "plan")


def sign_purge(purge: PurgeList, key: SigningKey) -> bytes:
    """The purge list as it travels."""
    return sign(encode(purge), key, PURGE_TYP)


def open_purge(raw: bytes, keys: Mapping[str, VerifyKey]) -> PurgeList:
    """A purge list whose signature holds; raises AuthError or WireError."""
    return decode(PurgeList, open_signed(raw, keys, PURGE_TYP), "purge list")
