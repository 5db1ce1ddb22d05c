"""The names of things: appliances, sites, titles, assets, files. All are safe in URLs and paths."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

# An appliance id is also its pathway id, so it keeps to the letters that HLS Content Steering
# allows ([a-zA-Z0-9._-]); lower case only, so that it can be a host name as well.
ApplianceId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z")]
SiteId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z")]
# The home site of a client, or "" where nobody knows it (a stand-alone box, say).
HomeId = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9._-]{0,62})?\Z")]
TitleId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]

# Dense integers given by the catalogue, never reused; 32 bits, so that a roaring bitmap holds them.
ASSET_ID_MAX = 2**32 - 1
AssetId = Annotated[int, Meta(ge=0, le=ASSET_ID_MAX)]

# Flat names without a leading dot: nothing in an asset can leave its folder or hide in it.
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}\Z")]

# The random name of one catalogue's world; a message from another world is refused.
Epoch = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]

Sha256Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]

ORIGIN_ID = "origin"
"""The appliance in front of the origin, its site's id, and its pathway id in every manifest."""


class SiteKind(StrEnum):
    """Where a site stands in the network."""

    EMBEDDED = "embedded"
    PNI = "pni"
    IX = "ix"
    TRANSIT = "transit"
    ORIGIN = "origin"

    @property
    def preference(self) -> int:
        """0 for the kind nearest to viewers, growing with distance; origin is the last resort."""
        return list(SiteKind).index(self)
