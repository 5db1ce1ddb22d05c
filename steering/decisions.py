"""The record of one decision: the answer, why, and all that is needed to decide again. Pure.

A file has a line of JSON for each: `State` (policy and sites, which hold until the next such line)
and `Record`. Of the client it has the /24 or /48; no token, no query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from steering.choose import Box
from steering.decide import Decision, Snapshot
from steering.locate import Level
from steering.rank import NOWHERE, Around
from wire.codec import blame
from wire.errors import WireError
from wire.fleet import Site
from wire.ids import ORIGIN_ID
from wire.steer import Reason

BOXES_MAX = 256  # of the client's sites, in one record; more are cut, and the record says so
PASSED_MAX = 32  # reasons that one record spells out


class State(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="state"):
    """What held for the records that follow; `at_s` is Unix time."""

    version: Literal[1] = 1
    at_s: float
    generation: int
    policy: Mapping[str, Any]
    sites: tuple[Site, ...]


class SeenBox(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One box as the decision saw it. `weight` is its capacity before the policy's factor; `held`
    are those of the assets asked for that it holds (None: all)."""

    id: str
    site: str
    weight: float
    health: float = 1.0
    admit: float = 1.0
    spread: float = 1.0
    recovering: bool = False
    passed: Reason | None = None
    detail: str = ""
    held: tuple[int, ...] | None = None


class Record(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="decision"
):
    """One decision. `n` counts decisions, so that a gap says how many were left out; `ranks`,
    `passed` and `chosen` are the answer, the rest is what it was made from. `cut`: there were more
    boxes than are listed."""

    version: Literal[1] = 1
    at_s: float
    n: int
    surface: str
    client: str
    title: str
    assets: tuple[int, ...]
    want: int
    held_min: int = 1
    by_asset: bool = True
    only: tuple[str, ...] | None = None
    policy: str
    home: str
    stale: bool = False
    ranks: tuple[tuple[str, int], ...]
    passed: tuple[tuple[str, Reason], ...] = ()
    chosen: tuple[str, ...]
    order: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    around: Around = NOWHERE
    boxes: tuple[SeenBox, ...] = ()
    cut: bool = False


def record_of(
    decision: Decision,
    snapshot: Snapshot,
    *,
    at_s: float,
    n: int,
    surface: str,
    order: Sequence[str] = (),
) -> Record:
    """The record of a decision that was made from `snapshot`."""
    question = decision.question
    assets = tuple(question.assets)
    boxes = _boxes(decision, snapshot)
    return Record(
        at_s=at_s,
        n=n,
        surface=surface,
        client=question.client.block_text,
        title=question.title,
        assets=assets,
        want=question.want,
        held_min=question.held_min,
        by_asset=question.by_asset,
        only=None if question.only is None else tuple(sorted(question.only)),
        policy=snapshot.policy.name,
        home=decision.home,
        stale=decision.stale,
        ranks=tuple((site.site, site.rank) for site in decision.ranked),
        passed=tuple(decision.passed_over()[:PASSED_MAX]),
        chosen=tuple(place.pathway for place in decision.places),
        order=tuple(order),
        levels=snapshot.ranking.table.locate(question.client),
        around=snapshot.ranking.around(question.client),
        boxes=tuple(_seen(box, assets, snapshot) for box in boxes[:BOXES_MAX]),
        cut=len(boxes) > BOXES_MAX,
    )


def _boxes(decision: Decision, snapshot: Snapshot) -> list[Box]:
    """Every box of the client's sites that could be named, and the origin."""
    only = decision.question.only
    found = [box for site in decision.ranked for box in snapshot.boxes.get(site.site, ())]
    if snapshot.origin is not None:
        found.append(snapshot.origin)
    return [box for box in found if only is None or box.id in only]


def _seen(box: Box, assets: tuple[int, ...], snapshot: Snapshot) -> SeenBox:
    factor = snapshot.policy.weight_of(box.id, box.site)
    held = tuple(asset for asset in assets if asset in box.holds)
    return SeenBox(
        id=box.id,
        site=box.site,
        weight=box.weight / factor if factor > 0 else box.weight,
        health=box.health,
        admit=box.admit,
        spread=box.spread,
        recovering=box.recovering,
        passed=box.passed,
        detail=box.detail,
        held=None if len(held) == len(assets) or box.id == ORIGIN_ID else held,
    )


_lines = msgspec.json.Decoder(State | Record)


def read_lines(lines: Iterable[bytes], file: str) -> Iterator[State | Record]:
    """The lines of one file; raises WireError naming file and line. The last line may be cut, as
    a crash leaves it."""
    held: WireError | None = None
    for number, line in enumerate(lines, start=1):
        if held is not None:
            raise held
        try:
            yield _lines.decode(line)
        except msgspec.MsgspecError as exc:
            fault = blame(file, exc)
            held = WireError(file, f"line {number}, {fault.where}", fault.detail)
