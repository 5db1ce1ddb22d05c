"""One decision: who should serve this client these assets, best first, and why. Pure.

Locate and rank know nothing of state; filter and choose know nothing of proximity; this composes
them, and keeps everything that the access log, `explain` and a later replay need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from steering.address import Client
from steering.choose import Box, Judged, candidates, candidates_for, judge
from steering.locate import RouteTable
from steering.places import Tables
from steering.policy import DEFAULT, Policy
from steering.rank import NOWHERE, Around, RankedSite, rank_sites
from wire.fleet import Site
from wire.ids import SiteKind
from wire.steer import BoxVerdict, Explanation, Place, Reason, SiteVerdict

RANKINGS_MAX = 65_536
"""Remembered orders of sites, one for each chain of announcements asked from: ~20 MB when full."""


class Ranking:
    """The order of sites for every client, from one route table; remembers what it worked out.

    Rank does not depend on state, so it holds as long as the table does.
    """

    def __init__(
        self,
        table: RouteTable,
        sites: Mapping[str, Site],
        policy: Policy = DEFAULT,
        tables: Tables | None = None,
    ) -> None:
        """`sites` by id, as in the fleet file; `tables` of AS numbers and places."""
        self.table = table
        self._sites, self._policy, self._tables = sites, policy, tables or None
        self._known: dict[object, tuple[RankedSite, ...]] = {}

    def of(self, client: Client) -> tuple[RankedSite, ...]:
        """The sites for a client, nearest first; empty where nobody announced its network."""
        chain = self.table.chain(client)
        key: object = chain if self._tables is None else (chain, self._tables.numbers(client))
        found = self._known.get(key)
        if found is None:
            found = self._work_out(chain, client)
            if len(self._known) >= RANKINGS_MAX:
                self._known.clear()
            self._known[key] = found
        return found

    def around(self, client: Client) -> Around:
        """What the tables say of a client's network."""
        return self._tables.around(self._tables.numbers(client)) if self._tables else NOWHERE

    def _work_out(self, chain: int, client: Client) -> tuple[RankedSite, ...]:
        groups = self.table.groups(chain)
        return rank_sites(groups, self._sites, self._policy, self.around(client))

    def prefix_of(self, client: Client, ranked: RankedSite) -> str:
        """The prefix whose announcement ranked a site for a client; "" when none did."""
        for level in self.table.locate(client):
            if ranked.route in level.sites:
                return level.prefix
        return ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a decision depends on, frozen: swapped whole, never changed."""

    ranking: Ranking
    boxes: Mapping[str, tuple[Box, ...]]
    origin: Box | None = None
    stale: bool = False
    policy: Policy = DEFAULT


class Question(msgspec.Struct, frozen=True):
    """Who should serve `client` these assets of a title? `want` places; only boxes that hold at
    least `held_min` of the assets; `only` (when set) limits which boxes may be named.

    `by_asset`: `want` holders of each asset; else `want` boxes in all, as a manifest needs them.
    """

    client: Client
    title: str
    assets: Sequence[int]
    want: int
    held_min: int = 1
    only: frozenset[str] | None = None
    by_asset: bool = True

    @property
    def key(self) -> bytes:
        """What is hashed to spread clients over boxes: the title and the client's network, so that
        a session stays, and a hot title's viewers use all of its copies."""
        client = self.client
        return f"{self.title}\0{client.version}\0{client.block}".encode()


Looked = tuple[RankedSite, tuple[Box, ...]]
"""A site that was looked at, with the boxes that it had then."""


class Decision(msgspec.Struct, frozen=True):
    """The answer, and what was looked at on the way, as far as the search went. What was thought
    of each box is worked out again when somebody asks: judging depends on nothing else."""

    question: Question
    home: str
    stale: bool
    ranked: tuple[RankedSite, ...]
    looked: Sequence[Looked]
    places: tuple[Place, ...]
    chosen: tuple[Box, ...]
    holders: Mapping[int, tuple[Box, ...]]

    @property
    def judged(self) -> tuple[tuple[Judged, ...], ...]:
        """Every box with its verdict, for each site looked at."""
        ask, key = self.question, self.question.key
        return tuple(
            tuple(judge(boxes, key, ask.assets, ask.held_min, gone=site.gone))
            for site, boxes in self.looked
        )

    def passed_over(self) -> list[tuple[str, Reason]]:
        """The boxes looked at and not used, each with its reason, in rank order."""
        taken = {box.id for box in self.chosen}
        return [
            (verdict.box.id, verdict.reason or Reason.OVER)
            for site in self.judged
            for verdict in site
            if verdict.box.id not in taken
        ]


def decide(question: Question, snapshot: Snapshot, *, whole: bool = False) -> Decision:
    """Answer a question from a snapshot; `whole` looks at every site, for an explanation.

    The origin comes last where it may serve. `places` is empty when nobody may.
    """
    ranked = snapshot.ranking.of(question.client)
    if len(question.assets) == 1:
        found = _find_one(question, snapshot, ranked, whole)
    else:
        found = _find_some(question, snapshot, ranked, whole)
    taken, holders, looked = found
    origin = snapshot.origin
    if origin is not None and (question.only is None or origin.id in question.only):
        taken.append((origin, ranked[-1].rank + 1 if ranked else 0))
        for boxes in holders.values():
            boxes.append(origin)
    return Decision(
        question,
        home_of(ranked),
        snapshot.stale,
        ranked,
        looked,
        tuple([Place(pathway=box.id, site=box.site, rank=rank) for box, rank in taken]),
        tuple([box for box, _ in taken]),
        {asset: tuple(boxes) for asset, boxes in holders.items()},
    )


def home_of(ranked: Sequence[RankedSite]) -> str:
    """The site that a client is counted for: the nearest, whatever its state; "" for none."""
    for site in ranked:
        if not site.gone:
            return site.site
    return ""


Taken = list[tuple[Box, int]]
Holders = dict[int, list[Box]]


def _find_one(
    question: Question, snapshot: Snapshot, ranked: Sequence[RankedSite], whole: bool
) -> tuple[Taken, Holders, list[Looked]]:
    """For one asset: what is asked a thousand times a second."""
    asset, want, key = question.assets[0], question.want, question.key
    taken: Taken = []
    looked: list[Looked] = []
    for site in ranked:
        room = want - len(taken)
        if room <= 0 and not whole:
            break
        boxes = _boxes_of(site, question, snapshot)
        looked.append((site, boxes))
        if room > 0 and not site.gone:
            rank = site.rank
            taken += [(box, rank) for box in candidates(boxes, key, asset)[:room]]
    return taken, {asset: [box for box, _ in taken]}, looked


def _find_some(
    question: Question, snapshot: Snapshot, ranked: Sequence[RankedSite], whole: bool
) -> tuple[Taken, Holders, list[Looked]]:
    """For several assets: holders of each, or boxes that hold most of them."""
    key = question.key
    taken: Taken = []
    holders: Holders = {asset: [] for asset in question.assets}
    looked: list[Looked] = []
    for site in ranked:
        if not whole and _enough(question, holders, taken):
            break
        boxes = _boxes_of(site, question, snapshot)
        looked.append((site, boxes))
        if not site.gone:
            for box in candidates_for(boxes, key, question.assets, question.held_min):
                _take(question, box, site.rank, holders, taken)
    return taken, holders, looked


def _boxes_of(site: RankedSite, question: Question, snapshot: Snapshot) -> tuple[Box, ...]:
    boxes = snapshot.boxes.get(site.site, ())
    if question.only is None:
        return boxes
    return tuple(box for box in boxes if box.id in question.only)


def _enough(question: Question, holders: Holders, taken: Taken) -> bool:
    if question.by_asset:
        return all(len(found) >= question.want for found in holders.values())
    return len(taken) >= question.want


def _take(question: Question, box: Box, rank: int, holders: Holders, taken: Taken) -> None:
    """Give a candidate what it is wanted for; boxes come best first."""
    if not question.by_asset and len(taken) >= question.want:
        return
    used = not question.by_asset
    for asset, found in holders.items():
        room = len(found) < question.want or not question.by_asset
        if room and asset in box.holds:
            found.append(box)
            used = True
    if used:
        taken.append((box, rank))


def explanation(
    decision: Decision, snapshot: Snapshot, asset: int | None, ttl_s: int
) -> Explanation:
    """A whole decision (`whole=True`) for people: every site and box with its reason."""
    taken = {box.id for box in decision.chosen}
    sites = [
        SiteVerdict(
            site=site.site,
            kind=site.kind,
            rank=site.rank,
            prefix=prefix,
            why=site.why(prefix),
            boxes=tuple(_verdict(verdict, taken) for verdict in verdicts),
        )
        for (site, _), verdicts in zip(decision.looked, decision.judged, strict=True)
        for prefix in [snapshot.ranking.prefix_of(decision.question.client, site)]
    ]
    if snapshot.origin is not None:
        sites.append(_origin_verdict(snapshot.origin, decision))
    return Explanation(
        client=decision.question.client.text,
        asset=asset,
        title=decision.question.title,
        home=decision.home,
        stale=decision.stale,
        sites=tuple(sites),
        chosen=decision.places,
        ttl_s=ttl_s,
    )


def _verdict(verdict: Judged, taken: set[str]) -> BoxVerdict:
    chosen = verdict.box.id in taken
    reason = verdict.reason if verdict.reason or chosen else Reason.OVER
    return BoxVerdict(
        appliance=verdict.box.id,
        score=verdict.score,
        reason=reason,
        detail=verdict.detail or ("" if reason is None else reason.words),
        chosen=chosen,
        health=verdict.box.health,
        admit=verdict.box.admit,
    )


def _origin_verdict(origin: Box, decision: Decision) -> SiteVerdict:
    rank = next((place.rank for place in decision.places if place.pathway == origin.id), 0)
    chosen = any(place.pathway == origin.id for place in decision.places)
    box = BoxVerdict(appliance=origin.id, score=0.0, chosen=chosen, health=origin.health)
    return SiteVerdict(
        site=origin.site,
        kind=SiteKind.ORIGIN,
        rank=rank,
        prefix="",
        why="last resort",
        boxes=(box,),
    )
