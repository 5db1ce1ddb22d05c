"""One appliance's part of a plan, as it is signed and sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fill.catalogue import Snapshot
from fill.config import PlanKnobs
from fill.generation import BoxSummary
from fill.rows import Action, Rows
from wire.fleet import Appliance, Fleet
from wire.ids import ORIGIN_ID
from wire.plan import Desired, Plan, Source, SourceKind


@dataclass(frozen=True)
class Issue:
    """What the plans of one generation have in common."""

    rows: Rows
    ranges: Mapping[str, slice]
    catalogue: Snapshot
    fleet: Fleet
    by_id: Mapping[str, Appliance]
    knobs: PlanKnobs
    boxes: Mapping[str, BoxSummary]
    peers: Mapping[str, Mapping[str, str]]
    generation: int
    now_s: int
    force: bool


def peers_of(rows: Rows, fleet: Fleet) -> dict[str, dict[str, str]]:
    """Who may fetch from each box (box → caller → public key): its site, and whoever has it as a
    source; from the origin, everybody."""
    keys = {box.id: box.public_key for box in fleet.appliances}
    mates: dict[str, list[str]] = {}
    for box in fleet.appliances:
        mates.setdefault(box.site, []).append(box.id)
    callers = {box.id: set(mates[box.site]) for box in fleet.appliances}
    for source, caller in rows.callers():
        if source in callers and caller in keys:
            callers[source].add(caller)
    if ORIGIN_ID in callers:
        callers[ORIGIN_ID].update(keys)
    return {
        name: {caller: keys[caller] for caller in sorted(them - {name})}
        for name, them in callers.items()
    }


def plan_of(issue: Issue, box: Appliance) -> Plan:
    """The plan of one box; what is not in the catalogue (any more) is left out."""
    wanted = list(_wanted(issue, box))
    names = {name: None for _, names, _ in wanted for name in names}
    known = {name: site for name in names if (site := _source(issue, box, name))}
    index = {name: number for number, name in enumerate(known)}
    summary = issue.boxes.get(box.id)
    return Plan(
        appliance=box.id,
        epoch=issue.catalogue.epoch,
        generation=issue.generation,
        made_s=issue.now_s,
        expires_s=issue.now_s + issue.knobs.life_s,
        fill_bytes=summary.fill_bytes if summary else 0,
        desired=tuple(
            _desired(issue, row, [index[name] for name in names if name in index], asset, summary)
            for row, names, asset in wanted
        ),
        sources=tuple(known.values()),
        peers=issue.peers.get(box.id, {}),
        # The origin holds what the catalogue made; its plan only says who may fetch from it.
        force=issue.force or box.id == ORIGIN_ID,
        out_of_window=issue.knobs.out_of_window,
    )


def _wanted(issue: Issue, box: Appliance) -> Iterator[tuple[int, list[str], int]]:
    """(row, names of sources, asset) of what the box is to hold, best first."""
    rows, mine = issue.rows, issue.ranges.get(box.id, slice(0, 0))
    action, asset = rows.action[mine].tolist(), rows.asset[mine].tolist()
    start = rows.start[mine.start : mine.stop + 1].tolist()
    base = start[0] if start else 0
    source = rows.source[base : start[-1]].tolist() if start else []
    for at, number in enumerate(asset):
        if action[at] != Action.DROP and number in issue.catalogue.entries:
            mine_ = source[start[at] - base : start[at + 1] - base]
            yield mine.start + at, [rows.boxes[each] for each in mine_], number


def _source(issue: Issue, box: Appliance, name: str) -> Source | None:
    other = issue.by_id.get(name)
    if other is None:
        return None
    kind = SourceKind.PEER if other.site == box.site else SourceKind.SITE
    if name == ORIGIN_ID:
        kind = SourceKind.ORIGIN
    return Source(id=name, kind=kind, url=issue.fleet.base_url(other))


def _desired(
    issue: Issue, row: int, sources: list[int], asset: int, box: BoxSummary | None
) -> Desired:
    rows, entry = issue.rows, issue.catalogue.entries[asset]
    value, keep = float(rows.value[row]), int(rows.action[row]) == Action.KEEP
    return Desired(
        asset=asset,
        bytes=entry.asset.bytes,
        digest=entry.digest,
        sources=tuple(sources),
        value=round(value, 9),
        action="keep" if keep else "fetch",
        why=why_here(int(rows.number[row]), value, keep, box),
    )


def why_here(number: int, value: float, keep: bool, box: BoxSummary | None) -> str:
    """One line that says why a copy is on a box."""
    if box is None or box.state != "in_service":
        return "drained: keeps what it has"
    bar = box.tau if keep else box.tau + box.mu
    name = "τ" if keep else "τ+μ"
    if value >= bar:
        return f"copy {number}: {value:.4g} a day ≥ {name} {bar:.4g}"
    return f"copy {number}: {value:.4g} a day, below {name} {bar:.4g}: it fits, or a rule wants it"
