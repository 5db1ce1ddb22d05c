"""How fast an answer may leave: the policy's rate, or what the player asks for. Pure.

A player that says `rtp` (CTA-5004, requested maximum throughput) wants no more than that: bursts
above it only fill queues (Sammy, SIGCOMM 2023: −61 % chunk throughput, −35 % retransmits, no loss
of quality). Asserted by the client, so it is held within the operator's bounds.
"""

from __future__ import annotations

from oca.config import Pacing
from oca.http.cmcd import cmcd_of
from oca.http.head import Fields, Line

UNPACED = 0


def pace_bps(knobs: Pacing, line: Line, fields: Fields) -> int:
    """The rate of one answer in bits per second; UNPACED for none."""
    if knobs.by_player:
        cmcd = cmcd_of(line, fields)
        if cmcd is not None and cmcd.rtp:
            return min(max(cmcd.rtp * 1000, knobs.lowest_bps), knobs.highest_bps)
    return knobs.rate_bps
