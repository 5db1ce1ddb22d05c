"""What differs between two configurations, and what that means for the fleet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from steering.policy import Policy, as_dict
from wire.errors import ConflictError
from wire.fleet import Appliance, Fleet, Site, Wanted
from wire.generations import BoxChange, ConfigChange, FieldChange, SiteCapacity
from wire.ids import ORIGIN_ID

LOST_SHARE_MAX = 0.5  # of the boxes in service: a file that was cut in half looks like that


def change(
    before: tuple[Fleet, Policy], after: tuple[Fleet, Policy], restart: Sequence[str] = ()
) -> ConfigChange:
    """What going from one fleet and policy to another changes; not applied yet."""
    old, new = before[0], after[0]
    return ConfigChange(
        generation=0,
        applied=False,
        policy=_fields(as_dict(before[1]), as_dict(after[1])),
        boxes=_entries(old.appliances, new.appliances),
        sites=_entries(old.sites, new.sites) + _whole(old, new),
        capacity=_capacities(before, after),
        restart=tuple(restart),
    )


def check_loss(before: tuple[Fleet, Policy], after: tuple[Fleet, Policy]) -> None:
    """Raise ConflictError when most of what serves now would be gone."""
    serving = _serving(*before)
    left = serving & _serving(*after)
    lost = len(serving) - len(left)
    if lost > LOST_SHARE_MAX * len(serving):
        raise ConflictError(
            f"this takes {lost} of {len(serving)} boxes out of service; if that is meant: --force"
        )


def _serving(fleet: Fleet, policy: Policy) -> set[str]:
    return {box.id for box in fleet.appliances if _capacity_bps(box, policy) > 0}


def _capacity_bps(box: Appliance, policy: Policy) -> int:
    if box.state is not Wanted.IN_SERVICE or box.id == ORIGIN_ID:
        return 0
    return round(box.link_bps * policy.weight_of(box.id, box.site))


def _capacities(
    before: tuple[Fleet, Policy], after: tuple[Fleet, Policy]
) -> tuple[SiteCapacity, ...]:
    """The sites whose boxes or weights change."""
    found = []
    sites = dict.fromkeys([site.id for fleet, _ in (before, after) for site in fleet.sites])
    for name in sites:
        old, new = _site_of(name, *before), _site_of(name, *after)
        if old != new:
            found.append(
                SiteCapacity(
                    site=name,
                    boxes_before=len(old),
                    boxes_after=len(new),
                    before_bps=sum(old.values()),
                    after_bps=sum(new.values()),
                )
            )
    return tuple(found)


def _site_of(site: str, fleet: Fleet, policy: Policy) -> dict[str, int]:
    rated = {box.id: _capacity_bps(box, policy) for box in fleet.at_site(site)}
    return {name: bps for name, bps in rated.items() if bps > 0}


def _entries(
    old: Iterable[Appliance | Site], new: Iterable[Appliance | Site]
) -> tuple[BoxChange, ...]:
    was = {entry.id: msgspec.to_builtins(entry) for entry in old}
    will = {entry.id: msgspec.to_builtins(entry) for entry in new}
    found = [BoxChange(id=name, what="removed") for name in was if name not in will]
    for name, entry in will.items():
        if name not in was:
            found.append(BoxChange(id=name, what="added"))
        elif was[name] != entry:
            found.append(BoxChange(id=name, what="changed", fields=_fields(was[name], entry)))
    return tuple(found)


def _whole(old: Fleet, new: Fleet) -> tuple[BoxChange, ...]:
    """Scheme and port, which are the whole fleet's: told as a change of the origin's site."""
    fields = _fields(
        {"scheme": old.scheme, "port": old.port}, {"scheme": new.scheme, "port": new.port}
    )
    return (BoxChange(id=ORIGIN_ID, what="changed", fields=fields),) if fields else ()


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    names = dict.fromkeys([*old, *new])
    return tuple(
        FieldChange(name=name, before=_text(old.get(name)), after=_text(new.get(name)))
        for name in names
        if old.get(name) != new.get(name)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
