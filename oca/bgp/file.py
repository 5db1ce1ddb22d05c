"""The file between `oca routes` and the agent: what is in it, and who keeps it. Pure.

The agent reads it as any file of routes; `hold_s` says for how long it may be believed when nobody
keeps it any more, which the lock beside it tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from oca.bgp.rib import Rib
from oca.bgp.stream import Attributes
from wire.fleet import Asn
from wire.ids import Count
from wire.reports import OriginCode

LOCK_SUFFIX = ".lock"


class KeptRoute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A wire.reports.Route, and which neighbour told it."""

    prefix: str
    as_path: tuple[Asn, ...] = ()
    local_pref: Count = 100
    med: Count = 0
    origin_code: OriginCode = "igp"
    communities: tuple[str, ...] = ()
    neighbor: str = ""


class NeighborState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session, for people: its paths, and how many of them are held over a loss."""

    up: bool
    paths: Count
    held: Count = 0
    refused: str = ""


class RoutesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    version: Literal[1] = 1
    hold_s: float
    neighbors: Mapping[str, NeighborState] = {}
    malformed: Count = 0
    routes: tuple[KeptRoute, ...] = ()


def document(rib: Rib, hold_s: float, malformed: int) -> RoutesDocument:
    """What is written of a table now; `malformed` lines were skipped so far."""
    return RoutesDocument(
        hold_s=hold_s,
        neighbors={
            name: NeighborState(up=one.up, paths=len(one), held=one.held, refused=one.refused)
            for name, one in rib.neighbors.items()
        },
        malformed=malformed,
        routes=tuple(_routes(rib.best())),
    )


def kept(told: RoutesDocument) -> Iterator[tuple[str, str, Attributes]]:
    """What an earlier life wrote, as `Rib.restore` takes it."""
    for route in told.routes:
        attributes = Attributes(
            as_path=route.as_path,
            local_pref=route.local_pref,
            med=route.med,
            origin_code=route.origin_code,
            communities=route.communities,
        )
        yield route.prefix, route.neighbor, attributes


def _routes(best: Iterable[tuple[str, str, Attributes]]) -> Iterator[KeptRoute]:
    for prefix, neighbor, said in best:
        yield KeptRoute(
            prefix=prefix,
            as_path=said.as_path,
            local_pref=said.local_pref,
            med=said.med,
            origin_code=said.origin_code,
            communities=said.communities,
            neighbor=neighbor,
        )
