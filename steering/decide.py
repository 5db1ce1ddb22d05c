"""One decision: who should serve this client these assets, best first, and why. Pure.

Locate and rank know nothing of state; filter and choose know nothing of proximity; this composes
them, and keeps everything that the access log, `explain` and a later replay need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steering.address import Client
from steering.choose import Box, Judged, judge
from steering.locate import RouteTable
from steering.policy import DEFAULT, Policy
from steering.rank import RankedSite, rank_sites
from wire.fleet import Site
from wire.ids import SiteKind
from wire.steer import BoxVerdict, Explanation, Place, Reason, SiteVerdict

RANKINGS_MAX = 65_536  # remembered orders of sites, one per prefix asked from: ~20 MB when full


class Ranking:
    """The order of sites for every client, from one route table; remembers what it worked out.

    Rank does not depend on state, so it holds as long as the table does.
    """

    def __init__(
        self, table: RouteTable, sites: Mapping[str, Site], policy: Policy = DEFAULT
    ) -> None:
        """`sites` by id, as in the fleet file."""
        self.table = table
        self._sites, self._policy = sites, policy
        self._known: dict[tuple[int, int], tuple[RankedSite, ...]] = {}

    def of(self, client: Client) -> tuple[RankedSite, ...]:
        """The sites for a client, nearest first; empty where nobody announced its network."""
        leaf = (client.version, self.table.leaf(client))
        found = self._known.get(leaf)
        if found is None:
            if len(self._known) >= RANKINGS_MAX:
                self._known.clear()
            found = rank_sites(self.table.levels(*leaf), self._sites, self._policy)
            self._known[leaf] = found
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a decision depends on, frozen: swapped whole, never changed."""

    ranking: Ranking
    boxes: Mapping[str, tuple[Box, ...]]
    origin: Box | None = None
    stale: bool = False
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class Question:
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
        return f"{self.title}\0{self.client.version}\0{self.client.block}".encode()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and everything looked at on the way: `judged` is per site of `ranked`, as far as
    the search went."""

    question: Question
    home: str
    stale: bool
    ranked: tuple[RankedSite, ...]
    judged: tuple[tuple[Judged, ...], ...]
    places: tuple[Place, ...]
    chosen: tuple[Box, ...]
    holders: Mapping[int, tuple[Box, ...]]

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
    key = question.key
    holders: dict[int, list[Box]] = {asset: [] for asset in question.assets}
    taken: dict[str, tuple[Box, int]] = {}
    judged: list[tuple[Judged, ...]] = []
    for site in ranked:
        if not whole and _enough(question, holders, taken):
            break
        boxes = snapshot.boxes.get(site.site, ())
        if question.only is not None:
            boxes = tuple(box for box in boxes if box.id in question.only)
        verdicts = judge(boxes, key, question.assets, question.held_min)
        judged.append(tuple(verdicts))
        for verdict in verdicts:
            if verdict.reason is None:
                _take(question, verdict.box, site.rank, holders, taken)
    _add_origin(question, snapshot.origin, ranked, holders, taken)
    return Decision(
        question=question,
        home=ranked[0].site if ranked else "",
        stale=snapshot.stale,
        ranked=ranked,
        judged=tuple(judged),
        places=tuple(
            Place(pathway=box.id, site=box.site, rank=rank) for box, rank in taken.values()
        ),
        chosen=tuple(box for box, _ in taken.values()),
        holders={asset: tuple(found) for asset, found in holders.items()},
    )


def _enough(
    question: Question, holders: Mapping[int, list[Box]], taken: Mapping[str, tuple[Box, int]]
) -> bool:
    if question.by_asset:
        return all(len(found) >= question.want for found in holders.values())
    return len(taken) >= question.want


def _take(
    question: Question,
    box: Box,
    rank: int,
    holders: Mapping[int, list[Box]],
    taken: dict[str, tuple[Box, int]],
) -> None:
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
        taken[box.id] = (box, rank)


def _add_origin(
    question: Question,
    origin: Box | None,
    ranked: Sequence[RankedSite],
    holders: Mapping[int, list[Box]],
    taken: dict[str, tuple[Box, int]],
) -> None:
    if origin is None or (question.only is not None and origin.id not in question.only):
        return
    taken[origin.id] = (origin, ranked[-1].rank + 1 if ranked else 0)
    for found in holders.values():
        found.append(origin)


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
            prefix=site.prefix,
            why=site.why,
            boxes=tuple(_verdict(verdict, taken) for verdict in verdicts),
        )
        for site, verdicts in zip(decision.ranked, decision.judged, strict=True)
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
