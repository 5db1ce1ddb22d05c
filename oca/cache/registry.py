"""Which policies there are, by the names that the command line and the configuration use."""

from __future__ import annotations

from collections.abc import Callable

from oca.cache.adaptive import Adaptive
from oca.cache.admission import SecondRequest
from oca.cache.arc import Arc
from oca.cache.lirs import Lirs
from oca.cache.policy import Policy
from oca.cache.queues import Fifo, Lru
from oca.cache.ranked import Gdsf, LfuDa
from oca.cache.s3fifo import S3Fifo
from oca.cache.sieve import Sieve

POLICIES: dict[str, Callable[[int], Policy]] = {
    Adaptive.name: Adaptive,
    Arc.name: Arc,
    Fifo.name: Fifo,
    Gdsf.name: Gdsf,
    LfuDa.name: LfuDa,
    Lirs.name: Lirs,
    Lru.name: Lru,
    S3Fifo.name: S3Fifo,
    Sieve.name: Sieve,
}
DEFAULT = Adaptive.name
"""Chosen by measurement: `benchmarks/cache.py` says why."""


def make(name: str, capacity_bytes: int, *, second_request: bool = False) -> Policy:
    """A policy by name; raises KeyError for a name that is not in `POLICIES`."""
    policy = POLICIES[name](capacity_bytes)
    return SecondRequest(policy) if second_request else policy
