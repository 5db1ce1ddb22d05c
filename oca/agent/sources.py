"""Which source to ask for what, and which one not to ask for a while. Pure.

One copy into a site, then peers: the plan names, for each asset, the peers that hold it and those
that get it before this box, so nobody waits in a circle; a box asks outside its site at once when
there are none, and else when they are away or waited for in vain. Whoever sends wrong bytes is
struck off; whoever is away is asked again after growing pauses, and never by more at once than
it keeps up with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from oca.agent.breaker import Breaker
from oca.agent.limit import Limit
from wire.plan import Desired, Source, SourceKind

STRIKE_S = 300.0
"""A source that lied is not asked again for this long: an operator has to look at it anyway."""
PARALLEL_MAX = 16
"""Of one source, where the operator says nothing: as many as assets × files at once by default."""


class Fault(StrEnum):
    """What a source did wrong; the value is the label `reason` of its metric."""

    NOT_HELD = "not_held"  # 404: it does not have this asset (yet)
    COMING = "coming"  # 404 with Retry-After: it is fetching it
    REFUSED = "refused"  # 401, 403: its plan does not name us (yet)
    BUSY = "busy"  # 429, 5xx
    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    RESET = "reset"  # the connection broke
    SHORT = "short"  # the body ended too early
    WRONG = "wrong_bytes"  # other bytes, or more or fewer announced, than the catalogue says
    PROTOCOL = "protocol"  # an answer that makes no sense: another range than the one asked for


QUIET = frozenset({Fault.NOT_HELD, Fault.COMING, Fault.REFUSED})
"""Not a fault of the source: it has no such asset for us now, others it may have."""
LIES = frozenset({Fault.WRONG, Fault.PROTOCOL})


@dataclass(slots=True)
class Standing:
    """What is known of one source."""

    breaker: Breaker
    limit: Limit
    bytes: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class SourceBook:
    """What is known of each source. Times are on one monotonic clock."""

    def __init__(self, parallel_max: int = PARALLEL_MAX) -> None:
        """Every source begins with a good name, and gets at most `parallel_max` requests."""
        self._parallel_max = parallel_max
        self._known: dict[str, Standing] = {}

    def of(self, source: str) -> Standing:
        """What is known of a source."""
        known = self._known.get(source)
        if known is None:
            known = self._known[source] = Standing(Breaker(), Limit(self._parallel_max))
        return known

    def usable(self, source: str, now_s: float) -> bool:
        """Whether this source may be asked now, were it not for those who ask it already."""
        return self.of(source).breaker.allows(now_s)

    def has_room(self, source: str) -> bool:
        """Whether it takes one more request beside those under way; on trial it takes one alone."""
        known = self.of(source)
        return known.limit.is_free and not known.breaker.is_on_trial

    def is_on_trial(self, source: str) -> bool:
        """Whether one request is under way that decides whether it is well again."""
        return self.of(source).breaker.is_on_trial

    def begin(self, source: str) -> None:
        """A request to it begins; `end` must follow."""
        known = self.of(source)
        known.limit.taken += 1
        known.breaker.begin()

    def end(self, source: str) -> None:
        """A request to it has ended, one way or another."""
        known = self.of(source)
        known.limit.taken -= 1
        known.breaker.end()

    def away(self, source: str, now_s: float) -> bool:
        """Whether nobody should wait for this source: it lied, or failed several times in a row."""
        return self.of(source).breaker.away(now_s)

    def blame(self, source: str, fault: Fault, now_s: float, draw: float = 0.0) -> None:
        """A source failed: struck off when it lied, else asked again after a growing pause, that
        `draw` (0–1, chance) shortens by up to half."""
        known = self.of(source)
        known.faults[fault.value] = known.faults.get(fault.value, 0) + 1
        if fault in QUIET:
            return
        known.breaker.fail(fault.value, now_s, draw, STRIKE_S if fault in LIES else 0.0)
        known.limit.fail(now_s)

    def praise(self, source: str, now_s: float, first_byte_s: float = 0.0) -> None:
        """A source delivered: earlier trouble is forgotten, but a lie not before its time."""
        known = self.of(source)
        known.breaker.succeed(now_s)
        known.limit.succeed(first_byte_s)

    def struck(self, now_s: float) -> dict[str, str]:
        """The sources not asked now, and why."""
        return {
            source: known.breaker.why
            for source, known in self._known.items()
            if known.breaker.wait_s(now_s) > 0
        }

    def shown(self, now_s: float) -> dict[str, Mapping[str, object]]:
        """Every source as the operator sees it."""
        return {
            source: {
                "bytes": known.bytes,
                "at_once": known.limit.taken,
                "at_once_max": known.limit.value,
                "faults": known.faults,
                "struck_off": known.breaker.is_struck,
                "not_asked_s": round(known.breaker.wait_s(now_s), 1),
                "why": known.breaker.why,
            }
            for source, known in self._known.items()
        }

    def next_usable_s(self, sources: Sequence[str], now_s: float) -> float:
        """Seconds until one of these may be asked (again); 0 when one may now."""
        waits = [self.of(source).breaker.wait_s(now_s) for source in sources]
        return min(waits, default=0.0)


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
    waited_s: float,
    patience_s: float,
) -> Candidates:
    """Rank the sources of one asset for this box, `me`.

    `waited_s` is how long the site's first copy was waited for without a sign of it. Each peer that
    is not away is worth `patience_s` of waiting: when one fails, the next in line goes first.
    """
    named = [sources[index] for index in wanted.sources if sources[index].id != me]
    usable = [source for source in named if book.usable(source.id, now_s)]
    peers = [source for source in usable if source.kind is SourceKind.PEER]
    ahead = [s for s in named if s.kind is SourceKind.PEER and not book.away(s.id, now_s)]
    outside = waited_s >= patience_s * len(ahead)
    chosen = [*peers, *(source for source in usable if source.kind is not SourceKind.PEER)]
    return Candidates(tuple(chosen if outside else peers), outside)
