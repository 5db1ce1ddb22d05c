"""What a simulation showed: overshoot, time to settle, turns, for each kind of event. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from steering.arrays import Array
from steering.simulate import Times
from steering.simulate_world import CROWD, DARK, LOST, World

SETTLED = 0.05
"""Within this of the new level counts as settled; a turn by more counts."""
BOX_TURN, BOX_TURNS_MAX = 0.2, 4.0  # more than that is a search without end
EVENTS = {LOST: "a box lost", CROWD: "a crowd arriving", DARK: "a site back"}
OVERSHOOT_MAX, SETTLE_TTLS_MAX = 0.10, 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kind of event, over all the sites that it struck, in the worst of them. Levels are shares
    of a site's capacity (of the boxes that are left); the time to settle runs from when the change
    is complete; `turns`: how often the site's load turned round by more than 5 % of the new level,
    `box_turns`: how often a box's did by more than 20 % of its link, on average."""

    mode: str
    event: str
    before: float
    after: float
    overshoot: float
    settle_ttls: float
    turns: int
    box_turns: float
    peak_box: float

    @property
    def is_calm(self) -> bool:
        """Whether it is as it should be."""
        quiet = self.box_turns <= BOX_TURNS_MAX
        return quiet and self.overshoot <= OVERSHOOT_MAX and self.settle_ttls <= SETTLE_TTLS_MAX

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"calm": self.is_calm}


def outcomes(mode: str, world: World, times: Times, ttl_s: int, loads: Array) -> list[Outcome]:
    """What became of the struck sites; `loads`: shares of links, by second and box."""
    found = []
    for isp, event in EVENTS.items():
        complete_s = times.event_s + (times.crowd_s if isp == CROWD else 0)
        sites = [
            _outcome(mode, event, loads[:, _left(world, region, isp)], times, complete_s, ttl_s)
            for region in range(world.scale.struck)
        ]
        found.append(_worst(sites))
    return found


def _left(world: World, region: int, isp: int) -> Array:
    """The boxes that are there after the event."""
    boxes = world.boxes_of(region, isp)
    return boxes[1:] if isp == LOST else boxes


def _outcome(
    mode: str, event: str, boxes: Array, times: Times, complete_s: int, ttl_s: int
) -> Outcome:
    site = boxes.mean(axis=1)
    after = float(site[-ttl_s:].mean())
    since = site[times.event_s :]
    away = np.flatnonzero(np.abs(site[complete_s:] - after) > SETTLED * after)
    settle_s = float(away[-1] + 1) if len(away) else 0.0
    return Outcome(
        mode=mode,
        event=event,
        before=float(site[: times.dark_s].mean()),
        after=after,
        overshoot=max(0.0, float(since.max()) / after - 1) if after else 0.0,
        settle_ttls=settle_s / ttl_s,
        turns=_turns(since, SETTLED * after),
        box_turns=float(np.mean([_turns(box[times.event_s :], BOX_TURN) for box in boxes.T])),
        peak_box=float(boxes[times.event_s :].max()),
    )


def _turns(series: Array, least: float) -> int:
    """How often a series turns round by more than `least`."""
    turns, way = 0, 0
    low = high = float(series[0])
    for value in series.tolist():
        low, high = min(low, value), max(high, value)
        if way <= 0 and value - low > least:
            turns, way, high = turns + (way < 0), 1, value
        elif way >= 0 and high - value > least:
            turns, way, low = turns + (way > 0), -1, value
    return turns


def _worst(found: Sequence[Outcome]) -> Outcome:
    first = found[0]
    return Outcome(
        mode=first.mode,
        event=first.event,
        before=sum(one.before for one in found) / len(found),
        after=sum(one.after for one in found) / len(found),
        overshoot=max(one.overshoot for one in found),
        settle_ttls=max(one.settle_ttls for one in found),
        turns=max(one.turns for one in found),
        box_turns=max(one.box_turns for one in found),
        peak_box=max(one.peak_box for one in found),
    )
