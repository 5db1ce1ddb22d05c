"""Past decisions under another policy: what would have been answered, and what that changes. Pure.

Every record is decided twice: by its own policy, which must give what was answered (else the record
is set aside), and by the other one. What cannot be known stays as it was: other answers would have
loaded the boxes otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta
from pyroaring import BitMap

from steering.address import WIDTH_BITS, Client, parse_prefix
from steering.choose import Box, seed_of
from steering.decide import Decision, Question, Ranking, Snapshot, decide
from steering.decisions import Record, SeenBox, State
from steering.frozen import WEIGHTLESS
from steering.locate import RouteTable
from steering.policy import Policy, as_dict, policy_of
from steering.rank import RankedSite, rank_sites
from wire.errors import WireError
from wire.fleet import Site
from wire.ids import ORIGIN_ID
from wire.steer import Reason

NOBODY = "nobody"
Share = Annotated[float, Meta(ge=0, le=1)]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One decision that would be another: for whom, what, and why."""

    client: str
    title: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    why: str


class SiteDelta(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions whose first place is in a site, before and after."""

    site: str
    before: int
    after: int


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What another policy would change. `moved`: the first place is another one; `changed`: any
    is. `aside`: records whose own policy does not give their answer, or that were cut; `left_out`:
    decisions that have no record; `questions`: how often players ask, times what it was."""

    policy: str
    records: int
    replayed: int
    aside: int
    left_out: int
    moved: int
    changed: int
    moved_share: Share
    questions: float
    sites: tuple[SiteDelta, ...]
    examples: tuple[Example, ...]


class _Recorded(Ranking):
    """The order of sites for the one client of a record."""

    def __init__(self, record: Record, sites: dict[str, Site], policy: Policy) -> None:
        super().__init__(RouteTable(), sites, policy)
        self._ranked = rank_sites(
            (level.sites for level in record.levels), sites, policy, record.around
        )

    def of(self, client: Client) -> tuple[RankedSite, ...]:
        """The same, whoever asks."""
        return self._ranked


@dataclass
class _Tally:
    records: int = 0
    replayed: int = 0
    aside: int = 0
    left_out: int = 0
    moved: int = 0
    changed: int = 0
    last_n: int = 0
    ttls: float = 0.0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)


def replay(lines: Iterable[State | Record], new: Policy, examples: int = 5) -> ReplayReport:
    """Decide every record again; raises WireError for one that no `State` stands before."""
    tally = _Tally()
    state: tuple[Policy, dict[str, Site]] | None = None
    for line in lines:
        if isinstance(line, State):
            state = _policy(line), {site.id: site for site in line.sites}
            continue
        if state is None:
            raise WireError("records", f"n {line.n}", "no line of kind `state` stands before it")
        _count(tally, line, *state, new, examples)
    sites = sorted({*tally.before, *tally.after}, key=lambda site: (-tally.before[site], site))
    return ReplayReport(
        policy=new.name,
        records=tally.records,
        replayed=tally.replayed,
        aside=tally.aside,
        left_out=tally.left_out,
        moved=tally.moved,
        changed=tally.changed,
        moved_share=tally.moved / max(1, tally.replayed),
        questions=tally.ttls / max(1, tally.replayed),
        sites=tuple(
            SiteDelta(site=site, before=tally.before[site], after=tally.after[site])
            for site in sites
        ),
        examples=tuple(tally.examples),
    )


def decide_again(record: Record, own: Policy, sites: dict[str, Site], policy: Policy) -> Decision:
    """The decision of a record, made under `own`, under another policy."""
    boxes: dict[str, list[Box]] = {}
    origin: Box | None = None
    for seen in record.boxes:
        box = _box(seen, record, policy)
        if seen.id == ORIGIN_ID:
            origin = box
        else:
            boxes.setdefault(seen.site, []).append(box)
    want = record.want
    if record.surface != "redirect" and want == own.pathways:
        want = policy.pathways
    snapshot = Snapshot(
        _Recorded(record, sites, policy),
        {site: tuple(found) for site, found in boxes.items()},
        origin,
        record.stale,
        policy,
    )
    question = Question(
        client=_client(record.client),
        title=record.title,
        assets=record.assets,
        want=want,
        held_min=record.held_min,
        by_asset=record.by_asset,
    )
    return decide(question, snapshot)


def _count(
    tally: _Tally,
    record: Record,
    own: Policy,
    sites: dict[str, Site],
    new: Policy,
    examples: int,
) -> None:
    tally.records += 1
    if record.n > tally.last_n + 1 and tally.last_n:
        tally.left_out += record.n - tally.last_n - 1
    tally.last_n = record.n
    again = decide_again(record, own, sites, own)
    if record.cut or _ids(again) != record.chosen:
        tally.aside += 1
        return
    tally.replayed += 1
    tally.ttls += own.ttl_s / new.ttl_s
    other = decide_again(record, own, sites, new)
    tally.before[_site(again)] += 1
    tally.after[_site(other)] += 1
    if _ids(other) == record.chosen:
        return
    tally.changed += 1
    tally.moved += _ids(other)[:1] != record.chosen[:1]
    why = _why(record, again, other)
    # Examples of different kinds say more than five of one.
    if len(tally.examples) < examples and tally.told[why] < max(1, examples // 2):
        tally.told[why] += 1
        tally.examples.append(
            Example(
                client=record.client,
                title=record.title,
                before=record.chosen,
                after=_ids(other),
                why=why,
            )
        )


def _why(record: Record, before: Decision, after: Decision) -> str:
    """What makes the difference, in words."""
    if not before.places or not after.places:
        return "somebody can serve now" if after.places else "nobody can serve any more"
    first, other = before.places[0], after.places[0]
    if first.pathway == other.pathway:
        return f"{len(before.places)} places become {len(after.places)}, or others"
    reason = dict(after.passed_over()).get(first.pathway)
    if reason is not None and reason is not Reason.OVER:
        return f"{first.pathway} {reason.words}"
    if first.site != other.site:
        return f"{other.site} is preferred to {first.site}"
    return f"the weights within {first.site}"


def _box(seen: SeenBox, record: Record, policy: Policy) -> Box:
    factor = policy.weight_of(seen.id, seen.site)
    passed, detail = seen.passed, seen.detail
    if detail == WEIGHTLESS:
        passed, detail = None, ""
    if factor <= 0 and passed is None:
        passed, detail = Reason.DRAINING, WEIGHTLESS
    return Box(
        id=seen.id,
        site=seen.site,
        base_url="",
        weight=seen.weight * factor if factor > 0 else seen.weight,
        health=seen.health,
        admit=seen.admit,
        spread=seen.spread,
        recovering=seen.recovering,
        passed=passed,
        detail=detail,
        holds=BitMap(record.assets if seen.held is None else seen.held),
        seed=seed_of(seen.id),
    )


def _policy(state: State) -> Policy:
    """The policy of then; settings that are no more are passed over."""
    known = as_dict(Policy())
    return policy_of({k: v for k, v in state.policy.items() if k in known}, "records: policy")


def _client(block: str) -> Client:
    version, network, _ = parse_prefix(block)
    return Client(version, network & ((1 << WIDTH_BITS[version]) - 1), block)


def _ids(decision: Decision) -> tuple[str, ...]:
    return tuple(place.pathway for place in decision.places)


def _site(decision: Decision) -> str:
    return decision.places[0].site if decision.places else NOBODY
