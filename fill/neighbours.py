"""Copies passed on inside one site, slot by slot: from whoever has the asset whole. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from fill.arrays import Floats, Ints, Longs
from fill.hours import SlotHours
from fill.rows import Rows


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of transfers: bytes of a row from a box in a slot."""

    row: Ints
    source: Ints
    slot: Ints
    bytes: Longs

    @classmethod
    def none(cls) -> Pieces:
        """No piece."""
        empty = np.zeros(0, np.int32)
        return cls(empty, empty, empty, np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sites share: the plan; bytes a slot that each box may pull and push, what of that
    first copies use (box, slot), and when a box may pull."""

    rows: Rows
    take: Floats
    send: Floats
    taken: Floats
    sent: Floats
    hours: SlotHours


@dataclass(frozen=True, slots=True)
class Neighbours:
    """One site: rows that wait for a copy; rows that can give theirs, from slot `ready` on."""

    waiting: Ints
    giving: Longs
    ready: Ints


def pass_on(shared: Shared, site: Neighbours) -> Pieces:
    """Time the copies that a site's boxes get from each other."""
    return _Site(shared, site).run()


class _Room(dict[int, float]):
    """Bytes that each box may still push in one slot."""

    def __init__(self, shared: Shared, slot: int) -> None:
        super().__init__()
        self._shared, self._slot = shared, slot

    def __missing__(self, box: int) -> float:
        shared = self._shared
        lent = shared.sent[box, self._slot] if self._slot < shared.sent.shape[1] else 0.0
        self[box] = float(shared.send[box] - lent)
        return self[box]


class _Site:
    def __init__(self, shared: Shared, site: Neighbours) -> None:
        self._shared, rows = shared, shared.rows
        self._left = dict(
            zip(site.waiting.tolist(), rows.bytes[site.waiting].tolist(), strict=True)
        )
        self._asset = dict(
            zip(site.waiting.tolist(), rows.asset[site.waiting].tolist(), strict=True)
        )
        self._holders: defaultdict[int, list[int]] = defaultdict(list)
        self._waits: defaultdict[int, list[int]] = defaultdict(list)
        self._opens: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._queues: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._pieces: list[tuple[int, int, int, int]] = []
        for row, asset in self._asset.items():
            self._waits[asset].append(row)
        for row, ready in zip(site.giving.tolist(), site.ready.tolist(), strict=True):
            self._opens[ready].append((int(rows.asset[row]), int(rows.box[row])))

    def run(self) -> Pieces:
        """Slot after slot, until nothing can come any more."""
        for slot in range(self._shared.hours.count):
            for asset, box in self._opens.pop(slot, ()):
                self._open(asset, box)
            if not self._opens and not any(self._queues.values()):
                break
            self._slot(slot)
        row, source, slots, size = zip(*self._pieces, strict=True) if self._pieces else ((),) * 4
        return Pieces(
            np.array(row, np.int32),
            np.array(source, np.int32),
            np.array(slots, np.int32),
            np.array(size, np.int64),
        )

    def _open(self, asset: int, box: int) -> None:
        """A box has an asset whole: whoever waits for it may begin."""
        self._holders[asset].append(box)
        rows = self._shared.rows
        for row in self._waits.pop(asset, ()):
            heapq.heappush(self._queues[int(rows.box[row])], (int(rows.rank[row]), row))

    def _slot(self, slot: int) -> None:
        shared = self._shared
        within = slot < shared.taken.shape[1]
        room, may = _Room(shared, slot), shared.hours.at(slot)
        for box, queue in self._queues.items():
            take = shared.take[box] * may[box]
            take -= shared.taken[box, slot] if within else 0.0
            later = []
            while queue and take >= 1.0:
                rank, row = heapq.heappop(queue)
                got = self._pull(row, take, slot, room)
                take -= got
                if self._left[row] > 0:
                    later.append((rank, row))
                else:
                    self._opens[slot + 1].append((self._asset[row], box))
            for item in later:
                heapq.heappush(queue, item)

    def _pull(self, row: int, take: float, slot: int, room: _Room) -> int:
        """Bytes of a row that came in a slot, from the neighbours with the most to spare."""
        got = 0
        for source in sorted(self._holders[self._asset[row]], key=lambda box: (-room[box], box)):
            piece = int(min(self._left[row], take - got, room[source]))
            if piece < 1:
                break
            room[source] -= piece
            self._left[row] -= piece
            got += piece
            self._pieces.append((row, source, slot, piece))
            if self._left[row] <= 0:
                break
        return got
