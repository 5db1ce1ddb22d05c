"""Why boxes were passed over, by reason alone: for counters. Pure."""

from __future__ import annotations

from collections import Counter

from steering.decide import Decision
from wire.steer import Reason


def reasons(decision: Decision) -> Counter[Reason]:
    """How many of the boxes looked at were not used, for which reason. It judges them all again:
    for some decisions a second, not for each."""
    return Counter(reason for _, reason in decision.passed_over())
