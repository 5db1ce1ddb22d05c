"""Whether a plan differs so much from the last one that a person must say yes. Pure.

A broken input (an empty demand file, a catalogue cut short) looks like this, and a night of
fetching is what it would cost to undo it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fill.config import BrakeKnobs
from fill.generation import SiteSummary
from wire.errors import ConflictError
from wire.plan import Plan


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


def unusual(
    old_plans: Mapping[str, Plan],
    new_plans: Mapping[str, Plan],
    old_sites: Mapping[str, SiteSummary],
    new_sites: Mapping[str, SiteSummary],
    knobs: BrakeKnobs,
    purged: Collection[int] = (),
) -> list[str]:
    """What is unusual about the new plans; empty when they may go out. What was purged on purpose
    does not count as dropped."""
    reasons = [
        f"{name} is not in the fleet file any more (it holds {len(old_plans[name].desired)} assets)"
        for name in sorted(old_plans.keys() - new_plans.keys())
        if old_plans[name].desired
    ]
    for name in sorted(old_plans.keys() & new_plans.keys()):
        if old_plans[name].epoch != new_plans[name].epoch:
            reasons.append(f"{name} would move to another catalogue and drop all it holds")
            continue
        share = dropped_share(old_plans[name], new_plans[name], purged)
        if share > knobs.drop_share:
            reasons.append(
                f"{name} would drop {share:.0%} of the bytes planned for it "
                f"(more than {knobs.drop_share:.0%})"
            )
    for name in sorted(old_sites.keys() & new_sites.keys()):
        old, new = old_sites[name].offload, new_sites[name].offload
        if old is not None and old - (new or 0.0) > knobs.offload_loss:
            now = "no demand at all" if new is None else f"{new:.1%}"
            reasons.append(
                f"the planned offload of {name} falls from {old:.1%} to {now} "
                f"(more than {knobs.offload_loss * 100:g} points)"
            )
    return reasons


def dropped_share(old: Plan, new: Plan, purged: Collection[int] = ()) -> float:
    """Share of the bytes of `old` that `new` does not want any more, 0 to 1."""
    wanted = {item.asset for item in new.desired}
    counted = [item for item in old.desired if item.asset not in purged]
    total = sum(item.bytes for item in counted)
    gone = sum(item.bytes for item in counted if item.asset not in wanted)
    return gone / total if total else 0.0
