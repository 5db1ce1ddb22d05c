"""The boxes as decisions see them: frozen, and only those made anew that changed. Pure.

A decision never sees a change: each site's boxes are a tuple, swapped whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from steering.choose import Box, seed_of
from steering.policy import Policy
from steering.record import BoxRecord
from wire.fleet import Wanted
from wire.ids import ORIGIN_ID
from wire.steer import Reason

WEIGHTLESS = "weight 0 in the policy"


def box_of(
    record: BoxRecord, base_url: str, policy: Policy, epoch: str, now_s: float, silent_max_s: float
) -> Box:
    """One box as its record stands now; an inventory of another catalogue counts for nothing.

    `silent_max_s` is infinite while silence is ignored.
    """
    beat, spec = record.heartbeat, record.spec
    passed, detail = record.standing(record.silent_s(now_s), silent_max_s)
    same_world = not epoch or record.inventory_epoch == epoch
    factor = policy.weight_of(spec.id, spec.site)
    if factor <= 0 and passed is None:
        passed, detail = Reason.DRAINING, WEIGHTLESS
    return Box(
        id=spec.id,
        site=spec.site,
        base_url=base_url,
        weight=((beat and beat.capacity_bps) or spec.link_bps) * (factor or 1.0),
        health=beat.health if beat else 0.0,
        admit=beat.admit if beat else 0.0,
        passed=passed,
        detail=detail,
        holds=record.inventory if same_world else type(record.inventory)(),
        seed=seed_of(spec.id),
    )


class FrozenBoxes:
    """Every site's boxes, and the origin where it may serve."""

    def __init__(
        self, records: Mapping[str, BoxRecord], urls: Mapping[str, str], policy: Policy
    ) -> None:
        """`records` and `urls` (base URL of each) are by appliance."""
        self._records, self._urls, self._policy = records, urls, policy
        self._names: dict[str, list[str]] = {}
        for name, record in records.items():
            if name != ORIGIN_ID:
                self._names.setdefault(record.spec.site, []).append(name)
        self._boxes: dict[str, Box] = {}
        self.sites: dict[str, tuple[Box, ...]] = {}
        self.origin: Box | None = None

    def renew(
        self, names: Iterable[str], epoch: str, now_s: float, silent_max_s: float = math.inf
    ) -> None:
        """Make these boxes anew; `sites` is then another mapping than before."""
        changed: set[str] = set()
        for name in names:
            record = self._records[name]
            box = box_of(record, self._urls[name], self._policy, epoch, now_s, silent_max_s)
            if name == ORIGIN_ID:
                self.origin = box if record.spec.state is Wanted.IN_SERVICE else None
            else:
                self._boxes[name] = box
                changed.add(box.site)
        fresh = {
            site: tuple(self._boxes[name] for name in self._names[site] if name in self._boxes)
            for site in changed
        }
        self.sites = {**self.sites, **fresh}
