"""Which boxes of a site: filter with the reason kept, then weighted rendezvous hashing. Pure.

Rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker 2005: score
= weight ÷ −ln(hash)) gives each box its share of clients by capacity, and when a box comes or goes
only its own share moves. A box's `admit` thins what it is given: of the clients that fall to it,
it keeps that share, always the same ones, and the rest goes to the next box. (Weighting by admit
as well would take its load away twice.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import xxhash
from pyroaring import BitMap

from wire.steer import Reason

_HASH_SPAN = 2.0**64
_SHED_SEED = 1  # another hash than the score's, or the shed share would be the low scorers


@dataclass(frozen=True, slots=True)
class Box:
    """One appliance as a decision sees it. `weight` is its capacity in bits per second; `passed`
    is why it may not be used at all, whatever is asked (None: it may)."""

    id: str
    site: str
    base_url: str
    weight: float
    health: float = 1.0
    admit: float = 1.0
    passed: Reason | None = None
    detail: str = ""
    holds: BitMap = field(default_factory=BitMap)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """One box with its score (higher is first), how many of the assets asked for it holds, and
    the reason it was passed over (None: it is a candidate)."""

    box: Box
    score: float
    held: int
    reason: Reason | None
    detail: str = ""


def seed_of(box_id: str) -> int:
    """The number that tells a box's hashes from every other's."""
    return xxhash.xxh3_64_intdigest(box_id.encode())


def score(box: Box, key: bytes) -> float:
    """The rendezvous score of a box for a key: positive, higher is first."""
    unit = (xxhash.xxh3_64_intdigest(key, box.seed) + 0.5) / _HASH_SPAN
    return box.weight / -math.log(unit) if unit < 1.0 else math.inf


def sheds(box: Box, key: bytes) -> bool:
    """Whether this key is in the share of its load that the box does not want now.

    A smaller `admit` sheds a superset of what a larger one does: nobody is swapped.
    """
    if box.admit >= 1.0:
        return False
    return xxhash.xxh3_64_intdigest(key, box.seed ^ _SHED_SEED) / _HASH_SPAN >= box.admit


def judge(
    boxes: Iterable[Box], key: bytes, assets: Sequence[int], held_min: int = 1
) -> list[Judged]:
    """Every box of a site: candidates first (those that hold more first, then by score), then
    those passed over. A candidate holds at least `held_min` of the assets."""
    candidates: list[Judged] = []
    others: list[Judged] = []
    for box in boxes:
        verdict = _judge_one(box, key, assets, held_min)
        (candidates if verdict.reason is None else others).append(verdict)
    candidates.sort(key=lambda verdict: (-verdict.held, -verdict.score, verdict.box.id))
    return candidates + others


def _judge_one(box: Box, key: bytes, assets: Sequence[int], held_min: int) -> Judged:
    points = score(box, key)
    if box.passed is not None:
        return Judged(box, points, 0, box.passed, box.detail)
    held = sum(asset in box.holds for asset in assets)
    if held < held_min:
        detail = f"holds {held} of {len(assets)}" if len(assets) > 1 else ""
        return Judged(box, points, held, Reason.CONTENT, detail)
    if sheds(box, key):
        return Judged(box, points, held, Reason.LOAD, f"admits {box.admit:.0%} of its load")
    return Judged(box, points, held, None)
