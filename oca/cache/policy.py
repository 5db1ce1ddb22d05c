"""The one interface of eviction policies: decide what is held, and tell the caller what left.

A policy never touches bytes. The caller asks `request(key, size_bytes)` once per request and
then acts: on a hit it serves what is stored; on a miss it fetches, stores if `key in policy`
says so, and deletes whatever `take_victims()` hands out. The same object drives `oca simulate`
and the appliance's dynamic region, whose keys are (object, version, chunk number).

Capacity is in bytes, not in objects. The size of a key is the one it had when it was stored: an
object that changed is a new key. Policies know no clock: their time is the row of requests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import ClassVar

Key = Hashable


class Policy(ABC):
    """What is held in `capacity_bytes`, and the order in which it goes.

    Whatever happens, `held_bytes <= capacity_bytes`. An object larger than the whole capacity is
    never held, and nothing is evicted for its sake.
    """

    __slots__ = ("capacity_bytes", "held_bytes", "victims")
    name: ClassVar[str]

    def __init__(self, capacity_bytes: int) -> None:
        """Raises ValueError when there is no capacity at all."""
        if capacity_bytes < 1:
            raise ValueError(f"a cache of {capacity_bytes} bytes holds nothing")
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self.victims: list[Key] = []

    @abstractmethod
    def request(self, key: Key, size_bytes: int) -> bool:
        """One request: True for a hit. May put keys into `victims`, and may decline to hold."""

    @abstractmethod
    def __contains__(self, key: object) -> bool:
        """Whether the key is held now; asking changes nothing."""

    @abstractmethod
    def __len__(self) -> int:
        """How many keys are held."""

    @abstractmethod
    def forget(self, key: Key) -> None:
        """The caller lost or purged this key: it is held no more, and is no victim."""

    def take_victims(self) -> list[Key]:
        """The keys that left since the last call, oldest first; the caller deletes their bytes.

        A key that came back since is not among them.
        """
        victims, self.victims = self.victims, []
        return [key for key in victims if key not in self]
