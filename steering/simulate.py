"""`steering simulate`: the engine of production before a crowd that does as it is told. Pure.

Every second: who is due asks one of the replicas (`View.snapshot`, `decide`, bounded load, easing
as in production), loads follow from where everybody is, boxes report to all replicas what their law
makes of it. A decision is not repeated while nothing changed that it looked at: it would be equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from steering.arrays import Array
from steering.choose import Box
from steering.decide import Question, Snapshot, decide
from steering.policy import Policy
from steering.silence import Silence
from steering.simulate_box import Admitting, Switching
from steering.simulate_world import DARK, LOST, World
from steering.view import View
from wire.reports import Heartbeat, Inventory, pack_bitmap

REPLICAS = 3
HEARTBEAT_S = 10
EPOCH = "0" * 16
ASSET = 1
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Times:
    """When what happens, in seconds from the start. The dark sites are away from `dark_s` on."""

    dark_s: int = 40
    event_s: int = 220
    crowd_s: int = 180
    end_s: int = 640


@dataclass(frozen=True, slots=True)
class Mode:
    """How shedding works: our own, or the on/off thresholds of the contrast."""

    name: str
    policy: Policy
    is_smooth: bool


OURS = Mode("ours", Policy(), True)
SWITCHED = Mode("on/off", Policy(ttl_jitter=0.0, canary_share=1.0, load_factor=10.0), False)


class Replica:
    """One steering replica, and what it answered before."""

    def __init__(self, world: World, mode: Mode) -> None:
        """Knows the routes; the boxes have yet to report."""
        self.view = View(world.fleet, Silence(HEARTBEAT_S, 3), mode.policy)
        self.view.set_epoch(EPOCH)
        self.view.set_table(world.table)
        self._crowd, self._want = world.crowd, mode.policy.pathways
        boxes = world.fleet.appliances
        self._number = {box.id: n for n, box in enumerate(boxes)}
        self._known: list[tuple[list[tuple[str, Sequence[Box]]], list[int]] | None]
        self._known = [None] * len(world.crowd.titles)

    def answer(self, group: int, now_s: float) -> list[int]:
        """Where a group should go: numbers of boxes, best first."""
        snapshot = self.view.snapshot(now_s)
        known = self._known[group]
        if known is None or any(snapshot.boxes[site] is not boxes for site, boxes in known[0]):
            known = self._decide(group, snapshot)
            self._known[group] = known
        if known[1]:
            self.view.note(self.name_of(known[1][0]))
        return known[1]

    def _decide(
        self, group: int, snapshot: Snapshot
    ) -> tuple[list[tuple[str, Sequence[Box]]], list[int]]:
        crowd = self._crowd
        question = Question(crowd.clients[group], crowd.titles[group], (ASSET,), self._want)
        found = decide(question, snapshot)
        looked: list[tuple[str, Sequence[Box]]] = [(site.site, crew) for site, crew in found.looked]
        return looked, [self._number[box.id] for box in found.chosen]

    def name_of(self, number: int) -> str:
        """The id of a box."""
        return self.view.fleet.appliances[number].id


class Run:
    """A simulation as it goes."""

    def __init__(self, world: World, mode: Mode, times: Times, rng: np.random.Generator) -> None:
        """Everybody asks for the first time within the first second."""
        self._world, self._mode, self._times, self._rng = world, mode, times, rng
        self.replicas = [Replica(world, mode) for _ in range(REPLICAS)]
        count = len(world.link_bps)
        self._laws: list[Admitting | Switching] = [
            Admitting() if mode.is_smooth else Switching() for _ in range(count)
        ]
        self._seq = 0
        self._alive = np.ones(count + 1, bool)  # the last one is the origin
        self._load: Array = np.zeros(count + 1)
        crowd = world.crowd
        self._places = np.full((len(crowd.bps), mode.policy.pathways + 1), NOWHERE, np.int32)
        self._due_s = crowd.begin_s.copy()
        self._phase = rng.integers(HEARTBEAT_S, size=count)
        self._settle_in()

    def loads(self) -> Array:
        """Load of every box (share of its link) in every second: an array (seconds, boxes)."""
        link_bps = self._world.link_bps
        found = np.zeros((self._times.end_s, len(link_bps)), np.float32)
        for now_s in range(self._times.end_s):
            self._strike(now_s)
            self._ask(now_s)
            self._flow(now_s)
            self._report(now_s)
            found[now_s] = self._load[:-1] / link_bps
        return found

    def _settle_in(self) -> None:
        """All boxes report, and those who are there are spread over the first TTL."""
        begin_s = -2.0 * HEARTBEAT_S
        held = pack_bitmap(BitMap([ASSET]))
        for replica in self.replicas:
            for box in self._world.fleet.appliances:
                replica.view.heartbeat(_beat(box.id, 0, 1.0, 0), begin_s)
                replica.view.inventory(
                    Inventory(appliance=box.id, epoch=EPOCH, boot=1, seq=1, added=held)
                )
        ttl_s = self._mode.policy.ttl_s
        for group in np.flatnonzero(self._world.crowd.begin_s <= 0):
            self._told(int(group), begin_s)
            self._due_s[group] = self._rng.uniform(0, ttl_s)

    def _strike(self, now_s: int) -> None:
        """What happens to the struck regions."""
        times, world = self._times, self._world
        for region in range(world.scale.struck):
            if now_s == times.dark_s:
                self._alive[world.boxes_of(region, DARK)] = False
            if now_s == times.event_s:
                self._alive[world.boxes_of(region, DARK)] = True
                self._alive[world.boxes_of(region, LOST)[0]] = False

    def _ask(self, now_s: int) -> None:
        """Those whose TTL is over ask again, each one of the replicas."""
        policy = self._mode.policy
        due = np.flatnonzero(self._due_s <= now_s)
        for group in due.tolist():
            self._told(group, now_s)
        jitter = 1 - policy.ttl_jitter * self._rng.random(len(due))
        self._due_s[due] = now_s + policy.ttl_s * jitter

    def _told(self, group: int, now_s: float) -> None:
        found = self.replicas[int(self._rng.integers(REPLICAS))].answer(group, now_s)
        self._places[group] = found + [NOWHERE] * (self._places.shape[1] - len(found))

    def _flow(self, now_s: int) -> None:
        """Everybody is at the first place on its list that is alive: players fail over alone."""
        places = self._places
        usable = self._alive[places] & (places != NOWHERE)
        at = places[np.arange(len(places)), usable.argmax(axis=1)]
        crowd = self._world.crowd
        there = usable.any(axis=1) & (crowd.begin_s <= now_s)
        self._load = np.bincount(at[there], crowd.bps[there], minlength=len(self._alive))

    def _report(self, now_s: int) -> None:
        """Boxes whose turn it is tell every replica what they admit."""
        self._seq += 1
        boxes, link_bps = self._world.fleet.appliances, self._world.link_bps
        ttl_s = self._mode.policy.ttl_s
        turn = np.flatnonzero((self._phase == now_s % HEARTBEAT_S) & self._alive[:-1])
        for number in turn.tolist():
            load = min(1.0, float(self._load[number] / link_bps[number]))
            admit = self._laws[number].next(load, now_s, ttl_s)
            beat = _beat(boxes[number].id, self._seq, admit, int(self._load[number]))
            for replica in self.replicas:
                replica.view.heartbeat(beat, now_s)
                if not self._mode.is_smooth:
                    replica.view.records[beat.appliance].easing.jump(admit, now_s)


def _beat(name: str, seq: int, admit: float, served_bps: int) -> Heartbeat:
    return Heartbeat(
        appliance=name, epoch=EPOCH, boot=1, seq=seq, health=1.0, admit=admit,
        served_bps=served_bps, inventory_seq=1,
    )  # fmt: skip
