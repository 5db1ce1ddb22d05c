"""When and how fast a box may fill, pure: rate, window, budgets, courtesy to viewers."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from oca.agent.bucket import Bucket
from oca.agent.budget import Spent, grown, left_bytes, turned
from oca.agent.courtesy import Feel, Targets, next_limit_bps
from oca.agent.progress import Meter
from oca.agent.purse import Purse
from wire.errors import WireError
from wire.window import Window, parse_window

# --- rate and window -----------------------------------------------------------------------------


def test_a_rate_holds_over_a_minute_within_three_percent() -> None:
    """Whatever the sizes in which bytes come."""
    rng, now_s, total = random.Random(1), 0.0, 0
    bucket = Bucket(80_000_000, 0)
    while now_s < 60:
        count = rng.randrange(1, 300_000)
        total += count
        now_s += bucket.take(count, now_s) + rng.random() * 0.001
    assert abs(total * 8 / now_s / 80_000_000 - 1) < 0.03


def unix_s(text: str, zone: str = "UTC") -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_windows_may_span_midnight() -> None:
    """[from, to), minutes of the local day."""
    night = parse_window("22:00-06:00", "UTC", "w")
    day = "2026-11-22T"
    assert night.is_open(unix_s(day + "23:00")) and night.is_open(unix_s(day + "00:00"))
    assert not night.is_open(unix_s(day + "06:00"))
    assert night.opens_in_min(unix_s(day + "21:00")) == 60
    assert night.opens_in_min(unix_s(day + "00:05")) == 0
    always = parse_window("", "", "w")
    assert all(always.is_open(hour * 3600) for hour in range(24))
    for bad in ("2-3", "25:00-03:00", "02:61-03:00", "02:00-02:00", "always"):
        with pytest.raises(WireError, match="window"):
            parse_window(bad, "", "w")


def test_a_window_is_in_the_places_own_time() -> None:
    """Two in the morning in Tokyo is not two in the morning here; and summer time is kept."""
    tokyo = parse_window("02:00-14:00", "Asia/Tokyo", "w")
    assert tokyo.is_open(unix_s("2026-11-21T18:00"))
    assert not tokyo.is_open(unix_s("2026-11-22T06:00"))
    paris = parse_window("02:00-14:00", "Europe/Paris", "w")
    assert paris.is_open(unix_s("2026-07-01T00:30"))
    assert not paris.is_open(unix_s("2026-12-01T00:30"))
    with pytest.raises(WireError, match="time zone"):
        parse_window("", "Mars/Olympus", "w")


def test_a_night_keeps_its_name_past_midnight() -> None:
    """The night is the day on which its window opened, until it opens again."""
    night = parse_window("22:00-06:00", "UTC", "w")
    assert night.night(unix_s("2026-11-22T23:00")) == "2026-11-22"
    assert night.night(unix_s("2026-11-23T05:59")) == "2026-11-22"
    assert night.night(unix_s("2026-11-23T22:00")) == "2026-11-23"
    assert Window().night(unix_s("2026-11-23T12:00")) == "2026-11-23"


def test_budgets_of_plan_and_night_both_hold() -> None:
    """Another plan has its own budget, another night a new one, and the operator's bounds both."""
    spent = grown(turned(Spent(), "n1", 4), 70)
    assert left_bytes(spent, 100, 0) == 30
    assert left_bytes(spent, 100, 80) == 10
    replanned = turned(spent, "n1", 5)
    assert left_bytes(replanned, 100, 0) == 100 and left_bytes(replanned, 100, 80) == 10
    assert left_bytes(turned(replanned, "n2", 5), 100, 80) == 80
    assert left_bytes(grown(spent, 1000), 100, 0) == 0


def test_what_a_killed_box_spent_is_not_given_again(tmp_path: Path) -> None:
    """The book runs ahead of the spending, by at most a hundredth of the budget."""
    purse = Purse(tmp_path, 0)
    purse.turn("n1", 4, 1_000_000)
    purse.took(500_000)
    purse.keep(ahead=True)
    purse.took(3_000)  # and killed before it is written down
    again = Purse(tmp_path, 0)
    again.turn("n1", 4, 1_000_000)
    assert 490_000 <= again.left_bytes() <= 497_000
    again.turn("n2", 4, 1_000_000)
    assert again.left_bytes() == 1_000_000


# --- courtesy ------------------------------------------------------------------------------------

TARGETS = Targets(answer_s=0.05, disk_s=0.1)


def test_fill_takes_what_it_can_while_nobody_watches() -> None:
    """A slow disk or worker alone is no reason: the night is short."""
    assert next_limit_bps(0, Feel(0, 8e8, 1e9, 1.0, 1.0), TARGETS) == 0
    assert next_limit_bps(1e8, Feel(0, 8e8, 1e9, 1.0, 1.0), TARGETS) == 0


@pytest.mark.parametrize("feel", [Feel(5e8, 8e8, 1e9, 0.06), Feel(5e8, 8e8, 1e9, 0.0, 0.2),
                                  Feel(9.5e8, 8e8, 1e9, 0.0)])  # fmt: skip
def test_fill_yields_when_viewers_lack_something(feel: Feel) -> None:
    """Halved at every look that finds workers, disk or link short, down to a floor."""
    limit_bps = next_limit_bps(0, feel, TARGETS)
    assert limit_bps == 4e8
    for _ in range(10):
        limit_bps = next_limit_bps(limit_bps, feel, TARGETS)
    assert 1e7 < limit_bps < 3e7


def test_fill_comes_back_slowly_and_ends_without_a_limit() -> None:
    """Not faster than a doubling in five looks; when the limit limits nothing it goes."""
    limit_bps, steps = 1e8, 0
    while limit_bps:
        raised = next_limit_bps(limit_bps, Feel(5e8, 2e8, 1e9, 0.001, 0.01), TARGETS)
        assert raised < 1.2 * limit_bps
        limit_bps, steps = raised, steps + 1
    assert 5 < steps < 40


def test_a_meter_follows_the_rate() -> None:
    """Steady bytes show as their rate, from the first second on, and a stall shows soon."""
    meter = Meter(0.0)
    for tick in range(1, 101):
        meter.add(125_000, tick / 10)
        if tick > 5:
            assert abs(meter.bps(tick / 10) / 1e7 - 1) < 0.25
    assert meter.bps(20.0) < 1e6
