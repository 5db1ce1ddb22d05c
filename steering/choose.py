"""Which boxes of a site: filter with the reason kept, then weighted rendezvous hashing. Pure.

Rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker 2005: the
least −ln(hash) ÷ weight wins) gives each box its share of clients by capacity, and when a box comes
or goes only its own share moves. Two more hashes thin what a box gets, always by the same keys:

- `admit`, the box's own word: beyond that share of its keys it is passed over (reason L). What one
  box sheds may go to the next of its site, which takes it by the eighth power of its own admit,
  or it leaves the site: else what a full site sheds would go round from one full box to the next.
  (Weighting by admit as well would take a box's load away twice.) A box that comes back sheds for
  another reason: what it does not get yet stays with those that had it while it was away.
- `spread`, from bounded load (`steering.balance`): beyond that share of its keys other boxes of the
  same site that hold as much go first. It only changes the order: nobody is sent away for balance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import xxhash
from pyroaring import BitMap

from wire.steer import Reason

_SHED_SEED = 1  # other hashes than the score's, or the shed share would be the low scorers
_SPREAD_SEED = 2
TRIES = 2
NEIGHBOUR = 8
"""A box at `admit` 0.9 takes 0.43 of what its neighbours shed, at 0.8 a sixth: with the square it
was 0.8 and 0.64, so that boxes of a full site moved each other more than their viewers did."""
_UNIT = 1 / 2.0**64
_hash = xxhash.xxh3_64_intdigest
_log = math.log


class Holds(Protocol):
    """What a box holds: a set of asset ids."""

    def __contains__(self, asset: int, /) -> bool:
        """Whether it holds an asset."""
        ...

    def __len__(self) -> int:
        """How many."""
        ...


@dataclass(frozen=True, slots=True)
class Box:
    """One appliance as a decision sees it. `weight` is its capacity in bits per second; `passed` is
    why it may not be used at all, whatever is asked (None: it may, and its weight is above 0)."""

    id: str
    site: str
    base_url: str
    weight: float
    health: float = 1.0
    admit: float = 1.0
    passed: Reason | None = None
    detail: str = ""
    holds: Holds = field(default_factory=BitMap)
    seed: int = 0
    spread: float = 1.0
    recovering: bool = False


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
    return _hash(box_id.encode())


def score(box: Box, key: bytes) -> float:
    """The rendezvous score of a box for a key: higher is first."""
    return box.weight / max(-_log((_hash(key, box.seed) + 1) * _UNIT), 1e-300)


def sheds(box: Box, key: bytes, place: int = 0) -> bool:
    """Whether this key is in the share of its load that the box does not want now; `place`: how
    many boxes come before it for this key.

    A smaller `admit` sheds a superset of what a larger one does: nobody is swapped.
    """
    if box.admit >= 1.0:
        return False
    wanted = box.admit**NEIGHBOUR if place else box.admit
    return _hash(key, box.seed ^ _SHED_SEED) * _UNIT >= wanted


def admitted(ordered: Sequence[Box], key: bytes) -> list[Box]:
    """Of the boxes of a site in order, those that take the key; none when the first TRIES shed
    it: then it leaves the site. For a box that was there all the time, those that are only coming
    back do not count: to them it is as if they were still away."""
    found: list[Box] = []
    settled = 0
    for index, box in enumerate(ordered):
        place = index if box.recovering else settled
        settled += not box.recovering
        if (found or place < TRIES) and not sheds(box, key, place):
            found.append(box)
    return found


def yields(box: Box, key: bytes) -> bool:
    """Whether this key is in the share that the box leaves to equals of its site, for balance."""
    return box.spread < 1.0 and _hash(key, box.seed ^ _SPREAD_SEED) * _UNIT >= box.spread


Row = tuple[Holds, int, float, int]


class Crew(tuple[Box, ...]):
    """The boxes of a site, with what the hot path needs of each laid out beside them: of those that
    take all their keys (`plain`), of those that do not (`thin`): what it holds, its seed, minus one
    over its weight, its place in the tuple."""

    plain: tuple[Row, ...]
    thin: tuple[Row, ...]

    def __new__(cls, boxes: Iterable[Box] = ()) -> Crew:
        """Boxes that may not be used are in the tuple alone."""
        crew = super().__new__(cls, boxes)
        rows = [
            (box.holds, box.seed, -1.0 / box.weight, place)
            for place, box in enumerate(crew)
            if box.passed is None
        ]
        whole = [crew[row[3]].admit >= 1.0 and crew[row[3]].spread >= 1.0 for row in rows]
        crew.plain = tuple(row for row, is_whole in zip(rows, whole, strict=True) if is_whole)
        crew.thin = tuple(row for row, is_whole in zip(rows, whole, strict=True) if not is_whole)
        return crew


def candidates(boxes: Sequence[Box], key: bytes, asset: int) -> list[Box]:
    """The boxes that may serve one asset, best first: what is asked thousands of times a second,
    so nothing here is a call that need not be. A `Crew` is quicker than other sequences."""
    crew = boxes if isinstance(boxes, Crew) else Crew(boxes)
    first = [
        (_log((_hash(key, seed) + 1) * _UNIT) * minus, place)
        for holds, seed, minus, place in crew.plain
        if asset in holds
    ]
    if not crew.thin:
        first.sort()
        return [crew[place] for _, place in first]
    later: list[tuple[float, int]] = []
    for holds, seed, minus, place in crew.thin:
        if asset in holds:
            row = (_log((_hash(key, seed) + 1) * _UNIT) * minus, place)
            (later if yields(crew[place], key) else first).append(row)
    return admitted([crew[place] for _, place in sorted(first) + sorted(later)], key)


def candidates_for(
    boxes: Iterable[Box], key: bytes, assets: Sequence[int], held_min: int
) -> list[Box]:
    """The boxes that hold at least `held_min` of several assets: those with more first."""
    found = []
    for place, box in enumerate(boxes):
        if box.passed is None:
            held = sum(asset in box.holds for asset in assets)
            if held >= held_min:
                found.append((-held, yields(box, key), -score(box, key), place, box))
    found.sort(key=lambda one: one[:4])
    return admitted([box for *_, box in found], key)


def judge(
    boxes: Iterable[Box],
    key: bytes,
    assets: Sequence[int],
    held_min: int = 1,
    *,
    gone: bool = False,
) -> list[Judged]:
    """Every box of a site with its verdict: candidates in the order of `candidates`, then those
    passed over. `gone`: the site withdrew its route, so none of them may serve."""
    verdicts = [_judge_one(box, key, assets, held_min, gone) for box in boxes]
    verdicts.sort(
        key=lambda verdict: (
            verdict.reason is not None,
            -verdict.held,
            verdict.reason is None and yields(verdict.box, key),
            -verdict.score,
        )
    )
    fit = [verdict for verdict in verdicts if verdict.reason is None]
    taking = {box.id for box in admitted([verdict.box for verdict in fit], key)}
    rest = verdicts[len(fit) :]
    takers = [verdict for verdict in fit if verdict.box.id in taking]
    return takers + [_shed(one) for one in fit if one.box.id not in taking] + rest


def _shed(verdict: Judged) -> Judged:
    box = verdict.box
    detail = box.detail or f"admits {box.admit:.0%} of its load"
    return replace(verdict, reason=Reason.LOAD, detail=detail)


def _judge_one(box: Box, key: bytes, assets: Sequence[int], held_min: int, gone: bool) -> Judged:
    points = score(box, key)
    if gone:
        return Judged(box, points, 0, Reason.ROUTE)
    if box.passed is not None:
        return Judged(box, points, 0, box.passed, box.detail)
    held = sum(asset in box.holds for asset in assets)
    if held < held_min:
        detail = f"holds {held} of {len(assets)}" if len(assets) > 1 else ""
        return Judged(box, points, held, Reason.CONTENT, detail)
    if yields(box, key):
        return Judged(box, points, held, None, f"leaves {1 - box.spread:.0%} to its equals")
    return Judged(box, points, held, None)
