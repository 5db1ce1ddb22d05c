"""Why an asset is, or is not, on a box: told in plain English from a published generation. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fill.config import PlanKnobs
from fill.generation import BoxSummary
from fill.place import Refusal
from wire.catalogue import Asset

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@dataclass(frozen=True, slots=True)
class Told:
    """One asset as its site sees it: bytes a day asked for by its own clients, and left by nearer
    sites; density of the best copy that was refused (negative: none)."""

    own_bytes: float
    taken_bytes: float
    refused_density: float


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy in the site; `why` is what the plan says of it, `sources` (ids and kinds) best
    first."""

    box: str
    number: int
    density: float
    action: str
    why: str = ""
    sources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Turnover:
    """What a box gains or loses in the plan: how many, bytes, and the asset at the edge with its
    density (of those that leave the most, of those that come the least asked for)."""

    count: int
    bytes: int
    asset: int
    density: float


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and all that the generation says about it. `order`: the site's boxes as they
    are asked for this asset; `last`: the last asset to get in, and its
    density; `banned`, `ruled`: the rules keep it out of the site, or want it on the box."""

    asset: Asset
    appliance: str
    generation: int
    knobs: PlanKnobs
    box: BoxSummary
    mates: dict[str, BoxSummary]
    told: Told | None
    copies: tuple[Copy, ...]
    order: tuple[str, ...]
    last: tuple[int, float] | None
    dropped: bool
    banned: bool
    ruled: bool
    leaving: Turnover | None
    coming: Turnover | None

    @property
    def mine(self) -> Copy | None:
        """The copy on the box in question, if it is to have one."""
        return next((copy for copy in self.copies if copy.box == self.appliance), None)


def amount(count_bytes: float) -> str:
    """Bytes as people read them (decimal units)."""
    for unit, size in _UNITS:
        if count_bytes >= size:
            return f"{count_bytes / size:.1f} {unit}"
    return f"{count_bytes:.0f} B"


def explain(case: Case) -> list[str]:
    """The answer, one sentence a line."""
    return [
        *_verdict(case),
        *_demand(case),
        *_thresholds(case),
        *_copies(case),
        *_displaced(case),
        *_how(case),
    ]


def _verdict(case: Case) -> Iterator[str]:
    asset, mine = case.asset, case.mine
    name = f"Asset {asset.id} ({asset.title}/{asset.name}, {amount(asset.bytes)})"
    where = f"{case.appliance} (generation {case.generation})"
    if mine is None and case.dropped:
        yield f"{name} is to be dropped by {where}."
    elif mine is None:
        yield f"{name} is not planned for {case.appliance} in generation {case.generation}."
    elif mine.action == "keep":
        yield f"{name} stays on {where}."
    else:
        yield f"{name} is to be fetched by {where}."
    if case.banned:
        yield "A ban, or a licence that does not hold here today, keeps it out (rules file)."
    if case.ruled:
        yield "A pin, a launch or a trigger wants it here, whatever is asked of it."


def _demand(case: Case) -> Iterator[str]:
    told = case.told
    if told is None or told.own_bytes + told.taken_bytes <= 0:
        yield f"Nobody asks for it at {case.box.site}."
        return
    total = told.own_bytes + told.taken_bytes
    density = total / max(1, case.asset.bytes)
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
    order = list(case.order)
    if case.appliance in order:
        place = order.index(case.appliance) + 1
        yield f"It is number {place} of {len(order)} in the order of boxes for this asset."
    if case.mine is None and case.last is not None:
        asset, density = case.last
        yield f"The last to get in there is asset {asset}, at a density of {density:.3g}."
    for copy in case.copies:
        yield _copy(copy, mine=copy.box == case.appliance)
    told, holding = case.told, {copy.box for copy in case.copies}
    if told is not None and told.refused_density >= 0 and holding != set(order):
        yield (
            f"A copy {len(case.copies) + 1}, worth a density of {told.refused_density:.3g}, "
            "found no box:"
        )
        for name in order:
            if name not in holding:
                yield f"  {name}: {_refusal(case, name, told.refused_density).value}."
    elif case.mine is None and case.copies:
        yield "The copies above are all that the site's demand pays for, and none fell to it."


def _refusal(case: Case, name: str, density: float) -> Refusal:
    """Which limit of a box a copy met: the thresholds say it."""
    box, price = case.mates[name], 1.0 / case.knobs.repay_days
    if case.banned:
        return Refusal.BAN
    if case.asset.bytes > box.usable_bytes:
        return Refusal.SIZE
    if density <= price:
        return Refusal.PRICE
    if density - price <= box.tau:
        return Refusal.DISK
    if density <= box.tau + box.mu:
        return Refusal.FILL
    return Refusal.LINK


def _copy(copy: Copy, mine: bool) -> str:
    verb = "keeps" if copy.action == "keep" else "fetches"
    box = f"{copy.box} (this box)" if mine else copy.box
    return f"Copy {copy.number}, worth a density of {copy.density:.3g}: {box} {verb} it."


def _displaced(case: Case) -> Iterator[str]:
    mine = case.mine
    if mine is not None and mine.action == "fetch" and case.leaving is not None:
        out = case.leaving
        yield (
            f"For all that it fetches, {case.appliance} drops {out.count} assets "
            f"({amount(out.bytes)}); the most asked for of them is asset {out.asset}, at a density "
            f"of {out.density:.3g}."
        )
    if mine is None and case.dropped and case.coming is not None:
        new = case.coming
        yield (
            f"What comes in its stead is {new.count} assets ({amount(new.bytes)}); the least asked "
            f"for of them is asset {new.asset}, at a density of {new.density:.3g}."
        )


def _how(case: Case) -> Iterator[str]:
    mine = case.mine
    if mine is None:
        return
    if mine.why:
        yield f"In the plan: {mine.why}."
    if mine.sources:
        told = ", ".join(f"{name} ({kind})" for name, kind in mine.sources)
        yield f"It comes, if it has to be fetched, from: {told}."
