"""What a night may cost: bytes pulled, counted as they come, whatever becomes of them. Pure.

Two budgets: the plan's (`fill_bytes`, for what one generation pulls in one window), and the
operator's for the whole night, whatever was planned in it.
"""

from __future__ import annotations

import msgspec


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes pulled: in all of a night, and under one generation of plans in it."""

    night: str = ""
    night_bytes: int = 0
    generation: int = 0
    plan_bytes: int = 0


def turned(spent: Spent, night: str, generation: int) -> Spent:
    """The books for this night and generation: what belongs to others is closed."""
    if spent.night != night:
        return Spent(night=night, generation=generation)
    if spent.generation != generation:
        return msgspec.structs.replace(spent, generation=generation, plan_bytes=0)
    return spent


def grown(spent: Spent, count_bytes: int) -> Spent:
    """So many more bytes were pulled."""
    return msgspec.structs.replace(
        spent,
        night_bytes=spent.night_bytes + count_bytes,
        plan_bytes=spent.plan_bytes + count_bytes,
    )


def left_bytes(spent: Spent, plan_bytes: int, night_bytes: int) -> int:
    """What may still be pulled of a plan's budget and of the night's (0: the night has none)."""
    left = plan_bytes - spent.plan_bytes
    if night_bytes:
        left = min(left, night_bytes - spent.night_bytes)
    return max(0, left)
