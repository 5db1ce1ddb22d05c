"""Why an asset is, or is not, on a box: told in plain English from a published generation. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fill.generation import AssetTold, BoxSummary, CopyTold
from wire.catalogue import Asset
from wire.plan import Desired, Plan

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and all that the generation says about it."""

    asset: Asset
    appliance: str
    plan: Plan
    box: BoxSummary
    told: AssetTold | None

    @property
    def desired(self) -> Desired | None:
        """The plan's entry for the asset, if it has one."""
        return next((item for item in self.plan.desired if item.asset == self.asset.id), None)


def amount(count_bytes: float) -> str:
    """Bytes as people read them (decimal units)."""
    for unit, size in _UNITS:
        if count_bytes >= size:
            return f"{count_bytes / size:.1f} {unit}"
    return f"{count_bytes:.0f} B"


def explain(case: Case) -> list[str]:
    """The answer, one sentence a line."""
    return [*_verdict(case), *_demand(case), *_thresholds(case), *_copies(case), *_how(case)]


def _verdict(case: Case) -> Iterator[str]:
    asset, item = case.asset, case.desired
    name = f"Asset {asset.id} ({asset.title}/{asset.name}, {amount(asset.bytes)})"
    generation = case.plan.generation
    if item is None:
        yield f"{name} is not planned for {case.appliance} in generation {generation}."
    elif item.action == "keep":
        yield f"{name} stays on {case.appliance} (generation {generation})."
    else:
        yield f"{name} is to be fetched by {case.appliance} (generation {generation})."


def _demand(case: Case) -> Iterator[str]:
    told = case.told
    if told is None:
        yield f"Nobody asks for it at {case.box.site}, and no box there holds it."
        return
    total = told.own_bytes + told.taken_bytes
    density = total / told.size_bytes
    yield (
        f"At {case.box.site} {amount(total)} of it are asked for a day, "
        f"{density:.3g} times its size: that is its density."
    )
    if told.taken_bytes:
        yield (
            f"{amount(told.taken_bytes)} of that is demand which nearer sites leave over; "
            f"{amount(told.own_bytes)} comes from the site's own clients."
        )


def _thresholds(case: Case) -> Iterator[str]:
    box = case.box
    yield (
        f"{case.appliance} keeps what has a density of at least τ = {box.tau:.3g}, and fetches "
        f"what has at least τ + μ = {box.tau + box.mu:.3g}; "
        f"{amount(box.planned_bytes)} of {amount(box.usable_bytes)} are planned, "
        f"{amount(box.fetch_bytes)} of {amount(box.fill_bytes)} to be fetched."
    )


def _copies(case: Case) -> Iterator[str]:
    told = case.told
    if told is None:
        return
    order = list(told.order)
    if case.appliance in order:
        place = order.index(case.appliance) + 1
        yield f"It is number {place} of {len(order)} in the order of boxes for this asset."
    if case.desired is None and case.plan.desired:
        last = case.plan.desired[-1]
        yield f"The last to get in there is asset {last.asset}, at a density of {last.value:.3g}."
    for copy in told.copies:
        yield _copy(copy, mine=copy.box == case.appliance)
    if told.refused:
        yield (
            f"A copy {told.refused_number}, worth a density of {told.refused_density:.3g}, "
            "found no box:"
        )
        for refusal in told.refused:
            yield f"  {refusal.box}: {refusal.why}."
    elif case.desired is None and told.copies:
        yield "The copies above are all that the site's demand pays for, and none fell to it."


def _copy(copy: CopyTold, mine: bool) -> str:
    verb = "keeps" if copy.action == "keep" else "fetches"
    box = f"{copy.box} (this box)" if mine else copy.box
    return f"Copy {copy.number}, worth a density of {copy.density:.3g}: {box} {verb} it."


def _how(case: Case) -> Iterator[str]:
    item = case.desired
    if item is None:
        return
    if item.why:
        yield f"In the plan: {item.why}."
    sources = [case.plan.sources[index] for index in item.sources]
    if sources:
        told = ", ".join(f"{source.id} ({source.kind.value})" for source in sources)
        yield f"It comes, if it has to be fetched, from: {told}."
