"""Every knob of `fill`, with its unit, bounds, default and reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wire.knobs import knob, required

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandKnobs:
    """Where demand comes from, and how much of it is looked at."""

    use: Literal["history", "files", "both"] = knob(
        "history", why="Events are what was really watched; files start a fleet, or replace them."
    )
    files: tuple[str, ...] = knob((), why="CSV files with the header day,home,asset,bytes.")
    days: int = knob(
        28, low=1, high=90, why="Four weeks show weekdays, ages and small sites; older days do not."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanKnobs:
    """How disks, links and the night are valued."""

    reserve_share: float = knob(
        0.1, low=0.0, high=0.9, why="Disk kept free: incoming files stand beside what they replace."
    )
    window_s: int = knob(
        43_200, low=1, high=DAY_S, why="Fill window; 02:00-14:00 local is when few people watch."
    )
    fill_bps: int = knob(
        1_200_000_000, low=1_000, high=10**13, why="What a box may pull: peak-hour links are dear."
    )
    fill_link_share: float = knob(
        0.5, low=0.01, high=1.0, why="A box goes on serving while it fills."
    )
    repay_days: float = knob(
        365.0, low=0.1, high=36_500, why="A fetched byte must be asked for within so many days."
    )
    away_share: float = knob(
        0.02, low=0.0, high=1.0, why="Share of time a box is away: what second copies are worth."
    )
    copy_link_share: float = knob(
        0.5, low=0.01, high=1.0, why="Share of a box's link that one asset may take at its peak."
    )
    caution: float = knob(
        0.1, low=0.0, high=3.0, why="Standard deviations of demand that a fetch is marked down by."
    )
    peak_factor: float = knob(
        3.0, low=1.0, high=100.0, why="Busiest minutes of a day over its mean."
    )
    sites_as_sources_max: int = knob(
        3, low=0, high=16, why="Boxes elsewhere to try before the origin; more only delay a fault."
    )
    fill_from_embedded: bool = knob(
        False, why="An ISP's box fills others only if that ISP agreed to carry it."
    )
    life_s: int = knob(
        7 * DAY_S, low=60, high=365 * DAY_S, why="A box that missed nights is not wrong for ever."
    )
    out_of_window: bool = knob(False, why="Lets boxes fill at any hour: for labs and turn-ups.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeKnobs:
    """When a plan is too different from the last one to be published without --force."""

    drop_share: float = knob(
        0.2, low=0.0, high=1.0, why="Bytes of a box dropped at once; agents refuse 25 %."
    )
    offload_loss: float = knob(
        0.05, low=0.0, high=1.0, why="Planned offload lost by a site: a broken input looks so."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FillConfig:
    """The configuration file of `fill` (TOML). Relative paths start at the file's folder."""

    catalogue: str = required("The catalogue.json that `fill catalogue DIR` wrote.")
    fleet: str = required("The fleet file (TOML).")
    state: str = required("Folder of fill's own data: history, inventories, plans.")
    signing_key: str = required("Private key (PEM, Ed25519) that signs plans: fill keygen FILE.")
    kid: str = knob("fill", why="Name of the signing key; appliances look it up, so keys rotate.")
    listen: str = knob("127.0.0.1:18090", why="Where appliances and steering reach fill serve.")
    admin_listen: str = knob("127.0.0.1:9482", why="Metrics and reports: never on the public side.")
    former_keys: Mapping[str, str] = knob(
        {}, why="Public halves of former signing keys, by kid: their purge list still holds."
    )
    steering_keys: Mapping[str, str] = knob(
        {}, why="Public keys of steering replicas, by their `kid`: they may read the titles."
    )
    behind: Mapping[str, tuple[str, ...]] = knob(
        {}, why="Site -> nearer sites whose unmet demand it takes; without an entry, all of them."
    )
    rules: str = knob("", why="TOML file of pins, bans, licences and launches (fill.rules).")
    keep_generations: int = knob(
        30, low=2, high=10_000, why="A month of nights to diff with and roll back to."
    )
    keep_days: int = knob(
        120, low=2, high=10_000, why="Counts per day: a season to forecast from, and no more."
    )
    keep_minutes_days: int = knob(
        8, low=1, high=1_000, why="Counts per minute are for reports on the week, and are many."
    )
    demand: DemandKnobs = field(default_factory=DemandKnobs)
    plan: PlanKnobs = field(default_factory=PlanKnobs)
    brakes: BrakeKnobs = field(default_factory=BrakeKnobs)
