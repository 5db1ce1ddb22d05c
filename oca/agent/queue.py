"""What is to be fetched, in order of value, and when each asset's turn comes (again). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wire.plan import Desired

QUIET_FIRST_S, QUIET_MAX_S = 0.25, 2.0
"""Asked again after this when the site's first copy is not there yet: a 404 costs little."""
QUIET_RATE = 50.0
"""Such questions a second in all: ten thousand assets on their way are not asked for twice a second
each."""
FAILED_FIRST_S, FAILED_MAX_S = 0.5, 30.0
DOUBLINGS_MAX = 8


@dataclass(slots=True)
class Item:
    """One asset to fetch. `begun`: some of it is on the disk, its place is reserved; `have_bytes`
    of it are there."""

    wanted: Desired
    ready_s: float = 0.0
    first_try_s: float | None = None
    tries: int = 0
    failures: int = 0
    """In a row: waiting for a peer is none."""
    begun: bool = False
    have_bytes: int = 0
    hope_s: float = 0.0
    """When a peer last said that it is fetching it (monotonic)."""
    why: str = ""

    def put_off(
        self, now_s: float, quiet: bool, why: str, draw: float = 0.0, waiting: int = 0
    ) -> None:
        """It did not work out: try again after a pause that grows with each time.

        `draw` (0–1, chance) shortens it by up to half, so that boxes do not try in step; `waiting`
        is how many assets wait for others' copies.
        """
        first, most = (QUIET_FIRST_S, QUIET_MAX_S) if quiet else (FAILED_FIRST_S, FAILED_MAX_S)
        row = self.tries if quiet else self.failures
        pause_s = min(first * 2 ** min(row, DOUBLINGS_MAX), most) * (1 - draw / 2)
        self.ready_s = now_s + (max(pause_s, waiting / QUIET_RATE) if quiet else pause_s)
        self.tries += 1
        self.failures = 0 if quiet else self.failures + 1
        self.why = why

    @property
    def missing_bytes(self) -> int:
        """What is still to come."""
        return max(0, self.wanted.bytes - self.have_bytes)


class Queue:
    """The items of the present plan, best first."""

    def __init__(self) -> None:
        """Empty."""
        self._items: dict[int, Item] = {}
        self.left_bytes = 0
        """Of all that is still to be fetched."""
        self.begun_bytes = 0
        """Of those that were begun, whole: their place is reserved."""

    def __iter__(self) -> Iterator[Item]:
        """Best first."""
        return iter(self._items.values())

    def __contains__(self, asset: object) -> bool:
        """Whether an asset is still to be fetched."""
        return asset in self._items

    def __len__(self) -> int:
        """How many assets are still to be fetched."""
        return len(self._items)

    @property
    def begun_missing_bytes(self) -> int:
        """Of those that were begun, what is still to come."""
        return sum(item.missing_bytes for item in self._items.values() if item.begun)

    @property
    def waiting(self) -> int:
        """How many were tried in vain."""
        return sum(item.tries > 0 for item in self._items.values())

    def replace(self, wanted: Sequence[Desired], begun: Mapping[int, int]) -> list[int]:
        """A new work list; returns the assets that nobody wants any more. History is kept.

        `begun`: what is on the disk of assets that an earlier life began, asset → bytes.
        """
        old = self._items
        self._items = {}
        for desired in wanted:
            item = old.get(desired.asset)
            if item is None or item.wanted.digest != desired.digest:
                have_bytes = begun.get(desired.asset, 0)
                item = Item(desired, begun=desired.asset in begun, have_bytes=have_bytes)
            item.wanted = desired
            self._items[desired.asset] = item
        self.left_bytes = sum(item.wanted.bytes for item in self)
        self.begun_bytes = sum(item.wanted.bytes for item in self if item.begun)
        return [asset for asset in old if asset not in self._items]

    def begin(self, item: Item) -> None:
        """From now on an item's place is reserved."""
        if not item.begun:
            item.begun = True
            self.begun_bytes += item.wanted.bytes

    def remove(self, asset: int) -> None:
        """An asset is done."""
        item = self._items.pop(asset, None)
        if item is not None:
            self.left_bytes -= item.wanted.bytes
            self.begun_bytes -= item.wanted.bytes if item.begun else 0

    def choose(
        self, running: Collection[int], room_bytes: int, now_s: float
    ) -> tuple[Item | None, float]:
        """The next item to start, or None and the seconds until one may be ready.

        `room_bytes` is what is free, and may be spent, beside all that is held, running or begun.
        An item that does not fit waits for room, and nothing of less value takes its place.
        """
        wait_s = QUIET_MAX_S
        for item in self._items.values():
            if item.wanted.asset in running:
                continue
            if not item.begun and item.wanted.bytes > room_bytes:
                return None, wait_s
            if item.ready_s <= now_s:
                return item, 0.0
            wait_s = min(wait_s, item.ready_s - now_s)
        return None, wait_s
