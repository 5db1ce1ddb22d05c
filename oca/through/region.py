"""The bounded room for chunks: which are held is the policy's decision. Pure.

A chunk's room is reserved when it is first wanted, before its bytes come, so that what is being
fetched is inside the bound as well; one that the policy turns away is served and not stored.
"""

from __future__ import annotations

from collections.abc import Iterable

from oca.cache.policy import Policy
from oca.through.chunks import cost_of

ChunkKey = tuple[str, int]
"""(version, number)."""


class Region:
    """A policy over chunks, and the sums that show it."""

    def __init__(self, policy: Policy) -> None:
        """`policy` is empty, and its capacity is the region's."""
        self.policy = policy

    def want(self, key: ChunkKey, length: int) -> list[ChunkKey]:
        """A chunk is asked for that is not stored; returns the chunks that leave for it.

        Whether it was admitted says `admits`.
        """
        self.policy.request(key, cost_of(length))
        return self._victims()

    def hit(self, key: ChunkKey, length: int) -> list[ChunkKey]:
        """A stored chunk was served; one that has left meanwhile is not brought back by this."""
        if key in self.policy:
            self.policy.request(key, cost_of(length))
        return self._victims()

    def admits(self, key: ChunkKey) -> bool:
        """Whether its bytes are to be kept."""
        return key in self.policy

    def forget(self, keys: Iterable[ChunkKey]) -> None:
        """Their bytes did not come, or were lost or purged."""
        for key in keys:
            if key in self.policy:
                self.policy.forget(key)

    def _victims(self) -> list[ChunkKey]:
        return [key for key in self.policy.take_victims() if isinstance(key, tuple)]
