"""Viewers first: how fast a box may fill while it serves, by what its own requests feel. Pure.

A background transport in the sense of LEDBAT (RFC 6817): when the delay of what matters rises
above a target, fill halves its rate; while it is below, fill takes a little more, until it needs
no limit. On a box without viewers it never holds back.
"""

from __future__ import annotations

from dataclasses import dataclass

BUSY_SHARE = 0.9
"""Of the link: above it viewers queue, and what is filled from this box's disk does not help."""
DOWN, UP = 0.5, 1.15
"""Once a second: seconds to make room, a dozen seconds to double again."""
FLOOR_SHARE = 0.02
FLOOR_BPS = 16_000_000.0
"""Never less than this: a fill that stops for the whole evening would not end by morning either,
and a source gives up on a reader that takes nothing."""
LIVE_BPS = 100_000.0
"""Less than this is nobody watching: probes, a forgotten connection."""


@dataclass(frozen=True, slots=True)
class Feel:
    """One look. `answer_s`: how long a worker took to answer, `disk_s`: how long one uncached read
    took; None when it was not tried. Rates in bits per second."""

    served_bps: float
    fill_bps: float
    link_bps: float
    answer_s: float | None = None
    disk_s: float | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """What viewers may feel of the fill, seconds."""

    answer_s: float
    disk_s: float


def crowded(feel: Feel, targets: Targets) -> str:
    """What viewers lack because of the fill; "" when they lack nothing, or nobody watches."""
    if feel.served_bps < LIVE_BPS:
        return ""
    if feel.answer_s is not None and feel.answer_s > targets.answer_s:
        return "workers answer late"
    if feel.disk_s is not None and feel.disk_s > targets.disk_s:
        return "the disk answers late"
    if feel.served_bps > BUSY_SHARE * feel.link_bps:
        return "the link is full"
    return ""


def next_limit_bps(limit_bps: float, feel: Feel, targets: Targets) -> float:
    """The fill's limit from now on, 0 for none."""
    if crowded(feel, targets):
        floor = max(FLOOR_BPS, FLOOR_SHARE * feel.link_bps)
        base = min(limit_bps, feel.fill_bps) if limit_bps else feel.fill_bps
        return max(floor, base * DOWN)
    if not limit_bps or feel.served_bps < LIVE_BPS:
        return 0.0
    raised = limit_bps * UP
    # Far above what comes anyway, a limit limits nothing.
    return raised if raised < 4 * max(feel.fill_bps, FLOOR_BPS) else 0.0
