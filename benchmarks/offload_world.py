"""A made-up audience for `make bench-offload`: seeded, and it knows nothing of the planner. Pure.

- Old titles are as popular as those of Netflix's report on January to June 2023: the hours of its
  18,214 titles, thinned out evenly to `titles_old` (half the hours in 4 % of titles, 95 % in 37 %).
  Without the report, quantiles from which its curve is drawn stand in for it (`REPORT`).
- Every day `launches_a_day` titles come out. Together they take `launch_share` of that day's hours
  (1.4 to 3 %); how it falls to each is as heavy-tailed as hours of the titles released in those six
  months. Half of them follow an earlier title, and resemble it. Weeks of age leave what they leave
  in Netflix's weekly Top-10 of 2021 to 2025 (`WEEK_RATIOS`), day by day; and they were coming out
  for ten weeks before the first day, so the first day is as any other.
- Each region, and each site in it, has tastes: a lognormal factor a title (`taste`), which stays.
- A title is films of some length (lognormal); hours ÷ length are its plays. A play streams one of
  three video assets and one of two languages, by shares of its site and of its title, whole.
- Plays are Poisson, `plays_a_day` on average at every site, more at weekends.

A play delivers its assets whole, in random order within the day; sizes differ by a factor of 500.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPORT = (
    (0.0, 8.121e8), (0.0005, 2.2e8), (0.002, 1.03e8), (0.01, 4.35e7), (0.039, 1.61e7),
    (0.1, 6.6e6), (0.15, 4.2e6), (0.25, 2.0e6), (0.372, 9.0e5), (0.5, 4.0e5),
    (0.7, 1.5e5), (1.0, 1e5),
)  # fmt: skip
"""(Share of titles, hours of the title at that rank): read off the 2023-H1 report."""
WEEK_RATIOS = (0.57, 0.475, 0.608, 0.676, 0.704, 0.782, 0.767, 0.831, 0.9, 0.95)
WEEK = 7
OLD_DAYS = WEEK * len(WEEK_RATIOS)
LAUNCH_SHARE_MIN = 0.014  # tastes and dice move it by a tenth or two
LATER_WEEKS = 0.97  # a week, once a title is older than the Top-10 can tell
WEEKDAYS = (0.92, 0.92, 0.94, 0.97, 1.04, 1.12, 1.09)
VIDEO_BPS = (5_000_000, 2_500_000, 800_000)
VIDEO_SHARES = (0.6, 0.3, 0.1)
SOUND_BPS = 128_000
LANGUAGES = 2
SLOTS = len(VIDEO_BPS) + LANGUAGES


@dataclass(frozen=True, slots=True)
class Spec:
    """How large the world is. `warm_days` are counted before the days that are judged."""

    seed: int = 6
    titles_old: int = 4_500
    launches_a_day: int = 3
    regions: int = 2
    sites_per_region: int = 2
    plays_a_day: float = 50_000.0
    warm_days: int = 28
    days: int = 14
    taste_region: float = 0.3
    taste_site: float = 0.3
    taste_asset: float = 0.2

    @property
    def sites(self) -> int:
        """How many sites there are."""
        return self.regions * self.sites_per_region

    @property
    def all_days(self) -> int:
        """Days with plays, those before the first judged day included."""
        return self.warm_days + self.days


@dataclass(frozen=True, slots=True)
class World:
    """The titles, and how often each asset is expected to be played.

    Assets are numbered title by title, SLOTS to each. `launch` is the day a title comes out (day 0
    is the first with plays), below -OLD_DAYS for old ones; `like` the title it follows, or -1.
    """

    spec: Spec
    launch: Ints
    like: Ints
    peak: Floats
    taste: Floats
    split: Floats
    size_bytes: Floats

    def plays(self, day: int) -> Floats:
        """Expected plays of every asset at every site on `day`: sites × assets."""
        age = day - self.launch
        curve = np.where(age >= 0, age_curve(np.maximum(age, 0)), 0.0)
        level = self.peak * np.where(self.launch < -OLD_DAYS, 1.0, curve)
        title = self.taste * level
        total = self.spec.plays_a_day * WEEKDAYS[day % WEEK]
        title *= total / title.sum(axis=1, keepdims=True)
        return (title[:, :, None] * self.split).reshape(self.spec.sites, -1)

    def day(self, day: int) -> Ints:
        """What was really played: sites × assets, Poisson, the same for the same seed."""
        rng = np.random.default_rng((self.spec.seed, 1, day))
        return rng.poisson(self.plays(day))

    def sequence(self, day: int, site: int, counts: Ints) -> Ints:
        """The day's plays at one site, one after the other (indexes of assets)."""
        rng = np.random.default_rng((self.spec.seed, 2, day, site))
        return rng.permutation(np.repeat(np.arange(len(counts)), counts))


def age_curve(age_days: Ints) -> Floats:
    """Demand at an age beside that of the first day."""
    weekly = np.concatenate(([1.0], np.cumprod(WEEK_RATIOS)))
    week, part = np.divmod(np.minimum(age_days, OLD_DAYS), WEEK)
    ratio = np.append(WEEK_RATIOS, 1.0)[week]
    older = LATER_WEEKS ** (np.maximum(age_days - OLD_DAYS, 0) / WEEK)
    return np.asarray(weekly[week] * ratio ** (part / WEEK) * older, dtype=np.float64)


def make_world(spec: Spec, report_hours: Floats | None = None) -> World:
    """The world of a seed; `report_hours` are the report's, in falling order, if it is here."""
    rng = np.random.default_rng((spec.seed, 0))
    hours = _thinned(report_hours, spec.titles_old)
    length_s = 3600 * np.exp(rng.normal(np.log(1.4), 0.5, spec.titles_old))
    launch = np.full(spec.titles_old, -10 * OLD_DAYS, np.int64)
    peak = hours / length_s
    new_launch, new_peak, new_like, new_length = _launches(spec, rng, hours)
    titles = spec.titles_old + len(new_launch)
    length_s = np.concatenate((length_s, new_length))
    return World(
        spec,
        np.concatenate((launch, new_launch)),
        np.concatenate((np.full(spec.titles_old, -1), new_like)),
        np.concatenate((peak, new_peak)),
        _tastes(spec, rng, titles),
        _splits(spec, rng, titles),
        _sizes(length_s),
    )


def _thinned(hours: Floats | None, count: int) -> Floats:
    rank = (np.arange(count) + 0.5) / count
    if hours is not None:
        picked: Floats = hours[(rank * len(hours)).astype(np.int64)]
        return picked
    share, value = np.array(REPORT).T
    return np.asarray(np.exp(np.interp(np.sqrt(rank), np.sqrt(share), np.log(value))), np.float64)


def _launches(
    spec: Spec, rng: np.random.Generator, hours: Floats
) -> tuple[Ints, Floats, Ints, Floats]:
    """Launch day, plays on the first day, predecessor and length of all that come out."""
    days = np.arange(-OLD_DAYS, spec.all_days)
    count = len(days) * spec.launches_a_day
    launch = np.repeat(days, spec.launches_a_day)
    weight = rng.choice(hours[: len(hours) // 10], count)
    like = np.full(count, -1, np.int64)
    for at in range(spec.launches_a_day * WEEK, count):
        if rng.random() < 0.5:
            other = int(rng.integers(0, at - spec.launches_a_day * 3))
            like[at] = spec.titles_old + other
            weight[at] = weight[other] * np.exp(rng.normal(0.0, 0.4))
    grouped = weight.reshape(len(days), spec.launches_a_day)
    share = np.clip(rng.lognormal(np.log(0.018), 0.25, len(days)), LAUNCH_SHARE_MIN, 0.03)
    young = float((age_curve(np.arange(OLD_DAYS)) * 0.018).sum())
    day_hours = float(hours.sum()) / (1.0 - young) * share
    length_s = 3600 * np.exp(rng.normal(np.log(1.4), 0.5, count))
    taken = grouped / grouped.sum(axis=1, keepdims=True) * day_hours[:, None]
    peak = taken.ravel() / length_s
    return launch, peak, like, length_s


def _tastes(spec: Spec, rng: np.random.Generator, titles: int) -> Floats:
    region = rng.normal(0.0, spec.taste_region, (spec.regions, titles))
    site = rng.normal(0.0, spec.taste_site, (spec.sites, titles))
    return np.exp(np.repeat(region, spec.sites_per_region, axis=0) + site)


def _splits(spec: Spec, rng: np.random.Generator, titles: int) -> Floats:
    """Sites × titles × slots: each site's mix times each title's, one video and one language."""
    video = rng.dirichlet(np.array(VIDEO_SHARES) * 20, spec.sites)
    sound = rng.dirichlet(np.full(LANGUAGES, 3.0), spec.sites)
    site = np.concatenate((video, sound), axis=1)
    own = np.exp(rng.normal(0.0, spec.taste_asset, (titles, SLOTS)))
    split = site[:, None, :] * own[None, :, :]
    for part in (slice(0, len(VIDEO_BPS)), slice(len(VIDEO_BPS), SLOTS)):
        split[:, :, part] /= split[:, :, part].sum(axis=2, keepdims=True)
    return split


def _sizes(length_s: Floats) -> Floats:
    rates = np.array([*VIDEO_BPS, *[SOUND_BPS] * LANGUAGES]) / 8.0
    return np.round(length_s[:, None] * rates[None, :]).ravel()
