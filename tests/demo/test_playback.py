"""The scripted player's clock and choices, with faked time."""

from __future__ import annotations

import pytest

from deploy.demo.playback import PENALTY_S, BufferClock, Pathways, Stall


def test_the_film_runs_only_while_something_is_buffered() -> None:
    """Four seconds arrive at 100; at 103 one is left, at 105 playback has stood still for one."""
    clock = BufferClock(buffer_max_s=10.0)
    assert clock.level_s(50.0) == 0.0
    assert clock.stalled_for_s(99.0) == 0.0, "before the first segment nothing plays, so no stall"
    clock.append(4.0, now_s=100.0)
    assert clock.level_s(103.0) == 1.0
    assert clock.position_s(105.0) == 4.0
    assert clock.stalled_for_s(105.0) == 1.0


def test_a_stall_is_recorded_with_its_place_and_length_when_it_ends() -> None:
    """Playback stops at second 4 of the film and goes on 2.5 s later."""
    clock = BufferClock(buffer_max_s=10.0)
    clock.append(4.0, now_s=0.0)
    clock.append(4.0, now_s=6.5)
    assert clock.stalls == [Stall(position_s=4.0, began_s=4.0, duration_s=2.5)]
    assert clock.position_s(7.5) == 5.0


def test_a_segment_in_time_is_no_stall() -> None:
    """The next segment arrives in the last moment: playback runs on."""
    clock = BufferClock(buffer_max_s=10.0)
    clock.append(4.0, now_s=0.0)
    clock.append(4.0, now_s=4.0)
    assert clock.stalls == []
    assert clock.level_s(4.0) == 4.0


def test_never_more_than_the_limit_is_buffered() -> None:
    """With 8 of 10 s full a segment of 4 s has to wait 2 s, and no longer."""
    clock = BufferClock(buffer_max_s=10.0)
    clock.append(8.0, now_s=0.0)
    assert clock.wait_s(4.0, now_s=0.0) == pytest.approx(2.0)
    assert clock.wait_s(4.0, now_s=2.0) == pytest.approx(0.0)


def test_steering_s_order_rules_and_unknown_pathways_are_ignored() -> None:
    """Steering may name a pathway that this manifest does not have."""
    pathways = Pathways(offered=["a1", "x1", "origin"])
    pathways.steer(["new-box", "x1", "a1", "origin"])
    assert pathways.choose(now_s=0.0) == "x1"


def test_without_a_word_from_steering_the_manifest_s_order_rules() -> None:
    """Steering may be away when playback starts."""
    assert Pathways(offered=["a1", "x1"]).choose(now_s=0.0) == "a1"


def test_a_failed_pathway_is_left_alone_for_its_penalty() -> None:
    """Even when steering keeps it first; afterwards it is asked again."""
    pathways = Pathways(offered=["a1", "a2"])
    pathways.steer(["a1", "a2"])
    pathways.penalise("a1", now_s=100.0)
    pathways.steer(["a1", "a2"])
    assert pathways.choose(now_s=100.0 + PENALTY_S - 1) == "a2"
    assert pathways.choose(now_s=100.0 + PENALTY_S) == "a1"


def test_when_all_have_failed_the_oldest_failure_is_tried() -> None:
    """A player never gives up."""
    pathways = Pathways(offered=["a1", "a2"])
    pathways.penalise("a2", now_s=1.0)
    pathways.penalise("a1", now_s=2.0)
    assert pathways.choose(now_s=3.0) == "a2"
