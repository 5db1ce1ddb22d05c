"""Which disk an asset belongs on, and where to look for it: weighted rendezvous hashing. Pure.

A box has *seats*, one for each path in its configuration, and a disk in each. Assets are hashed
with the seat's key, not with the disk's identity: a replaced disk takes over the share of the one
before it, and nothing else moves (Thaler & Ravishankar 1998; weights as in Resch 2015). Whoever
looks for an asset tries the disks in its order: what was stored when there were fewer is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wire.seats import DISKS_MAX, score

__all__ = ["BY_HAND", "DISKS_MAX", "TABLE_FILE", "Disks", "Seat", "Table", "order"]

TABLE_FILE = "disks.json"
"""In the run folder: what the agent tells the workers of the disks, whole, by rename."""

BY_HAND = "switched off by the operator"


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """One place for a disk: `key` is what assets are hashed with, `uuid` names the disk in it now.

    `weight_bytes` is the disk's size; `mount` the mount point that `path` lies in; `why` says why
    it is switched off, "" when it is in use; `by_hand`: the operator wants it off.
    """

    key: str
    path: str
    uuid: str = ""
    weight_bytes: Annotated[int, Meta(ge=1)] = 1
    mount: str = ""
    why: str = ""
    by_hand: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it is in use."""
        return not self.why


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """All seats, in the order of the configuration."""

    version: Literal[1] = 1
    seats: tuple[Seat, ...] = ()


def order(asset: int, seats: Iterable[Seat]) -> list[Seat]:
    """The seats in the order in which an asset prefers them, the same in every process."""
    return sorted(seats, key=lambda seat: _score(asset, seat), reverse=True)


def _score(asset: int, seat: Seat) -> float:
    return score(asset, seat.key, seat.weight_bytes)


class Disks:
    """The seats as they are now. `replace` swaps them whole, so any thread may ask meanwhile."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        """`seats` in the order of the configuration."""
        self._seats = tuple(seats)

    @classmethod
    def single(cls, root: PurePath) -> Disks:
        """One folder that needs no identity: the origin's tree."""
        return cls((Seat(key="", path=str(root)),))

    @property
    def seats(self) -> tuple[Seat, ...]:
        """All of them, in the order of the configuration."""
        return self._seats

    @property
    def live(self) -> tuple[Seat, ...]:
        """Those in use."""
        return tuple(seat for seat in self._seats if seat.is_live)

    def refresh(self) -> None:
        """Ask again whoever told them; here nobody did."""

    def replace(self, seats: Sequence[Seat]) -> None:
        """From now on these hold."""
        self._seats = tuple(seats)

    def switch_off(self, seat: Seat, why: str) -> None:
        """A seat is not to be used from now on."""
        off = msgspec.structs.replace(seat, why=why)
        self.replace([off if other.path == seat.path else other for other in self._seats])

    def home(self, asset: int) -> Seat:
        """The seat that an asset is to be written to, in use or not: while it is off, its share is
        missing and goes nowhere else, so that nothing has to come back."""
        seats = self._seats
        return seats[0] if len(seats) == 1 else max(seats, key=lambda seat: _score(asset, seat))

    def where(self, asset: int) -> list[Seat]:
        """The live seats in the order in which an asset is to be looked for."""
        live = self.live
        return list(live) if len(live) < 2 else order(asset, live)

    def share_live(self) -> float:
        """The part of all the space, by weight, that is in use: 0 to 1."""
        whole = sum(seat.weight_bytes for seat in self._seats)
        return sum(seat.weight_bytes for seat in self.live) / whole if whole else 0.0
