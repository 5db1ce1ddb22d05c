"""Replay a trace against policies, whole objects or fixed chunks, and count the misses. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from oca.cache.policy import Policy
from oca.cache.trace import Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy of one size made of a trace; the fields are those of the JSON line."""

    policy: str
    bytes: int
    requests: int
    object_miss_ratio: float
    byte_miss_ratio: float

    def as_dict(self) -> dict[str, str | int | float]:
        """For JSON, in the order of the fields."""
        return asdict(self)


class Replay:
    """One policy that eats a trace batch by batch.

    With `chunk_bytes` an object is asked for as its aligned chunks, the last one shorter: what the
    dynamic region does. Then a request misses if any of its chunks does, and the missed bytes are
    those of the missing chunks.
    """

    def __init__(self, name: str, policy: Policy, chunk_bytes: int = 0) -> None:
        """`name` is what the outcome will be called; `chunk_bytes` 0 means whole objects."""
        self.name = name
        self.policy = policy
        self.requests = 0
        self.missed = 0
        self.requested_bytes = 0
        self.missed_bytes = 0
        self._chunk_bytes = chunk_bytes

    def feed(self, batch: Sequence[Request]) -> None:
        """Replay these requests after those that came before."""
        if self._chunk_bytes:
            self._feed_chunks(batch)
        else:
            self._feed_objects(batch)
        self.requests += len(batch)
        self.policy.victims.clear()

    def _feed_objects(self, batch: Sequence[Request]) -> None:
        request = self.policy.request
        missed = [size_bytes for _, key, size_bytes in batch if not request(key, size_bytes)]
        self.missed += len(missed)
        self.missed_bytes += sum(missed)
        self.requested_bytes += sum(size_bytes for _, _, size_bytes in batch)

    def _feed_chunks(self, batch: Sequence[Request]) -> None:
        request, chunk_bytes = self.policy.request, self._chunk_bytes
        for _, key, size_bytes in batch:
            missed_bytes = 0
            for offset in range(0, size_bytes, chunk_bytes):
                length = min(chunk_bytes, size_bytes - offset)
                if not request((key, offset), length):
                    missed_bytes += length
            self.requested_bytes += size_bytes
            if missed_bytes:
                self.missed += 1
                self.missed_bytes += missed_bytes

    def outcome(self) -> Outcome:
        """The ratios so far; both are 0 as long as nothing was asked for."""
        return Outcome(
            self.name,
            self.policy.capacity_bytes,
            self.requests,
            self.missed / max(1, self.requests),
            self.missed_bytes / max(1, self.requested_bytes),
        )
