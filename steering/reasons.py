"""Why boxes were passed over, by reason alone: for counters, which every decision feeds. Pure.

`Decision.passed_over` names each box and has its score; this costs a tenth of it.
"""

from __future__ import annotations

from collections import Counter

from steering.choose import sheds
from steering.decide import Decision
from wire.steer import Reason


def reasons(decision: Decision) -> Counter[Reason]:
    """How many of the boxes looked at were not used, for which reason."""
    found: Counter[Reason] = Counter()
    ask = decision.question
    chosen = {id(box) for box in decision.chosen}
    key, assets, held_min = ask.key, ask.assets, ask.held_min
    for site, boxes in decision.looked:
        if site.gone:
            found[Reason.ROUTE] += len(boxes)
            continue
        passed = [box.passed for box in boxes if box.passed is not None]
        if len(assets) == 1:
            asset = assets[0]
            held = [box for box in boxes if asset in box.holds and box.passed is None]
        else:
            held = [
                box
                for box in boxes
                if box.passed is None and sum(asset in box.holds for asset in assets) >= held_min
            ]
        used = sum(id(box) in chosen for box in held)
        shed = sum(box.admit < 1.0 and id(box) not in chosen and sheds(box, key) for box in held)
        found.update(passed)
        found[Reason.CONTENT] += len(boxes) - len(held) - len(passed)
        found[Reason.LOAD] += shed
        found[Reason.OVER] += len(held) - used - shed
    return found
