"""Sites fill in their own hours, at their own places: what opens later is scheduled later."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace as with_

from fill.hours import Hours, length_s, spans_of
from fill.rows import Action
from fill.schedule import Schedule, schedule
from fill.sitework import fill_bytes
from tests.fill.ground import Ground
from tests.fill.test_schedule import KNOBS, fleet, planned
from wire.fleet import Fleet

HOUR = 3_600


def with_windows(world: Fleet, **windows: tuple[str, str]) -> Fleet:
    """The fleet with windows and time zones for some sites (`-` written `_`)."""
    told = {name.replace("_", "-"): each for name, each in windows.items()}
    return with_(
        world,
        sites=tuple(
            with_(site, window=told[site.id][0], timezone=told[site.id][1])
            if site.id in told
            else site
            for site in world.sites
        ),
    )


def at(text: str) -> int:
    """Unix seconds of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


WORLD = with_windows(
    fleet(),
    isp_0=("02:00-04:00", "Europe/Paris"),
    isp_1=("02:00-04:00", "America/New_York"),
    exchange=("23:00-01:00", ""),
)


def test_windows_open_by_the_clock_of_their_place() -> None:
    """Two o'clock in Paris is one in UTC in winter, in New York seven; one that spans midnight."""
    assert spans_of(WORLD, at("2026-01-15T00:00")) == {
        "isp-0": ((1 * HOUR, 3 * HOUR),),
        "isp-1": ((7 * HOUR, 9 * HOUR),),
        "exchange": ((0, 1 * HOUR), (23 * HOUR, 24 * HOUR)),
    }


@pytest.mark.parametrize(
    ("day", "window", "hours"),
    [
        ("2026-03-28T22:00", "01:00-05:00", 3),  # clocks go from two to three
        ("2026-03-28T22:00", "02:00-03:00", 0),  # an hour that is not there
        ("2026-10-24T22:00", "01:00-05:00", 5),
        ("2026-10-24T22:00", "02:00-03:00", 2),  # and one that is there twice
        ("2026-06-01T22:00", "", None),
    ],
)
def test_a_night_when_clocks_change_is_as_long_as_it_is(
    day: str, window: str, hours: int | None
) -> None:
    """What a box may fetch that night follows; without a window it is the knob's."""
    world = with_windows(fleet(), isp_0=(window, "Europe/Paris" if window else ""))
    spans = spans_of(world, at(day)).get("isp-0")
    assert (None if spans is None else length_s(spans)) == (None if hours is None else hours * HOUR)
    box = world.at_site("isp-0")[0]
    seconds = KNOBS.window_s if hours is None else hours * HOUR
    assert fill_bytes(box, KNOBS, spans) == KNOBS.fill_bps * seconds // 8


def starts_s(timed: Schedule, world: Fleet) -> dict[str, tuple[float, float]]:
    """Site → seconds from the start of its first slot to the end of its last."""
    site = {box.id: box.site for box in world.appliances}
    of = np.array([site[name] for name in timed.rows.boxes])[timed.rows.box[timed.row]]
    return {
        str(name): (
            float(timed.slot[of == name].min()) * timed.slot_s,
            float(timed.slot[of == name].max() + 1) * timed.slot_s,
        )
        for name in np.unique(of)
    }


def test_every_site_is_scheduled_within_its_own_hours() -> None:
    """Nothing is pulled outside them (to a slot), first copies and neighbours' alike; all is done
    as soon as the last window allows."""
    rows, _ = planned(WORLD, 100, hot=20)
    spans = spans_of(WORLD, at("2026-01-15T00:00"))
    timed = schedule(WORLD, KNOBS, rows, windows=spans)
    assert not len(timed.late)
    assert timed.bytes.sum() == rows.bytes[rows.action == Action.FETCH].sum()
    slot = timed.slot_s
    found = starts_s(timed, WORLD)
    for name in ("isp-0", "isp-1"):
        ((opens, closes),) = spans[name]
        assert opens - slot <= found[name][0] < found[name][1] <= closes + slot
    assert 7 * HOUR < timed.bound_s <= timed.makespan_s <= timed.bound_s + 3 * slot


def test_what_a_short_window_does_not_hold_is_late() -> None:
    """A minute a night: told with what is missing, and the other sites are as before."""
    world = with_windows(WORLD, isp_0=("02:00-02:01", "Europe/Paris"))
    rows, _ = planned(world, 100)
    timed = schedule(world, KNOBS, rows, windows=spans_of(world, at("2026-01-15T00:00")))
    site = {box.id: box.site for box in world.appliances}
    assert {site[rows.boxes[box]] for box in rows.box[timed.late].tolist()} == {"isp-0"}
    assert 0 < timed.left.sum() < rows.bytes[rows.action == Action.FETCH].sum()


def test_without_windows_a_night_is_what_it_was() -> None:
    """Windows that are all open from now on are no other schedule."""
    world = fleet()
    rows, _ = planned(world, 60, hot=10)
    plain = schedule(world, KNOBS, rows)
    opened = {site.id: ((0, KNOBS.window_s),) for site in world.sites}
    same = schedule(world, KNOBS, rows, windows=opened)
    assert plain.bound_s == same.bound_s
    assert plain.makespan_s <= same.makespan_s <= plain.makespan_s + same.slot_s
    assert plain.bytes.sum() == same.bytes.sum() == rows.bytes[rows.action == Action.FETCH].sum()


def test_a_box_is_done_when_its_hours_have_summed_up() -> None:
    """Half of it before midnight, the rest in the next span; nothing to pull takes no time."""
    hours = Hours.of([((0, 100), (500, 900)), ((200, 300),)])
    assert hours.done_s(np.array([150.0, 0.0])) == 550
    assert hours.done_s(np.array([0.0, 40.0])) == 240
    assert hours.done_s(np.zeros(2)) == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('window = "02:00-02:00"', "site[0].window: '02:00-02:00' is not a window"),
        ('window = "2-4"', "site[0].window: '2-4' is not a window"),
        (
            'window = "02:00-04:00"\ntimezone = "Mars/X"',
            "site[0].timezone: 'Mars/X' is no time zone",
        ),
        ('timezone = "Europe/Paris"', "site[0].window: there is a timezone and no window"),
    ],
)
def test_a_window_that_is_none_is_told_with_its_site(ground: Ground, line: str, told: str) -> None:
    """By `fill plan`, with the fleet file, the entry and the field; nothing is published."""
    ground.falling_demand(ground.synthetic(3))
    path = ground.folder / "fleet.toml"
    path.write_text(path.read_text().replace('kind = "embedded"', f'kind = "embedded"\n{line}', 1))
    done = ground.fill("plan", check=False)
    assert done.returncode == 1
    assert f"fleet.toml: {told}" in done.stderr


def test_the_night_tells_hours_from_the_plan_on(ground: Ground) -> None:
    """With a window, "after the window opens" would be a riddle where there are several."""
    ground.falling_demand(ground.synthetic(12))
    path = ground.folder / "fleet.toml"
    line = 'window = "02:00-14:00"\ntimezone = "Asia/Tokyo"'
    path.write_text(path.read_text().replace('kind = "embedded"', f'kind = "embedded"\n{line}', 1))
    told = ground.fill("plan").stdout
    assert "after the plan, in the sites' own windows" in told
    assert "will not make it" not in told
