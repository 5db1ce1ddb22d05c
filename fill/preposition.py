"""A plan in force and a few assets more, out of cycle: a copy a site, and what gives way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from fill.generation import BoxSummary
from fill.rendezvous import rendezvous_order
from fill.rows import Action, Rows, joined
from wire.fleet import Fleet, Wanted
from wire.ids import ORIGIN_ID

FIRST = 1e9  # the value of what is to come at once: before all the rest of the box's plan


def with_assets(
    rows: Rows,
    fleet: Fleet,
    boxes: Mapping[str, BoxSummary],
    assets: Mapping[int, tuple[int, int]],
    allowed: Mapping[str, Iterable[int]],
) -> tuple[Rows, dict[str, int]]:
    """The plan with one copy of each asset (id → bytes, family) in every site that has none, and
    the bytes that each box is to fetch for that; boxes that stay as they are are absent.

    A box makes room by letting go of what it values least; `allowed` (site → assets) is what the
    rules permit. Boxes are asked in rendezvous order, those that could never hold it left out.
    """
    names = tuple(dict.fromkeys((*rows.boxes, *(box.id for box in fleet.appliances))))
    rows = rows.on(names, np.arange(len(rows.boxes), dtype=np.int32))
    wanted = rows.action != Action.DROP
    sites = {box.id: box.site for box in fleet.appliances}
    ranges = rows.ranges()
    have: dict[str, set[int]] = {}
    for name, mine in ranges.items():
        held = rows.asset[mine][wanted[mine]]
        have.setdefault(sites.get(name, ""), set()).update(held.tolist())
    coming: dict[str, list[int]] = {}
    for site in fleet.sites:
        mates = {
            box.id: float(boxes[box.id].usable_bytes)
            for box in fleet.at_site(site.id)
            if box.id in boxes and box.state is Wanted.IN_SERVICE
        }
        permitted = set(allowed.get(site.id, ()))
        for asset, (size, family) in assets.items():
            if asset not in permitted or asset in have.get(site.id, ()):
                continue
            fits = (n for n in rendezvous_order(family, mates) if size <= boxes[n].usable_bytes)
            chosen = next(fits, None)
            if chosen is not None:
                coming.setdefault(chosen, []).append(asset)
    if not coming:
        return rows, {}
    parts = [rows.where(~np.isin(rows.box, [names.index(name) for name in coming]))]
    for name, new in coming.items():
        old = rows.where(rows.box == names.index(name))
        parts.append(_changed(old, names, name, {a: assets[a][0] for a in new}, boxes[name]))
    return joined(parts, names), {
        name: sum(assets[asset][0] for asset in new) for name, new in coming.items()
    }


def _changed(
    old: Rows, names: tuple[str, ...], name: str, new: Mapping[int, int], box: BoxSummary
) -> Rows:
    """The rows of one box: the new ones first, then the old ones as far as there is room."""
    old = old.where(~np.isin(old.asset, list(new)))
    room = box.usable_bytes - sum(new.values())
    stays = (np.cumsum(np.where(old.action == Action.DROP, 0, old.bytes)) <= room) & (
        old.action != Action.DROP
    )
    kept, gone = old.where(stays), old.where(~stays & (old.action != Action.FETCH))
    many, origin = len(new), ORIGIN_ID in names
    ones = np.ones(many, np.int32)
    source = np.full(many, names.index(ORIGIN_ID) if origin else 0, np.int32)
    fresh = Rows(
        names,
        ones * np.int32(names.index(name)),
        np.array(list(new), np.int32),
        ones * np.int32(Action.FETCH),
        np.array(list(new.values()), np.int64),
        np.full(many, FIRST),
        np.arange(many, dtype=np.int32),
        ones,
        np.arange(many + 1, dtype=np.int64) if origin else np.zeros(many + 1, np.int64),
        source if origin else source[:0],
        ones > 0,
    )
    both = joined([fresh, kept, _dropped(gone)], names)
    return replace(both, rank=np.arange(len(both), dtype=np.int32))


def _dropped(gone: Rows) -> Rows:
    none = np.zeros(0, np.int32)
    return replace(
        gone,
        action=np.full(len(gone), Action.DROP, np.int32),
        number=np.zeros(len(gone), np.int32),
        start=np.zeros(len(gone) + 1, np.int64),
        source=none,
        outside=np.zeros(len(gone), bool),
    )
