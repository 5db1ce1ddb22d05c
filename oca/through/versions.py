"""What the fetcher knows: versions of objects, short answers, and keys not worth collapsing. Pure.

One key has at most one version that is served; an older one lives on only for those who are reading
it, from the chunks that are there. Everything is bounded; what was not asked for lately leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol

import msgspec

from oca.through.chunks import CHUNK_BYTES, count_of, length_of
from oca.through.demand import Demand
from oca.through.freshness import Freshness
from oca.through.messages import View
from oca.through.validators import Validators

KNOWN_MAX = 200_000
"""Keys remembered; ~1 kB each. Those with stored chunks are not forgotten before others."""

SHORT_BYTES_MAX = 32 * 1024 * 1024
"""Bodies of errors and redirects, in memory."""

PASS_S = 30.0
"""How long a key whose answers cannot be shared is not collapsed (Varnish's hit-for-miss)."""

HUGE = 2**40  # chunks of an object whose size is not known


class Filling(Protocol):
    """A chunk on its way in."""

    fd: int
    bytes: int


class Flying(Protocol):
    """A fetch under way: it is at chunk `at`, and goes to `end` at most."""

    at: int
    end: int
    dense: bool

    def wake(self) -> None:
        """The demand has changed."""


class Version:
    """One version of an object; `size` None until it ends, `alone` when it is for one client.

    `ranges`: the upstream gives parts of it. `whole_only`: what is missing of it cannot be asked
    for, as nobody says its length; while it is `alone` it is on its way to be kept. `persisted`:
    its meta file is written. `fate`: why no more of it can be had ("" as long as it can).
    """

    __slots__ = (
        "alone",
        "date",
        "demand",
        "fate",
        "filling",
        "flights",
        "freshness",
        "held",
        "key",
        "lines",
        "media_type",
        "name",
        "persisted",
        "ranges",
        "status",
        "validators",
        "watchers",
        "whole_only",
    )

    def __init__(
        self,
        name: str,
        key: str,
        validators: Validators,
        freshness: Freshness,
        *,
        media_type: str = "application/octet-stream",
        lines: bytes = b"",
        date: str = "",
        ranges: bool = True,
        alone: bool = False,
        status: int = 200,
    ) -> None:
        """Nothing of it is held yet. A negative size in `validators` means: not known."""
        self.name, self.key, self.validators, self.freshness = name, key, validators, freshness
        self.media_type, self.lines, self.date = media_type, lines, date
        self.ranges, self.alone, self.status = ranges, alone, status
        self.demand = Demand()
        self.held: set[int] = set()
        self.filling: dict[int, Filling] = {}
        self.watchers: dict[int, set[Hashable]] = {}
        self.flights: list[Flying] = []
        self.persisted = False
        self.whole_only = False
        self.fate = ""

    @property
    def size(self) -> int | None:
        """In bytes; None when it is not known."""
        return self.validators.size if self.validators.size >= 0 else None

    def ended_at(self, size: int) -> None:
        """Its size has become known."""
        self.validators = msgspec.structs.replace(self.validators, size=size)

    @property
    def chunks(self) -> int:
        """How many it has, at most."""
        return HUGE if self.size is None else count_of(self.size)

    def has(self, number: int) -> bool:
        """Whether a chunk is held or being written."""
        return number in self.held or number in self.filling

    def length_of(self, number: int) -> int:
        """Bytes of a chunk."""
        return CHUNK_BYTES if self.size is None else length_of(number, self.size)

    @property
    def is_joinable(self) -> bool:
        """Whether parts of later answers may be joined to what is there."""
        return self.validators.is_strong and not self.whole_only

    def is_lame(self) -> bool:
        """Whether some of it is missing and could never be joined to what is there."""
        joinable = self.alone or self.is_joinable
        return not (joinable or self.fate) and len(self.held) < self.chunks

    def is_idle(self) -> bool:
        """Whether nothing is held of it, nor on its way, nor wanted."""
        return not (self.held or self.filling or self.flights or self.demand.windows)

    def view(self, now_s: float) -> View:
        """As workers need it at Unix time `now_s`."""
        return View(
            version=self.name,
            status=self.status,
            size=self.size,
            etag=self.validators.etag,
            modified=self.validators.modified,
            dated=self.validators.dated,
            media_type=self.media_type,
            lines=self.lines,
            date=self.date,
            age_s=self.freshness.age_at(now_s),
            fresh_for_s=0.0 if self.alone else max(0.0, self.freshness.fresh_for_s(now_s)),
            alone=self.alone,
            whole=len(self.held) == self.chunks,
        )


class Short:
    """A remembered answer that is no object, from `at_s` until `until_s` (Unix time)."""

    __slots__ = ("_at_s", "_view", "until_s")

    def __init__(self, view: View, at_s: float, until_s: float) -> None:
        """`view` is as it came, with the whole body."""
        self._view, self._at_s, self.until_s = view, at_s, until_s

    def view(self, now_s: float) -> View:
        """As workers need it at Unix time `now_s`."""
        age_s = self._view.age_s + max(0.0, now_s - self._at_s)
        return msgspec.structs.replace(
            self._view, age_s=age_s, fresh_for_s=max(0.0, self.until_s - now_s)
        )

    @property
    def bytes(self) -> int:
        """What it takes in memory, about."""
        return len(self._view.body or b"") + len(self._view.lines)


class Known:
    """What is known of one key."""

    __slots__ = ("busy", "key", "pass_until_s", "short", "version")

    def __init__(self, key: str) -> None:
        """Nothing yet."""
        self.key = key
        self.version: Version | None = None
        self.short: Short | None = None
        self.pass_until_s = 0.0
        self.busy = False
        """A question to the upstream is under way."""


class Book:
    """Everything known, by key; and every version that anybody may ask chunks of, by name."""

    def __init__(self, known_max: int = KNOWN_MAX) -> None:
        """Empty."""
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._max = known_max
        self._shorts: OrderedDict[str, Known] = OrderedDict()
        self._short_bytes = 0
        self.versions: dict[str, Version] = {}

    def know(self, key: str) -> Known:
        """What is known of `key`, now the last to be forgotten."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(key)
        else:
            self._known.move_to_end(key)
        return known

    def matching(self, keys: Sequence[str], *, below: bool) -> list[Known]:
        """Those of these keys, or of all that begin so."""
        if not below:
            return [self._known[key] for key in keys if key in self._known]
        starts = tuple(keys)
        return [known for key, known in self._known.items() if key.startswith(starts)]

    def forgettable(self) -> Iterator[Known]:
        """Those to forget because there are too many, longest unasked first; `forget` them."""
        surplus = len(self._known) - self._max
        if surplus <= 0:
            return
        for known in list(self._known.values())[: 2 * surplus]:
            if not known.busy and (known.version is None or not known.version.demand.windows):
                yield known
                surplus -= 1
            if surplus <= 0:
                return

    def forget(self, known: Known) -> None:
        """As if it had never been asked for."""
        self.set_short(known, None)
        self._known.pop(known.key, None)

    def set_short(self, known: Known, short: Short | None) -> None:
        """Remember a short answer, or none any more; the oldest leave when they are too large."""
        if known.short is not None:
            self._short_bytes -= known.short.bytes
            self._shorts.pop(known.key, None)
        known.short = short
        if short is not None:
            self._short_bytes += short.bytes
            self._shorts[known.key] = known
        while self._short_bytes > SHORT_BYTES_MAX:
            self.set_short(next(iter(self._shorts.values())), None)

    def add(self, version: Version) -> None:
        """Chunks of it may be asked for."""
        self.versions[version.name] = version
