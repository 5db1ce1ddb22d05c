"""What people decided before any figure: pins, bans, licences, launches; a TOML file. Pure.

    [[pin]]                          # always there, copies of it first of all
    titles = ["film"]
    appliances = ["a1"]              # these boxes; or sites / regions with copies = 1
    [[ban]]                          # never there; what is stored is dropped
    titles = ["trailer"]
    regions = ["north"]
    [[licence]]                      # a title with licences is only where and when one holds
    titles = ["film"]
    regions = ["north"]
    from = 2026-11-01
    until = 2026-12-24               # this day included
    [[launch]]                       # so many copies in each site from the day before until a week
    titles = ["premiere"]            # after, whatever the forecast says
    day = 2026-11-22
    copies = 2

Titles, or single `assets` by number; without sites and regions an entry holds everywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from fill.arrays import Flags, Ints, Longs
from wire.codec import convert
from wire.errors import WireError
from wire.fleet import Fleet, Site
from wire.ids import AssetId, SiteId, TitleId

LAUNCH_BEFORE = timedelta(days=1)
LAUNCH_AFTER = timedelta(days=7)


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    titles: tuple[TitleId, ...] = ()
    assets: tuple[AssetId, ...] = ()
    sites: tuple[SiteId, ...] = ()
    regions: tuple[str, ...] = ()

    def at(self, site: Site) -> bool:
        """Whether the entry speaks of this site."""
        everywhere = not self.sites and not self.regions
        return everywhere or site.id in self.sites or site.region in self.regions


class Pin(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assets that stay on `appliances`, or as `copies` in each site named."""

    appliances: tuple[str, ...] = ()
    copies: Annotated[int, Meta(ge=1, le=64)] = 1


class Ban(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assets that are not stored there."""


class Licence(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and when (days, both included) a title may be stored; others do not allow it."""

    start: date = msgspec.field(name="from", default=date.min)
    until: date = date.max


class Launch(_Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new title: `copies` in each site around its `day`; `like`: a title it may do as well as."""

    day: date
    copies: Annotated[int, Meta(ge=1, le=64)] = 1
    like: str = ""


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of the file."""

    pin: tuple[Pin, ...] = ()
    ban: tuple[Ban, ...] = ()
    licence: tuple[Licence, ...] = ()
    launch: tuple[Launch, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteRules:
    """What the rules mean for some assets (by row) in one site: whether they may be there, how many
    copies must be, and (appliance → rows) what is pinned to a box."""

    may: Flags
    floor: Longs
    pinned: Mapping[str, Ints]


def read_rules(raw: bytes, what: str, fleet: Fleet, titles: Mapping[str, Collection[int]]) -> Rules:
    """Read a rules file; raises WireError naming the entry at fault, unknown names included."""
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WireError(what, "", f"this is not TOML: {exc}") from exc
    rules = convert(Rules, tree, what)
    known = {number for numbers in titles.values() for number in numbers}
    sites = {site.id for site in fleet.sites}
    regions = {site.region for site in fleet.sites}
    boxes = {box.id for box in fleet.appliances}
    for kind in ("pin", "ban", "licence", "launch"):
        entries: tuple[_Entry, ...] = getattr(rules, kind)
        for index, entry in enumerate(entries):
            where = f"{kind}[{index}]"
            _known(entry.titles, titles, what, f"{where}.titles", "title in the catalogue")
            _known(entry.assets, known, what, f"{where}.assets", "asset in the catalogue")
            _known(entry.sites, sites, what, f"{where}.sites", "site in the fleet")
            _known(entry.regions, regions, what, f"{where}.regions", "region in the fleet")
            if isinstance(entry, Pin):
                _known(entry.appliances, boxes, what, f"{where}.appliances", "box in the fleet")
            if not entry.titles and not entry.assets:
                raise WireError(what, where, "it names neither titles nor assets")
    return rules


def _known(
    names: Collection[object], known: Collection[object], what: str, where: str, kind: str
) -> None:
    for name in names:
        if name not in known:
            raise WireError(what, where, f"there is no {kind} named {name!r}")


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules for a fleet on one day; `titles` maps a title to its assets."""

    rules: Rules
    titles: Mapping[str, tuple[int, ...]]
    day: date

    def named(self, site: Site) -> set[int]:
        """Assets that must be placed here whether anybody asks for them or not."""
        wanted = [pin for pin in self.rules.pin if pin.appliances or pin.at(site)]
        due = [launch for launch in self.rules.launch if launch.at(site) and self._due(launch)]
        return {asset for entry in (*wanted, *due) for asset in self._assets(entry)}

    def at(self, site: Site, boxes: Collection[str], assets: Ints) -> SiteRules:
        """The rules as arrays over `assets` (rising ids)."""
        may, floor = np.ones(len(assets), bool), np.zeros(len(assets), np.int64)
        for licence in self.rules.licence:
            may[self._rows(licence, assets)] = False
        for licence in self.rules.licence:
            if licence.at(site) and licence.start <= self.day <= licence.until:
                may[self._rows(licence, assets)] = True
        for ban in self.rules.ban:
            if ban.at(site):
                may[self._rows(ban, assets)] = False
        pinned: dict[str, list[Ints]] = {}
        for pin in self.rules.pin:
            rows = self._rows(pin, assets)
            for name in pin.appliances:
                if name in boxes and len(rows):
                    pinned.setdefault(name, []).append(rows)
            if not pin.appliances and pin.at(site):
                floor[rows] = np.maximum(floor[rows], pin.copies)
        for launch in self.rules.launch:
            if launch.at(site) and self._due(launch):
                rows = self._rows(launch, assets)
                floor[rows] = np.maximum(floor[rows], launch.copies)
        return SiteRules(may, floor, {name: np.concatenate(r) for name, r in pinned.items()})

    def _due(self, launch: Launch) -> bool:
        return launch.day - LAUNCH_BEFORE <= self.day <= launch.day + LAUNCH_AFTER

    def _assets(self, entry: _Entry) -> list[int]:
        found = [asset for title in entry.titles for asset in self.titles.get(title, ())]
        return [*found, *entry.assets]

    def _rows(self, entry: _Entry, assets: Ints) -> Ints:
        wanted = np.array(sorted(set(self._assets(entry))), np.int64)
        at = np.searchsorted(assets, wanted)
        inside = at < len(assets)
        at, wanted = at[inside], wanted[inside]
        return np.asarray(at[assets[at] == wanted], np.int32)
