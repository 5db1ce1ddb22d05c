"""Whether a plan differs so much from the last one that a person must say yes. Pure.

A broken input (an empty demand file, a catalogue cut short) looks like this, and a night of
fetching is what it would cost to undo it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fill.arrays import Ints, Longs
from fill.config import BrakeKnobs
from fill.deaddisks import storable
from fill.generation import SiteSummary
from fill.rows import Action, Rows
from wire.errors import ConflictError
from wire.reports import DiskTold


class BrakesOn(ConflictError):
    """A plan was not published; `reasons` says what is unusual about it, one line each."""

    def __init__(self, reasons: list[str]) -> None:
        """`reasons` has at least one element."""
        self.reasons = reasons
        text = "\n".join(f"  - {reason}" for reason in reasons)
        super().__init__(
            f"nothing was published: this plan is unlike the last one\n{text}\n"
            "Look at it with --dry-run; publish it with --force when it is right."
        )


@dataclass(frozen=True, slots=True)
class Wants:
    """What one box is to hold: assets in the order of value, and bytes of each."""

    assets: Ints
    bytes: Longs

    def storable(self, disks: Sequence[DiskTold]) -> Wants:
        """Without what belongs on disks that are switched off: that is not dropped, it is gone."""
        if not disks:
            return self
        there = storable(self.assets, disks)
        return Wants(self.assets[there], self.bytes[there])


def wants_of(rows: Rows) -> dict[str, Wants]:
    """What each box of a plan is to hold; boxes that are to hold nothing are absent."""
    kept = rows.where(rows.action != Action.DROP)
    return {name: Wants(kept.asset[mine], kept.bytes[mine]) for name, mine in kept.ranges().items()}


def unusual(
    old: Mapping[str, Wants],
    new: Mapping[str, Wants],
    known: Collection[str],
    old_sites: Mapping[str, SiteSummary],
    new_sites: Mapping[str, SiteSummary],
    knobs: BrakeKnobs,
    purged: Collection[int] = (),
) -> list[str]:
    """What is unusual about a new plan; empty when it may go out. `known`: the boxes it is for.
    What was purged on purpose does not count as dropped."""
    reasons = [
        f"{name} is not in the fleet file any more (it holds {len(old[name].assets)} assets)"
        for name in sorted(old.keys() - known)
    ]
    for name in sorted(old.keys() & known):
        share = dropped_share(old[name], new.get(name), purged)
        if share > knobs.drop_share:
            reasons.append(
                f"{name} would drop {share:.0%} of the bytes planned for it "
                f"(more than {knobs.drop_share:.0%})"
            )
    for name in sorted(old_sites.keys() & new_sites.keys()):
        before, after = old_sites[name].offload, new_sites[name].offload
        if before is not None and before - (after or 0.0) > knobs.offload_loss:
            now = "no demand at all" if after is None else f"{after:.1%}"
            reasons.append(
                f"the planned offload of {name} falls from {before:.1%} to {now} "
                f"(more than {knobs.offload_loss * 100:g} points)"
            )
    return reasons


def dropped_share(old: Wants, new: Wants | None, purged: Collection[int] = ()) -> float:
    """Share of the bytes of `old` that `new` does not want any more, 0 to 1."""
    counted = ~np.isin(old.assets, list(purged))
    total = int(old.bytes[counted].sum())
    stays = np.isin(old.assets, new.assets) if new else np.zeros(len(counted), bool)
    return float(old.bytes[counted & ~stays].sum() / total) if total else 0.0
