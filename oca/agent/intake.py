"""Accept a plan, or refuse it and say why. Pure.

An agent trusts a signature, and not even that blindly: a plan for another box, from another world
or from the past, and one that would empty the box, are refused whoever signed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oca.held import Held
from wire.plan import Plan

DROP_SHARE_MAX = 0.25
"""The agent's own brake (CONTRACTS: ~25 %); fill's brake, ~20 %, stands before it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the agent knows when a plan comes: who it is, its world ("" before the first plan), the
    generation it follows (0: none), and the assets that it offers."""

    appliance: str
    epoch: str
    generation: int
    offered: Mapping[int, Held]


def refusal(plan: Plan, standing: Standing, now_s: float) -> str:
    """Why this plan is refused; "" when it is accepted. `now_s` is Unix time.

    A plan of the generation that is followed already is accepted again: it changes nothing.
    """
    if plan.appliance != standing.appliance:
        return f"it is for the appliance {plan.appliance!r}, this is {standing.appliance!r}"
    if standing.epoch and plan.epoch != standing.epoch:
        return f"its catalogue is {plan.epoch}, this box holds assets of {standing.epoch}"
    if plan.generation < standing.generation:
        return (
            f"generation {plan.generation} is older than {standing.generation}, which is followed"
        )
    if plan.expires_s <= now_s:
        return f"it expired {now_s - plan.expires_s:.0f} s ago"
    if any(index >= len(plan.sources) for item in plan.desired for index in item.sources):
        return "it names a source that it does not list"
    return "" if plan.force else _brake(plan, standing.offered)


def _brake(plan: Plan, offered: Mapping[int, Held]) -> str:
    wanted = {item.asset for item in plan.desired}
    total_bytes = sum(held.bytes for held in offered.values())
    dropped_bytes = sum(held.bytes for asset, held in offered.items() if asset not in wanted)
    if dropped_bytes <= DROP_SHARE_MAX * total_bytes:
        return ""
    share = dropped_bytes / total_bytes
    return f"it drops {share:.0%} of the bytes held, more than {DROP_SHARE_MAX:.0%}: use --force"
