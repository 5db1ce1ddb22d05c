"""Second-request admission: what is asked for once is served, but not stored.

The second-hit rule of Maggs, Sitaraman, "Algorithmic nuggets in content delivery" (SIGCOMM CCR
2015): three quarters of the objects that a CDN's server sees are wanted once, and not writing them
halves what its disks must write. It saves writes more than misses: a policy with a ghost queue
already turns such objects out soon.
"""

from __future__ import annotations

from collections import OrderedDict

from oca.cache.policy import Key, Policy


class SecondRequest(Policy):
    """Any policy behind the rule; names are remembered for one capacity of bytes."""

    __slots__ = ("_seen", "_seen_bytes", "inner")

    def __init__(self, inner: Policy) -> None:
        """Takes over a policy; the caller talks to this one only."""
        super().__init__(inner.capacity_bytes)
        self.inner = inner
        self.held_bytes = inner.held_bytes
        self._seen: OrderedDict[Key, int] = OrderedDict()
        self._seen_bytes = 0

    def __contains__(self, key: object) -> bool:
        return key in self.inner

    def __len__(self) -> int:
        return len(self.inner)

    def request(self, key: Key, size_bytes: int) -> bool:
        """A hit if held; admitted if seen lately; else only remembered."""
        if key not in self.inner:
            seen_bytes = self._seen.pop(key, None)
            if seen_bytes is None:
                self._remember(key, size_bytes)
                return False
            self._seen_bytes -= seen_bytes
        hit = self.inner.request(key, size_bytes)
        if not hit:
            self.held_bytes = self.inner.held_bytes
            self.victims.extend(self.inner.victims)
            self.inner.victims.clear()
        return hit

    def _remember(self, key: Key, size_bytes: int) -> None:
        self._seen[key] = size_bytes
        self._seen_bytes += size_bytes
        while self._seen_bytes > self.capacity_bytes:
            self._seen_bytes -= self._seen.popitem(last=False)[1]

    def forget(self, key: Key) -> None:
        """Passed on; that it was asked for is not forgotten."""
        self.inner.forget(key)
        self.held_bytes = self.inner.held_bytes
