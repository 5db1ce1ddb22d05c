"""The steering manifest of HLS and DASH: the same JSON body for both.

Apple's HLS Content Steering specification §4; ETSI TS 103 998 §6. A pathway that a player does not
know is ignored by it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class UriReplacement(msgspec.Struct, frozen=True, kw_only=True):
    """How a clone's URIs differ from its base's: by host alone (Shaka knows nothing else)."""

    host: str = msgspec.field(name="HOST")


class PathwayClone(msgspec.Struct, frozen=True, kw_only=True):
    """A pathway that the player's manifest does not list, made from one that it lists."""

    base: str = msgspec.field(name="BASE-ID")
    id: str = msgspec.field(name="ID")
    replacement: UriReplacement = msgspec.field(name="URI-REPLACEMENT")


class SteeringManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: when to ask again (seconds) and where, and which pathways to use, best first."""

    version: Literal[1] = msgspec.field(name="VERSION", default=1)
    ttl_s: int = msgspec.field(name="TTL")
    priority: tuple[str, ...] = msgspec.field(name="PATHWAY-PRIORITY")
    reload_uri: str | UnsetType = msgspec.field(name="RELOAD-URI", default=UNSET)
    clones: tuple[PathwayClone, ...] | UnsetType = msgspec.field(
        name="PATHWAY-CLONES", default=UNSET
    )
