"""How fast an answer may leave: the policy's rate, or what the player asks for. Pure.

A player says how much it needs by `rtp` (CTA-5004, requested maximum throughput) or, where it does
not speak CMCD, by the header `Pace-Bps`: one number, bits per second. There is no standard name for
the latter; without `X-`, as RFC 6648 wants new ones. Bursts above it would only fill queues (Sammy,
SIGCOMM 2023: −61 % chunk throughput, −35 % retransmits, no loss of quality). Asserted by the
client, so it is obeyed only if the operator says so, and held within the operator's bounds.
"""

from __future__ import annotations

from oca.config import Pacing
from oca.http.cmcd import Cmcd
from oca.http.head import Fields

UNPACED = 0
DIGITS_MAX = 12


def pace_bps(knobs: Pacing, cmcd: Cmcd | None, fields: Fields) -> int:
    """The rate of one answer in bits per second; UNPACED for none. The plainer word wins."""
    if knobs.by_player:
        asked = _number(fields.pace) or (1000 * (cmcd.rtp or 0) if cmcd is not None else 0)
        if asked:
            return min(max(asked, knobs.lowest_bps), knobs.highest_bps)
    return knobs.rate_bps


def _number(raw: bytes | None) -> int:
    """What the header says; 0 for nothing, or nothing that is a number."""
    return int(raw) if raw is not None and raw.isdigit() and len(raw) <= DIGITS_MAX else 0
