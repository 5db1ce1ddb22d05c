"""Which source to ask for what, and which one not to ask for a while. Pure.

One copy into a site, then peers: among the boxes of a site that the plan gives an asset, rendezvous
hashing (Thaler & Ravishankar 1998) names one that fetches it from outside; the others wait for it.
Whoever sends wrong bytes is struck off; whoever is away is asked again after growing pauses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from wire.plan import Desired, Source, SourceKind

STRIKE_S = 300.0
"""A source that lied is not asked again for this long: an operator has to look at it anyway."""
PAUSE_FIRST_S = 0.25
PAUSE_MAX_S = 60.0
AWAY_FAILURES = 4
"""In a row (1.75 s of pauses): boxes that start together are not away, just later."""
PAUSES_MAX = 9  # 0.25 s doubled nine times is beyond PAUSE_MAX_S


class Fault(StrEnum):
    """What a source did wrong; the value is the label `reason` of its metric."""

    NOT_HELD = "not_held"  # 404: it does not have this asset (yet)
    REFUSED = "refused"  # 401, 403: its plan does not name us (yet)
    BUSY = "busy"  # 429, 5xx
    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    RESET = "reset"  # the connection broke
    SHORT = "short"  # the body ended too early
    WRONG = "wrong_bytes"  # other bytes, or more or fewer announced, than the catalogue says
    PROTOCOL = "protocol"  # an answer that makes no sense: another range than the one asked for


QUIET = frozenset({Fault.NOT_HELD, Fault.REFUSED})
"""Not a fault of the source: it has no such asset for us now, others it may have."""
LIES = frozenset({Fault.WRONG, Fault.PROTOCOL})


@dataclass(slots=True)
class _Record:
    failures: int = 0
    not_before_s: float = 0.0
    why: str = ""


class SourceBook:
    """What is known of each source. Times are on one monotonic clock. (The seam for breakers.)"""

    def __init__(self) -> None:
        """Every source begins with a good name."""
        self._records: dict[str, _Record] = {}

    def usable(self, source: str, now_s: float) -> bool:
        """Whether this source may be asked now."""
        record = self._records.get(source)
        return record is None or now_s >= record.not_before_s

    def away(self, source: str, now_s: float) -> bool:
        """Whether nobody should wait for this source: it lied, or failed several times in a row."""
        record = self._records.get(source)
        if record is None or now_s >= record.not_before_s:
            return False
        return record.why in LIES or record.failures >= AWAY_FAILURES

    def blame(self, source: str, fault: Fault, now_s: float) -> None:
        """A source failed: struck off when it lied, else asked again after a growing pause."""
        if fault in QUIET:
            return
        record = self._records.setdefault(source, _Record())
        record.failures += 1
        pause_s = PAUSE_FIRST_S * 2 ** min(record.failures - 1, PAUSES_MAX)
        pause_s = STRIKE_S if fault in LIES else min(pause_s, PAUSE_MAX_S)
        record.not_before_s = max(record.not_before_s, now_s + pause_s)
        record.why = fault.value

    def praise(self, source: str, now_s: float) -> None:
        """A source delivered: earlier trouble is forgotten, but a lie not before its time."""
        record = self._records.get(source)
        if record is not None and (record.why not in LIES or now_s >= record.not_before_s):
            del self._records[source]

    def struck(self, now_s: float) -> dict[str, str]:
        """The sources not asked now, and why."""
        return {
            source: record.why
            for source, record in self._records.items()
            if now_s < record.not_before_s
        }

    def next_usable_s(self, sources: Sequence[str], now_s: float) -> float:
        """Seconds until one of these may be asked (again); 0 when one may now."""
        waits = [self._wait_s(source, now_s) for source in sources]
        return min(waits, default=0.0)

    def _wait_s(self, source: str, now_s: float) -> float:
        record = self._records.get(source)
        return max(0.0, record.not_before_s - now_s) if record else 0.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Whom to ask now, best first; `outside` says whether this box may ask beyond its site."""

    sources: tuple[Source, ...]
    outside: bool


def candidates(
    wanted: Desired,
    sources: Sequence[Source],
    book: SourceBook,
    me: str,
    now_s: float,
    patient: bool,
) -> Candidates:
    """Rank the sources of one asset for this box, `me`.

    While `patient`, only the site's first-copy master asks outside the site; impatient, everybody.
    """
    named = [sources[index] for index in wanted.sources if sources[index].id != me]
    usable = [source for source in named if book.usable(source.id, now_s)]
    peers = [source for source in usable if source.kind is SourceKind.PEER]
    holders = [s.id for s in named if s.kind is SourceKind.PEER and not book.away(s.id, now_s)]
    outside = not patient or is_master(wanted.asset, me, holders)
    chosen = [*peers, *(source for source in usable if source.kind is not SourceKind.PEER)]
    return Candidates(tuple(chosen if outside else peers), outside)


def is_master(asset: int, me: str, peers: Sequence[str]) -> bool:
    """Whether `me` is the one among itself and its peers that fetches `asset` from outside."""
    return all(_score(asset, me) >= _score(asset, peer) for peer in peers)


def _score(asset: int, box: str) -> bytes:
    return hashlib.blake2b(f"{asset}:{box}".encode(), digest_size=8).digest()
