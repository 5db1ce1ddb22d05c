"""From whom a box pulls an asset, best first: peers, then other sites, the origin last. Pure.

Of the boxes of a site that will hold a new asset, one fetches it from outside: the one with the
fewest such assets for its size so far. Each later one lists those before it, so that nobody waits
in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fill.rendezvous import rendezvous_order
from wire.fleet import Appliance, Fleet, Wanted
from wire.ids import ORIGIN_ID, SiteKind
from wire.plan import Source, SourceKind


@dataclass(frozen=True, slots=True)
class Holders:
    """Who has what: `held` now, `planned` from tonight on (both: appliance id → asset ids)."""

    held: Mapping[str, AbstractSet[int]]
    planned: Mapping[str, AbstractSet[int]]


class SourceRanker:
    """Ranks sources for every box of a fleet."""

    def __init__(
        self, fleet: Fleet, holders: Holders, *, elsewhere_max: int, from_embedded: bool
    ) -> None:
        """`elsewhere_max` boxes of other sites are named; ISPs' boxes if `from_embedded`."""
        self._fleet, self._holders, self._elsewhere_max = fleet, holders, elsewhere_max
        self._boxes = {
            box.id: box
            for box in fleet.appliances
            if box.id != ORIGIN_ID and box.state is Wanted.IN_SERVICE
        }
        self._kinds = {site.id: site.kind for site in fleet.sites}
        self._weights = {name: float(box.disk_bytes) for name, box in self._boxes.items()}
        self._mates: dict[str, list[str]] = {site.id: [] for site in fleet.sites}
        for name, box in self._boxes.items():
            self._mates[box.site].append(name)
        self._first = {
            (site, asset): name
            for site, mates in self._mates.items()
            for asset, name in self._fetchers(mates)
        }
        self._lenders = [
            name
            for name, box in self._boxes.items()
            if from_embedded or self._kinds[box.site] is not SiteKind.EMBEDDED
        ]

    def _fetchers(self, mates: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Which of a site's boxes fetches each new asset from outside; in turn, by their sizes."""
        wanting: dict[int, list[str]] = {}
        for name in mates:
            for asset in self._planned(name):
                wanting.setdefault(asset, []).append(name)
        given = dict.fromkeys(mates, 0)
        for asset in sorted(wanting):
            names = wanting[asset]
            if not any(self._keeps(name, asset) for name in names):
                first = min(
                    names,
                    key=lambda name: ((given[name] + 1) / max(self._weights[name], 1.0), name),
                )
                given[first] += 1
                yield asset, first

    def rank(self, box: Appliance, asset: int) -> list[tuple[str, SourceKind]]:
        """Appliance ids to try for `asset`, best first, and how far each one is."""
        mates = [n for n in self._mates[box.site] if n == box.id or asset in self._planned(n)]
        mates = self._order(asset, mates)
        first = self._first.get((box.site, asset))
        if first is not None:
            mates.sort(key=lambda name: name != first)  # stable: the others keep their order
        holding = [n for n in mates if n != box.id and self._keeps(n, asset)]
        ahead = mates[: mates.index(box.id)] if box.id in mates else []
        coming = [n for n in ahead if n not in holding]
        far = [n for n in self._lenders if self._keeps(n, asset)]
        far = [n for n in self._order(asset, far) if self._boxes[n].site != box.site]
        far.sort(key=self._distance)
        ranked = [(name, SourceKind.PEER) for name in (*holding, *coming)]
        ranked += [(name, SourceKind.SITE) for name in far[: self._elsewhere_max]]
        if self._fleet.appliance(ORIGIN_ID):
            ranked.append((ORIGIN_ID, SourceKind.ORIGIN))
        return ranked

    def _distance(self, name: str) -> tuple[bool, int]:
        """An ISP's box serves that ISP first, so it comes after all others elsewhere."""
        kind = self._kinds[self._boxes[name].site]
        return kind is SiteKind.EMBEDDED, kind.preference

    def _order(self, asset: int, names: Iterable[str]) -> list[str]:
        return rendezvous_order(asset, {name: self._weights[name] for name in names})

    def _planned(self, name: str) -> AbstractSet[int]:
        return self._holders.planned.get(name, frozenset())

    def _keeps(self, name: str, asset: int) -> bool:
        return asset in self._holders.held.get(name, frozenset()) and asset in self._planned(name)


class SourceTable:
    """The numbered sources of one plan."""

    def __init__(self, fleet: Fleet) -> None:
        """Empty; sources are numbered in the order in which they are first named."""
        self._fleet = fleet
        self._index: dict[str, int] = {}
        self.sources: list[Source] = []

    def indexes(self, ranked: Sequence[tuple[str, SourceKind]]) -> tuple[int, ...]:
        """The numbers of these sources."""
        return tuple(self._number(name, kind) for name, kind in ranked)

    def _number(self, name: str, kind: SourceKind) -> int:
        if name not in self._index:
            box = self._fleet.appliance(name)
            if box is None:
                raise KeyError(name)
            self._index[name] = len(self.sources)
            self.sources.append(Source(id=name, kind=kind, url=self._fleet.base_url(box)))
        return self._index[name]
