"""The boxes as decisions see them: frozen, and only those made anew that changed. Pure.

A decision never sees a change: each site's boxes are a tuple, swapped whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pyroaring import BitMap

from steering.balance import Balance
from steering.choose import Box, Crew, seed_of
from steering.ease import CANARY_BEATS
from steering.policy import Policy
from steering.record import BoxRecord
from wire.fleet import Wanted
from wire.ids import ORIGIN_ID
from wire.steer import Reason

_AWAY = (Reason.HEALTH, Reason.DRAINING)
"""Why a box that is given canary traffic first was away."""
WEIGHTLESS = "weight 0 in the policy"


def box_of(
    record: BoxRecord,
    base_url: str,
    policy: Policy,
    epoch: str,
    now_s: float,
    silent_max_s: float,
    spread: float = 1.0,
) -> Box:
    """One box as its record stands now; an inventory of another catalogue counts for nothing.

    `silent_max_s` is infinite while silence is ignored. `spread` is its share under bounded load.
    """
    beat, spec = record.heartbeat, record.spec
    passed, detail = record.standing(record.silent_s(now_s), silent_max_s)
    same_world = not epoch or record.inventory_epoch == epoch
    factor = policy.weight_of(spec.id, spec.site)
    if factor <= 0 and passed is None:
        passed, detail = Reason.DRAINING, WEIGHTLESS
    admit = record.easing.at(now_s) if beat else 0.0
    recovering = record.easing.growing and admit < record.easing.toward
    if passed is None and recovering:
        detail = f"is back, and given {admit:.0%} of its load for now"
    return Box(
        id=spec.id,
        site=spec.site,
        base_url=base_url,
        weight=((beat and beat.capacity_bps) or spec.link_bps) * (factor or 1.0),
        health=beat.health if beat else 0.0,
        admit=round(admit, 3),
        passed=passed,
        detail=detail,
        holds=record.inventory if same_world else BitMap(),
        seed=seed_of(spec.id),
        spread=spread,
        recovering=recovering,
    )


class FrozenBoxes:
    """Every site's boxes, and the origin where it may serve."""

    def __init__(
        self,
        records: Mapping[str, BoxRecord],
        urls: Mapping[str, str],
        policy: Policy,
        heartbeat_s: float,
    ) -> None:
        """`records` and `urls` (base URL of each) are by appliance."""
        self._records, self._urls, self._policy = records, urls, policy
        self._canary_s = CANARY_BEATS * heartbeat_s
        self.balance = Balance(policy.load_factor)
        self.moving: set[str] = set()
        self._names: dict[str, list[str]] = {}
        for name, record in records.items():
            if name != ORIGIN_ID:
                self._names.setdefault(record.spec.site, []).append(name)
        self._boxes: dict[str, Box] = {}
        self.sites: dict[str, tuple[Box, ...]] = {}
        self.origin: Box | None = None

    def renew(
        self,
        names: Iterable[str],
        epoch: str,
        now_s: float,
        silent_max_s: float = math.inf,
        *,
        gently: bool = False,
    ) -> bool:
        """Make these boxes anew; says whether any is another than before, and `sites` another
        mapping. `gently`: those that come back are given canary traffic first."""
        changed: set[str] = set()
        renewed = False
        for name in names:
            box, held = self._make(name, epoch, now_s, silent_max_s), self._boxes.get(name)
            if gently and held is not None and held.passed in _AWAY and box.passed is None:
                self._recover(name, now_s)
                box = self._make(name, epoch, now_s, silent_max_s)
            self._watch(name, now_s)
            if box == held:
                continue
            renewed = True
            self._boxes[name] = box
            if name == ORIGIN_ID:
                in_service = self._records[name].spec.state is Wanted.IN_SERVICE
                self.origin = box if in_service else None
            else:
                changed.add(box.site)
        fresh = {
            site: Crew(self._boxes[name] for name in self._names[site] if name in self._boxes)
            for site in changed
        }
        if fresh:
            self.sites = {**self.sites, **fresh}
        return renewed

    def has(self, record: BoxRecord) -> bool:
        """Whether a box is among those in service, as its record stood when it was made."""
        box = self._boxes.get(record.spec.id)
        return box is not None and box.passed is None

    def _make(self, name: str, epoch: str, now_s: float, silent_max_s: float) -> Box:
        spread = self.balance.spread.get(name, 1.0)
        record, url = self._records[name], self._urls[name]
        return box_of(record, url, self._policy, epoch, now_s, silent_max_s, spread)

    def _recover(self, name: str, now_s: float) -> None:
        policy = self._policy
        easing = self._records[name].easing
        easing.recover(policy.canary_share, now_s, self._canary_s, policy.ttl_s)

    def _watch(self, name: str, now_s: float) -> None:
        """Boxes whose share is on its way are made anew every second."""
        if self._records[name].easing.is_settled(now_s):
            self.moving.discard(name)
        else:
            self.moving.add(name)
