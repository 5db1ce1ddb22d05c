"""The routes of every neighbour and the best of each prefix: sessions, holds, bounds. Pure.

`now_s` is a monotonic clock. A session that is lost without a word keeps its routes, stale, for as
long as the neighbour asked for (graceful restart, RFC 4724 §4.2), bounded by our own limit; they go
when it comes back and its End-of-RIB did not confirm them, when the time is over, or at once when
it said farewell. That its forwarding state was lost (the F bit) is nothing to us: we send it no
packets, we only want to know who is behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from oca.bgp.stream import (
    FAMILIES,
    WHAT,
    Attributes,
    Down,
    EndOfRib,
    Event,
    Farewell,
    Opened,
    Up,
    Update,
)
from wire.errors import WireError

NEIGHBORS_MAX = 256  # route servers, a few routers and their v6 sessions are a dozen
_ORIGIN_ORDER = {"igp": 0, "egp": 1, "incomplete": 2}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a lost session's routes are held at most (s), and prefixes of one neighbour."""

    hold_s: float = 120.0
    prefixes: int = 750_000


@dataclass(slots=True)
class Neighbor:
    """One session and what it told: family → key → attributes; `stale` are keys to be confirmed
    before `until_s`; `patient`: it was us who went away, so its own restarts do not matter."""

    name: str
    up: bool = False
    restart_s: float = 0.0
    restarts: frozenset[str] = frozenset()
    paths: dict[str, dict[str, Attributes]] = field(
        default_factory=lambda: {family: {} for family in FAMILIES}
    )
    stale: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in FAMILIES})
    until_s: float = math.inf
    patient: bool = False
    refused: str = ""

    def __len__(self) -> int:
        """Its paths of both families."""
        return sum(map(len, self.paths.values()))

    @property
    def held(self) -> int:
        """How many of them are stale."""
        return sum(map(len, self.stale.values()))

    def forget(self, family: str) -> None:
        """Drop all of a family."""
        self.paths[family].clear()
        self.stale[family].clear()

    def drop_stale(self, family: str) -> bool:
        """Drop what was not told again; whether there was any."""
        gone = self.stale[family]
        for key in gone:
            self.paths[family].pop(key, None)
        self.stale[family] = set()
        return bool(gone)


class Rib:
    """What all neighbours say now. `changed` is raised when routes or sessions may have changed."""

    def __init__(self, limits: Limits) -> None:
        """Empty: nobody has said anything."""
        self._limits = limits
        self.neighbors: dict[str, Neighbor] = {}
        self.changed = False
        self.notes: list[str] = []
        """What an operator should read, since it was last emptied."""

    def restore(self, kept: Iterable[tuple[str, str, Attributes]], now_s: float) -> None:
        """Go on from what `best` gave in an earlier life, all of it stale.

        Raises WireError, as `take` does.
        """
        for prefix, name, attributes in kept:
            neighbor = self._neighbor(name)
            family = FAMILIES[":" in prefix]
            neighbor.paths[family][prefix] = attributes
            neighbor.stale[family].add(prefix)
            neighbor.until_s, neighbor.patient = now_s + self._limits.hold_s, True

    def take(self, event: Event, now_s: float) -> None:
        """What one line of the stream changes; raises WireError for one neighbour too many."""
        neighbor = self._neighbor(event.neighbor)
        match event:
            case Update():
                neighbor.up = True  # also when its session is older than we are
                self._update(neighbor, event)
            case EndOfRib():
                neighbor.up = True
                if event.family in FAMILIES and neighbor.drop_stale(event.family):
                    self.changed = True
            case Opened():
                self._opened(neighbor, event)
            case Up():
                self._up(neighbor, now_s)
            case Farewell():
                self._forget(neighbor, f"farewell ({event.code},{event.subcode})")
            case Down():
                self._down(neighbor, event, now_s)

    def expire(self, now_s: float) -> None:
        """Drop what was held long enough."""
        for neighbor in self.neighbors.values():
            if now_s < neighbor.until_s:
                continue
            held = neighbor.held
            for family in FAMILIES:
                neighbor.drop_stale(family)
            neighbor.until_s, neighbor.patient = math.inf, False
            if held:
                self.changed = True
                self.notes.append(f"{neighbor.name}: {held} held routes dropped: time is over")

    @property
    def due_s(self) -> float:
        """When `expire` has something to do."""
        return min((one.until_s for one in self.neighbors.values()), default=math.inf)

    def best(self) -> Iterator[tuple[str, str, Attributes]]:
        """(prefix, neighbour, attributes) of the best path of each prefix, in no order."""
        for family in FAMILIES:
            chosen: dict[str, tuple[tuple[object, ...], str, Attributes]] = {}
            for neighbor in self.neighbors.values():
                stale = neighbor.stale[family]
                for key, attributes in neighbor.paths[family].items():
                    prefix, _, path = key.partition(" ")
                    grade = (*grade_of(attributes, key in stale), neighbor.name, path)
                    held = chosen.get(prefix)
                    if held is None or grade < held[0]:
                        chosen[prefix] = (grade, neighbor.name, attributes)
            for prefix, (_, name, attributes) in chosen.items():
                yield prefix, name, attributes

    def _neighbor(self, name: str) -> Neighbor:
        neighbor = self.neighbors.get(name)
        if neighbor is None:
            if len(self.neighbors) >= NEIGHBORS_MAX:
                raise WireError(WHAT, "neighbor", f"there are more than {NEIGHBORS_MAX}")
            neighbor = self.neighbors[name] = Neighbor(name)
        return neighbor

    def _update(self, neighbor: Neighbor, event: Update) -> None:
        if neighbor.refused:
            return
        for family, key in event.withdrawn:
            neighbor.stale[family].discard(key)
            if neighbor.paths[family].pop(key, None) is not None:
                self.changed = True
        for family, key in event.announced:
            neighbor.stale[family].discard(key)
            if neighbor.paths[family].get(key) != event.attributes:
                neighbor.paths[family][key] = event.attributes
                self.changed = True
        if len(neighbor) > self._limits.prefixes:
            # As a router does at its maximum-prefix limit: a part of a table would be chance.
            why = f"more than {self._limits.prefixes:,} prefixes: is this a full table by mistake?"
            self._forget(neighbor, why)
            neighbor.refused = why

    def _opened(self, neighbor: Neighbor, event: Opened) -> None:
        neighbor.restart_s, neighbor.restarts = event.restart_s, event.families
        for family in FAMILIES:
            # It does not speak of a restart any more: these are not kept (RFC 4724 §4.2).
            if neighbor.patient or family in event.families:
                continue
            if neighbor.drop_stale(family):
                self.changed = True

    def _up(self, neighbor: Neighbor, now_s: float) -> None:
        if neighbor.refused:
            self.notes.append(f"{neighbor.name}: a new session, no longer refused")
        neighbor.up, neighbor.refused, self.changed = True, "", True
        self._all_stale(neighbor)
        neighbor.until_s = now_s + self._limits.hold_s if neighbor.held else math.inf

    def _down(self, neighbor: Neighbor, event: Down, now_s: float) -> None:
        if not neighbor.up:
            return  # a connection that did not become a session changes nothing
        neighbor.up, neighbor.patient, self.changed = False, event.ours, True
        hold_s = self._limits.hold_s
        if not event.ours:  # else we are being restarted, and the neighbour's routes are well
            hold_s = min(neighbor.restart_s, hold_s)
            for family in FAMILIES:
                if family not in neighbor.restarts:
                    neighbor.forget(family)
        self._all_stale(neighbor)
        neighbor.until_s = now_s + hold_s if neighbor.held else math.inf
        kept = f"; {neighbor.held} routes held for {hold_s:g} s" if neighbor.held else ""
        self.notes.append(f"{neighbor.name}: session lost ({event.reason}){kept}")

    def _forget(self, neighbor: Neighbor, why: str) -> None:
        self.notes.append(f"{neighbor.name}: {len(neighbor)} routes dropped: {why}")
        self.changed = True
        for family in FAMILIES:
            neighbor.forget(family)
        neighbor.until_s = math.inf

    @staticmethod
    def _all_stale(neighbor: Neighbor) -> None:
        for family in FAMILIES:
            neighbor.stale[family] = set(neighbor.paths[family])


def grade_of(said: Attributes, stale: bool) -> tuple[int, int, int, int, int]:
    """Smaller is better: BGP's own order (RFC 4271 §9.1.2.2) behind what is known to be current."""
    origin = _ORIGIN_ORDER[said.origin_code]
    return (int(stale), -said.local_pref, len(said.as_path), origin, said.med)
