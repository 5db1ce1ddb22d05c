"""What the agent tells the workers, through one file in the run folder and the generation word.

Pure. The agent writes `RUN/peers.json` (whole, by rename: wire.durable) and then raises the word;
a worker that sees the word rise reads the file again at its next request.
"""

from __future__ import annotations

import msgspec

from wire.codec import decode
from wire.ids import ApplianceId, SiteId

PEERS_FILE = "peers.json"


class Peers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may be served: `prefixes` announced to this site ("10.0.0.0/8", "2001:db8::/32"), and
    `peers` that may fetch (appliance id → public key text, as `wire.keys.parse_verify_key` reads).

    `prefixes` None means that nobody has said yet: then no client is inside.
    """

    version: int = 1
    site: SiteId | None = None
    prefixes: tuple[str, ...] | None = None
    peers: dict[ApplianceId, str] = {}


def read_peers(raw: bytes) -> Peers:
    """The typed content of peers.json; raises WireError."""
    return decode(Peers, raw, PEERS_FILE)
