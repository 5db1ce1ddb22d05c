"""The default: S3-FIFO whose shares follow the workload, by miniature simulations of the others.

No fixed policy is good everywhere: what resists scans and loops (a small queue of a few per cent,
as LIRS and S3-FIFO have it) loses badly to plain recency where every object is wanted a few times
and never again, and the other way round. So this cache runs S3-FIFO, and beside it, for a sample
of the keys only, one miniature of itself per setting in `ARMS`; the bytes that each miniature
misses decide which setting the real cache uses.

Follows Waldspurger, Saemundsson, Ahmad, Park, "Cache modeling and optimization using miniature
simulations" (USENIX ATC 2017) for the miniatures; Waldspurger, Park, Garthwaite, Ahmad, "Efficient
MRC construction with SHARDS" (FAST 2015) for sampling keys by their hash, at a rate that falls as
the cache proves large, so that cost and memory are bounded; and `workfunction` for the choice: a
changed setting throws away what the old one had gathered, so a lead must first pay for that.
Two differences from the paper of S3-FIFO: one further request earns promotion (there: two), and
until the cache is full, main takes what the small queue has no room for (LIRS does likewise).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from oca.cache.policy import Key, Policy
from oca.cache.s3fifo import S3Fifo
from oca.cache.workfunction import WorkFunction


class Arm(NamedTuple):
    """One setting of S3-FIFO; both are shares of the capacity."""

    small_share: float
    ghost_share: float


ARMS = (
    Arm(0.02, 1.0),
    Arm(0.02, 2.5),  # long memory: loops somewhat longer than the cache
    Arm(0.1, 1.0),  # as the paper has it
    Arm(0.3, 1.0),
    Arm(0.75, 1.0),  # nearly plain recency
)
FIRST_ARM = 2
CHANGE_PRICE = 0.5
"""Of the bytes that a change of shares displaces, about half would have been asked for again."""
GHOST_PRICE = 0.05
"""A change of the ghosts alone displaces nothing at once; this keeps it from flapping."""

SAMPLE_FIRST = 16
"""One key in this many is in the sample at first ..."""
MINIATURE_KEYS_MAX = 1024
"""... and half as many as soon as a miniature holds more keys than this."""
STEP_REQUESTS = 64
"""Sampled requests between two decisions; the choice does not depend on it much."""

MIX = 2654435761
PRIME = (1 << 31) - 1


class Adaptive(Policy):
    """S3-FIFO under the setting whose miniature misses the fewest bytes.

    It has a cache rather than being one: then that and the miniatures are of one class, which
    Python's specialising interpreter runs at twice the speed.
    """

    __slots__ = (
        "_cache",
        "_choice",
        "_miniatures",
        "_missed_bytes",
        "_sample_below",
        "_steps_left",
        "arm",
    )
    name: ClassVar[str] = "adaptive"

    def __init__(self, capacity_bytes: int) -> None:
        """Starts with the setting of S3-FIFO's paper."""
        super().__init__(capacity_bytes)
        self.arm = ARMS[FIRST_ARM]
        self._cache = _s3_fifo(capacity_bytes, self.arm)
        self._cache.ghost_keep_bytes = int(capacity_bytes * max(arm.ghost_share for arm in ARMS))
        self.victims = self._cache.victims
        self._sample_below = PRIME // SAMPLE_FIRST
        self._miniatures = [_s3_fifo(max(1, capacity_bytes // SAMPLE_FIRST), arm) for arm in ARMS]
        for mini in self._miniatures:
            mini.oversize_bytes = self._cache.oversize_bytes
        self._missed_bytes = [0] * len(ARMS)
        self._steps_left = STEP_REQUESTS
        self._choice = WorkFunction(_distances(capacity_bytes / SAMPLE_FIRST), FIRST_ARM)

    def __contains__(self, key: object) -> bool:
        return key in self._cache

    def __len__(self) -> int:
        return len(self._cache)

    def request(self, key: Key, size_bytes: int) -> bool:
        """As S3-FIFO; a sampled key is shown to the miniatures as well."""
        if hash(key) * MIX % PRIME < self._sample_below:
            self._observe(key, size_bytes)
        if self._cache.request(key, size_bytes):
            return True
        self.held_bytes = self._cache.held_bytes
        return False

    def forget(self, key: Key) -> None:
        """Passed on; the miniatures need not know, they hold nothing."""
        self._cache.forget(key)
        self.held_bytes = self._cache.held_bytes

    def take_victims(self) -> list[Key]:
        """The keys that left since the last call; see Policy."""
        victims = self._cache.take_victims()
        self.victims = self._cache.victims
        return victims

    def _observe(self, key: Key, size_bytes: int) -> None:
        missed_bytes = self._missed_bytes
        for index, mini in enumerate(self._miniatures):
            if not mini.request(key, size_bytes):
                missed_bytes[index] += size_bytes
        self._steps_left -= 1
        if not self._steps_left:
            self._decide()

    def _decide(self) -> None:
        """Every few sampled requests: count what each setting missed, and take the best."""
        before = self._choice.state
        after = self._choice.step(self._missed_bytes)
        if after != before:
            self.arm = arm = ARMS[after]
            self._cache.small_max_bytes = int(self.capacity_bytes * arm.small_share)
            self._cache.ghost_max_bytes = int(self.capacity_bytes * arm.ghost_share)
        self._missed_bytes = [0] * len(ARMS)
        self._steps_left = STEP_REQUESTS
        for mini in self._miniatures:
            mini.victims.clear()
        if max(map(len, self._miniatures)) > MINIATURE_KEYS_MAX:
            self._sample_fewer()

    def _sample_fewer(self) -> None:
        """Halve the sample, and with it the miniatures and the unit of the work function."""
        self._sample_below = below = self._sample_below // 2
        for mini in self._miniatures:
            held = mini.keys()
            mini.halve([key for key in held if hash(key) * MIX % PRIME >= below])
        self._choice.scale(0.5)


def _s3_fifo(capacity_bytes: int, arm: Arm) -> S3Fifo:
    return S3Fifo(
        capacity_bytes,
        small_share=arm.small_share,
        ghost_share=arm.ghost_share,
        promote_at=1,
        fill_main=True,
    )


def _distances(capacity_bytes: float) -> list[list[float]]:
    """The price of changing from one arm to another, in missed bytes."""
    return [
        [
            capacity_bytes
            * CHANGE_PRICE
            * (abs(a.small_share - b.small_share) + GHOST_PRICE * (a.ghost_share != b.ghost_share))
            for b in ARMS
        ]
        for a in ARMS
    ]
