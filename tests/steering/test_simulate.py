"""The simulation in small: one region of 200 appliances, what `steering simulate` shows of 50."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from steering.cli import main
from steering.simulate import OURS, SWITCHED, Times
from steering.simulate_world import Scale
from steering.simulating import as_json, run

SMALL = Scale(regions=1, struck=1, groups=40)
TIMES = Times(dark_s=20, event_s=120, crowd_s=180, end_s=520)


def test_ours_comes_to_rest_where_switching_thresholds_swing() -> None:
    """A box lost, a crowd, a site back: no more than a tenth too much, settled within 3 TTLs."""
    ours = run(OURS, SMALL, TIMES, seed=1)
    assert [one.event for one in ours] == ["a box lost", "a crowd arriving", "a site back"]
    for one in ours:
        assert one.overshoot <= 0.10 and one.settle_ttls <= 3, one
    switched = {one.event: one for one in run(SWITCHED, SMALL, TIMES, seed=1)}
    crowd = switched["a crowd arriving"]
    assert crowd.box_turns > 2 * ours[1].box_turns and crowd.peak_box > 1.5, crowd
    told = json.loads(as_json(SMALL, TIMES, ours))
    assert told["appliances"] == 200 and len(told["outcomes"]) == 3


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("regions", "groups", "ttl_s", "beat_s", "seed"),
    [
        (4, 100, 60, 10, 1),
        (20, 100, 60, 10, 2),
        (50, 100, 60, 10, 3),
        (20, 40, 60, 10, 4),
        (8, 400, 60, 10, 5),
        (8, 100, 30, 10, 6),
        (8, 100, 120, 10, 7),
        (8, 100, 60, 5, 8),
        (8, 100, 60, 20, 9),
    ],
)
def test_ours_is_calm_over_a_spread_of_scenarios(
    monkeypatch: pytest.MonkeyPatch, regions: int, groups: int, ttl_s: int, beat_s: int, seed: int
) -> None:
    """Every region struck; few viewers and many, short and long TTLs, lazy and busy heartbeats."""
    monkeypatch.setattr("steering.simulate.HEARTBEAT_S", beat_s)
    monkeypatch.setattr("steering.simulate_world.ISPS", 3)
    times = Times(
        dark_s=2 * beat_s, event_s=2 * beat_s + 3 * ttl_s, crowd_s=3 * ttl_s,
        end_s=2 * beat_s + 11 * ttl_s,
    )  # fmt: skip
    mode = replace(OURS, policy=replace(OURS.policy, ttl_s=ttl_s))
    for one in run(mode, Scale(regions, regions, groups), times, seed):
        assert one.is_calm, one


def test_a_scale_that_cannot_be_is_refused() -> None:
    """Before anything is built."""
    done = CliRunner().invoke(main, ["simulate", "--regions", "2", "--struck", "3"])
    assert done.exit_code == 2 and "1 to 50 regions" in done.output
