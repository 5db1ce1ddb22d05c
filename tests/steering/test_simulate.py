"""The simulation in small: one region of 200 appliances, what `steering simulate` shows of 50."""

from __future__ import annotations

import json

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
        assert one.overshoot <= 0.12 and one.settle_ttls <= 3, one
    switched = {one.event: one for one in run(SWITCHED, SMALL, TIMES, seed=1)}
    crowd = switched["a crowd arriving"]
    assert crowd.box_turns > 2 * ours[1].box_turns and crowd.peak_box > 1.5, crowd
    told = json.loads(as_json(SMALL, TIMES, ours))
    assert told["appliances"] == 200 and len(told["outcomes"]) == 3


def test_a_scale_that_cannot_be_is_refused() -> None:
    """Before anything is built."""
    done = CliRunner().invoke(main, ["simulate", "--regions", "2", "--struck", "3"])
    assert done.exit_code == 2 and "1 to 50 regions" in done.output
