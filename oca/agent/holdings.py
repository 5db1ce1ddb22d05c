"""What the box holds, what of it is leaving, and the plan it follows: one picture for all loops.

Pure: whoever changes it calls `on_change`, which wakes those who wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyroaring import BitMap

from oca.held import Held
from wire.plan import Plan, PurgeList


class Holdings:
    """`held` is stored whole; of it, `leaving` is not offered any more; `banned` was purged."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """Nothing held, no plan."""
        self.held: dict[int, Held] = {}
        self.leaving: set[int] = set()
        self.banned: frozenset[int] = frozenset()
        self.dark: set[str] = set()
        """Disks (uuid) that are switched off: what is on them is not held."""
        self.busy: set[int] = set()
        """Not held any more, and on their way back to `incoming/`: nobody else touches them."""
        self.plan: Plan | None = None
        self.epoch = ""
        self.removed = 0
        """How many assets have gone: one that a new plan wants again meanwhile must be fetched."""
        self._bytes = 0
        self._on_change = on_change

    @property
    def generation(self) -> int:
        """The generation followed; 0 before the first plan."""
        return self.plan.generation if self.plan else 0

    def offered(self) -> dict[int, Held]:
        """What players may be sent here for."""
        return {asset: entry for asset, entry in self.held.items() if asset not in self.leaving}

    def bitmap(self) -> BitMap:
        """The assets offered, as the inventory carries them."""
        return BitMap(self.held.keys()) - BitMap(self.leaving)

    def held_bytes(self) -> int:
        """Bytes of all that is stored, leaving or not."""
        return self._bytes

    def reset(self, held: Mapping[int, Held]) -> None:
        """The store was listed (again)."""
        if held != self.held:
            self.held = dict(held)
            self._bytes = sum(entry.bytes for entry in held.values())
            self.leaving &= self.held.keys()
            self._on_change()

    def add(self, asset: int, entry: Held) -> None:
        """An asset became visible; on a disk that went off meanwhile it is not held."""
        if entry.disk in self.dark:
            self.removed += 1
            self._on_change()
            return
        self._bytes += entry.bytes - (self.held[asset].bytes if asset in self.held else 0)
        self.held[asset] = entry
        self._on_change()

    def remove(self, asset: int) -> None:
        """An asset is gone."""
        self.leaving.discard(asset)
        entry = self.held.pop(asset, None)
        if entry is not None:
            self._bytes -= entry.bytes
            self.removed += 1
            self._on_change()

    def darken(self, disk: str) -> int:
        """A disk was switched off: nothing on it is held any more; returns how many assets."""
        self.dark.add(disk)
        lost = [asset for asset, entry in self.held.items() if entry.disk == disk]
        for asset in lost:
            self._bytes -= self.held.pop(asset).bytes
            self.leaving.discard(asset)
        self.removed += len(lost) + 1  # the plan is to be compared anew
        self._on_change()
        return len(lost)

    def settled(self, asset: int) -> None:
        """An asset that was busy may be fetched."""
        self.busy.discard(asset)
        self.removed += 1
        self._on_change()

    def gain(self, found: Mapping[int, Held]) -> None:
        """These turned out to be held all the while."""
        for asset, entry in found.items():
            if asset not in self.held and entry.disk not in self.dark:
                self.held[asset] = entry
                self._bytes += entry.bytes
        self._on_change()

    def lighten(self, disk: str, found: Mapping[int, Held]) -> None:
        """A disk is in use (again), and holds these."""
        self.dark.discard(disk)
        self.removed += 1  # the plan is to be compared anew
        self.gain(found)

    def leave(self, assets: Iterable[int]) -> None:
        """Exactly these are to leave; who was leaving and is not among them stays."""
        leaving = {asset for asset in assets if asset in self.held}
        if leaving != self.leaving:
            self.leaving = leaving
            self._on_change()

    def follow(self, plan: Plan) -> None:
        """From now on this plan holds."""
        self.plan, self.epoch = plan, plan.epoch
        self._on_change()

    def ban(self, purge: PurgeList) -> None:
        """These are purged, for ever."""
        self.banned = frozenset(purge.assets)
        self._on_change()
