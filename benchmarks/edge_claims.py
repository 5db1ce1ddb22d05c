"""What `oca` must reach, row by row, and whether it did. Pure: readings in, judgements out.

A claim compares our readings with a peer's of the same rounds (median of paired ratios), or with a
fixed limit (median of readings). It holds by its median; the interval says how sure that is.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from benchmarks.stats import Estimate, bootstrap_median, paired_ratio

Reading = Mapping[str, float]
Readings = Mapping[str, Sequence[Reading]]
"""Server → its readings, one a round; a reading maps the measure's name to its value."""

NEAR_TOP = 0.8
"""Who is compared for leanness: a server that sleeps on full buffers is lean and slow."""

IDLES = 0.10
"""A server's core counts as idling from this share of idle time on."""

SEED = 3


class Verdict(Enum):
    """How a claim, or a row of claims, came out."""

    HOLDS = "PASS"
    FAILS = "FAIL"
    SKIPPED = "SKIP"


@dataclass(frozen=True, slots=True)
class Claim:
    """One condition of a row. `against` is a server's name, `best` (by rate), `leanest` (by CPU
    among those near the top), or empty for a fixed limit. Claims of a row that share an `either`
    are alternatives. `low_min` is what the interval's lower end must reach as well."""

    scenario: str
    measure: str
    limit: float
    against: str = ""
    at_least: bool = False
    low_min: float | None = None
    either: str = ""
    idle_min: float = 0.0
    ours: str = "oca"

    @property
    def text(self) -> str:
        """The claim in words."""
        sign = "≥" if self.at_least else "≤"
        name = _WORDS.get(self.measure, self.measure)
        of = f" × {self.against}" if self.against else ""
        low = f" (interval from {self.low_min:g})" if self.low_min is not None else ""
        where = f", where its core idles ≥ {self.idle_min:.0%}" if self.idle_min else ""
        return f"{name} {sign} {self.limit:g}{of}{low}{where}"


_WORDS = {
    "rate": "requests/s",
    "cpu_s_per_gb": "server CPU s/GB",
    "p99_ms": "p99",
    "p99_ratio": "p99 ÷ p99 undisturbed",
    "errors": "errors",
    "own_each_bytes": "bytes per idle connection",
    "memory_each_bytes": "bytes per slow reader",
}


def _size_claims(scenario: str) -> tuple[Claim, ...]:
    return (
        Claim(scenario, "rate", 1.0, "best", at_least=True),
        Claim(scenario, "cpu_s_per_gb", 0.8, "leanest"),
    )


CLAIMS: tuple[Claim, ...] = (
    Claim("4k", "rate", 1.2, "nginx-shipped", at_least=True),
    Claim("4k", "rate", 1.0, "best", at_least=True, low_min=0.95),
    *_size_claims("64k"),
    *_size_claims("1m"),
    Claim("4m", "rate", 2.0, "nginx-shipped", at_least=True),
    *_size_claims("4m"),
    Claim("ranges", "rate", 1.1, "best", at_least=True, either="a"),
    Claim("ranges", "cpu_s_per_gb", 0.8, "leanest", either="a", idle_min=IDLES),
    Claim("idle", "own_each_bytes", 4096),
    Claim("idle", "errors", 0),
    Claim("idle", "p99_ms", 1.0, "nginx-tuned"),
    Claim("tls", "rate", 1.0, "nginx-tls", at_least=True, ours="oca-tls"),
    Claim("storm", "p99_ratio", 2.0),
    Claim("two-4k", "rate", 1.0, "best", at_least=True),
    Claim("two-1m", "rate", 1.0, "best", at_least=True),
    Claim("slow", "memory_each_bytes", 65536),
    Claim("slow", "p99_ratio", 1.3),
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, whom it was held against, the estimate, and whether the interval settles it."""

    claim: Claim
    verdict: Verdict
    against: str = ""
    estimate: Estimate | None = None
    sure: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario's judgements and the verdict over all of them."""

    scenario: str
    verdict: Verdict
    judgements: tuple[Judgement, ...] = field(default_factory=tuple)


def median_of(readings: Sequence[Reading], measure: str) -> float | None:
    """The median of one measure; None where nobody measured it."""
    values = [reading[measure] for reading in readings if measure in reading]
    return statistics.median(values) if values else None


def best_peer(readings: Readings) -> str | None:
    """The peer of the highest median rate among those that ran the whole distance."""
    rates = _peer_rates(readings)
    return max(rates, key=lambda name: rates[name]) if rates else None


def leanest_peer(readings: Readings) -> str | None:
    """The peer whose core took least time per byte, among those near the top rate."""
    rates = _peer_rates(readings)
    top = max(rates.values(), default=0.0)
    cost = {
        name: median_of(readings[name], "cpu_s_per_gb")
        for name, rate in rates.items()
        if rate >= NEAR_TOP * top
    }
    known = {name: value for name, value in cost.items() if value is not None}
    return min(known, key=lambda name: known[name]) if known else None


def _peer_rates(readings: Readings) -> dict[str, float]:
    rounds = max((len(values) for values in readings.values()), default=0)
    rates = {}
    for name, values in readings.items():
        rate = median_of(values, "rate")
        if rate is not None and len(values) == rounds and not name.startswith("oca"):
            rates[name] = rate
    return rates


def judge(claim: Claim, readings: Readings, absent: Mapping[str, str]) -> Judgement:
    """Hold one claim against the readings; `absent` says why a server has none."""
    ours = readings.get(claim.ours, ())
    if not ours:
        reason = absent.get(claim.ours, "oca was not measured")
        return Judgement(claim, Verdict.SKIPPED, reason=reason)
    against = _opponent(claim, readings)
    if against is None:
        return Judgement(claim, Verdict.SKIPPED, reason=absent.get(claim.against, "no such peer"))
    estimate = _estimate(claim, ours, readings.get(against, ()))
    if estimate is None:
        return Judgement(claim, Verdict.SKIPPED, against, reason=f"no {claim.measure} was measured")
    idle = median_of(ours, "server_idle")
    if claim.idle_min and (idle or 0.0) < claim.idle_min:
        return Judgement(claim, Verdict.FAILS, against, estimate, True, "the core does not idle")
    if claim.measure != "errors" and any(reading.get("errors") for reading in ours):
        return Judgement(claim, Verdict.FAILS, against, estimate, True, "oca had errors")
    return _compare(claim, against, estimate)


def _opponent(claim: Claim, readings: Readings) -> str | None:
    if claim.against == "best":
        return best_peer(readings)
    if claim.against == "leanest":
        return leanest_peer(readings)
    return claim.against if not claim.against or readings.get(claim.against) else None


def _estimate(claim: Claim, ours: Sequence[Reading], theirs: Sequence[Reading]) -> Estimate | None:
    values = [reading[claim.measure] for reading in ours if claim.measure in reading]
    if not values:
        return None
    if not claim.against:
        if claim.measure == "errors":
            worst = max(values)
            return Estimate(worst, min(values), worst, len(values))
        return bootstrap_median(values, Random(SEED))
    other = [reading.get(claim.measure, 0.0) for reading in theirs]
    return paired_ratio(values, other, Random(SEED))


def _compare(claim: Claim, against: str, estimate: Estimate) -> Judgement:
    if claim.at_least:
        holds = estimate.median >= claim.limit
        sure = estimate.low >= claim.limit if holds else estimate.high < claim.limit
        if claim.low_min is not None and estimate.low < claim.low_min:
            holds = False
    else:
        holds = estimate.median <= claim.limit
        sure = estimate.high <= claim.limit if holds else estimate.low > claim.limit
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Judgement(claim, verdict, against, estimate, sure)


def row_verdict(judgements: Iterable[Judgement]) -> Verdict:
    """All claims must hold; of alternatives, one. What was skipped decides if nothing fails."""
    groups: dict[str, list[Verdict]] = {}
    for number, judgement in enumerate(judgements):
        groups.setdefault(judgement.claim.either or str(number), []).append(judgement.verdict)
    verdicts = [_best(group) for group in groups.values()]
    for verdict in (Verdict.FAILS, Verdict.SKIPPED):
        if verdict in verdicts:
            return verdict
    return Verdict.HOLDS


def _best(group: Sequence[Verdict]) -> Verdict:
    order = (Verdict.HOLDS, Verdict.SKIPPED, Verdict.FAILS)
    return min(group, key=order.index)


def judge_row(scenario: str, readings: Readings, absent: Mapping[str, str]) -> Row:
    """Every claim of one scenario, and the row's verdict."""
    judgements = tuple(
        judge(claim, readings, absent) for claim in CLAIMS if claim.scenario == scenario
    )
    return Row(scenario, row_verdict(judgements), judgements)
