"""In which order a player should use pathways, and which of them it has to clone. Pure.

The order is the decision's, by rank. A session stays where it is while its pathway is as near as
the best one: hls.js penalises a pathway for five minutes and Shaka for one, so an answer that goes
back and forth leaves players with what is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from steering.choose import Box
from steering.decide import Decision
from wire.ids import ORIGIN_ID
from wire.pathways import PathwayClone, UriReplacement
from wire.steer import Reason

PRIORITIES_MIN = 2  # hls.js fails over on errors only when it knows at least two
# The order in which boxes that were passed over are named where a player needs a second choice.
_BETTER_THAN_NONE = (Reason.OVER, Reason.LOAD, Reason.DRAINING, Reason.HEALTH)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the player's manifest lists, and `base`, the one pathway that has everything (None:
    unknown, or none has)."""

    listed: tuple[str, ...]
    base: str | None = None


def nearest(
    found: Iterable[Decision],
    listing: Listing,
    rank: Mapping[str, int],
    may_clone: Callable[[Box], bool],
) -> list[Box]:
    """The boxes to use, best first: those that any of the decisions chose, without those that are
    neither listed nor may be cloned. `rank` is by box; of equals the last decision's come first."""
    boxes = {box.id: box for one in reversed([*found]) for box in one.chosen}
    usable = [box for box in boxes.values() if box.id in listing.listed or may_clone(box)]
    return sorted(usable, key=lambda box: rank[box.id])


def stay(boxes: Sequence[Box], current: str | None, rank_of: Callable[[str], int]) -> list[Box]:
    """`boxes` with the one that the session uses in front, if it is as near as the first."""
    found = [box for box in boxes if box.id == current and rank_of(box.id) <= rank_of(boxes[0].id)]
    return [*found, *(box for box in boxes if box not in found)]


def priorities(boxes: Sequence[Box], among: Decision, listing: Listing) -> tuple[str, ...]:
    """Pathway ids for the answer: never empty, two where the manifest lists two, and what has
    everything is always in it (dash.js stops at a Representation that no priority serves)."""
    order = [box.id for box in boxes]
    if len(order) < PRIORITIES_MIN:
        order += _second_choices(among, order)[: PRIORITIES_MIN - len(order)]
    last = [listing.base, ORIGIN_ID if ORIGIN_ID in listing.listed else None]
    covers = [name for name in last if name is not None]
    order += _new(covers or listing.listed, order)
    if len(order) < PRIORITIES_MIN:
        order += _new(listing.listed, order)[: PRIORITIES_MIN - len(order)]
    return tuple(order)


def clones(boxes: Iterable[Box], listing: Listing, *, with_port: bool) -> tuple[PathwayClone, ...]:
    """The clones that the boxes need which the manifest does not list. hls.js makes each once,
    dash.js and Shaka know those of the last answer only, so every answer names them all."""
    if listing.base is None:
        return ()
    return tuple(
        PathwayClone(
            base=listing.base,
            id=box.id,
            replacement=UriReplacement(host=host_of(box.base_url, with_port=with_port)),
        )
        for box in boxes
        if box.id not in listing.listed
    )


def host_of(base_url: str, *, with_port: bool) -> str:
    """HOST for a clone: the name alone, as hls.js and Shaka put it into a URL that keeps its port
    (one with a port is silently no host to them), or name and port."""
    parts = urlsplit(base_url)
    if with_port:
        return parts.netloc
    return parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc


def has_port(base_url: str) -> bool:
    """Whether a box's URL says its port, so that players differ in how they clone."""
    return urlsplit(base_url).port is not None


def _second_choices(decision: Decision, order: Sequence[str]) -> list[str]:
    """Listed boxes that were passed over, least bad first; those without the content are none."""
    passed = decision.passed_over()
    return [
        name
        for reason in _BETTER_THAN_NONE
        for name, why in passed
        if why is reason and name not in order
    ]


def _new(names: Iterable[str], order: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in order]
