"""Which boxes fell silent, known without asking each of them. Pure: clocks are arguments.

Boxes are kept in the order in which they were last heard, so whoever fell silent is in front: with
10,000 boxes that report every 10 s a question costs what changed since the last one, not 10,000.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Silence:
    """When silence counts: the heartbeats' interval, and how many may be missing."""

    heartbeat_s: float = 10.0
    missed_max: int = 3

    @property
    def max_s(self) -> float:
        """Silence longer than this is not offered."""
        return self.heartbeat_s * self.missed_max


class SilenceWatch:
    """When each box was last heard; times never go back."""

    def __init__(self, max_s: float, counted: Iterable[str]) -> None:
        """Silent after `max_s`; only `counted` boxes have a voice in whether most are silent."""
        self._max_s, self._counted = max_s, frozenset(counted)
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._silent: set[str] = set()
        self._counted_heard = self._counted_silent = 0

    def heard(self, name: str, now_s: float) -> None:
        """A box gave a sign of life."""
        if name in self._silent:
            self._silent.discard(name)
            self._counted_silent -= name in self._counted
        elif name not in self._heard:
            self._counted_heard += name in self._counted
        self._heard[name] = now_s
        self._heard.move_to_end(name)

    def restore(self, heard: Mapping[str, float]) -> None:
        """Begin anew with what a snapshot says of each box ever heard."""
        self._heard.clear()
        self._silent.clear()
        self._counted_heard = self._counted_silent = 0
        for name, heard_s in sorted(heard.items(), key=lambda item: item[1]):
            self.heard(name, heard_s)

    def fallen(self, now_s: float) -> list[str]:
        """The boxes that fell silent since this was last asked."""
        found: list[str] = []
        while self._heard:
            name, heard_s = next(iter(self._heard.items()))
            if now_s - heard_s <= self._max_s:
                break
            del self._heard[name]
            self._silent.add(name)
            self._counted_silent += name in self._counted
            found.append(name)
        return found

    @property
    def most_silent(self) -> bool:
        """Whether more than half of those ever heard are silent: then the fault is ours."""
        return self._counted_silent * 2 > self._counted_heard
