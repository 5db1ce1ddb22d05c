"""hls.js, dash.js and Shaka in a real browser do what steering says, and outlive their box."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.evening import CLONERS, HOSTS, PLAYERS, Evening, Stage, watch, world
from tests.browser.viewer import Told, Viewer
from tests.e2e.lab import ORIGIN

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

clones = pytest.mark.parametrize("viewer", CLONERS, indirect=True)
cannot_clone = pytest.mark.parametrize("viewer", sorted(set(PLAYERS) - set(CLONERS)), indirect=True)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """One world and one evening for all players and claims."""
    with world(tmp_path_factory.mktemp("evening")) as lab:
        found = asyncio.run(watch(lab))
    for stage in ("drained", "cloned", "left_alone", "died"):
        told: Stage = getattr(found, stage)
        took = {name: round(at_s - told.at_s, 1) for name, at_s in told.reached.items()}
        print(f"{stage} {told.box}, seconds: {took}")
    print("complaints:", found.complaints)
    return found


@pytest.fixture(params=PLAYERS)
def viewer(request: pytest.FixtureRequest, evening: Evening) -> Viewer:
    """One of the players."""
    return evening.viewers[request.param]


def answers(viewer: Viewer, stage: Stage, until: Stage) -> list[Told]:
    """What steering told a viewer when it asked between the beginnings of two stages."""
    asked = [one for one in viewer.told if stage.at_s < one.asked_s < until.at_s]
    return [one for one in asked if one.priorities]


def segments(viewer: Viewer, since_s: float, until_s: float) -> list[str]:
    """The hosts of the segments that a viewer began to ask for between two moments, in order."""
    got = sorted(viewer.got, key=lambda one: one.asked_s)
    return [one.host for one in got if one.is_segment and since_s <= one.asked_s < until_s]


def test_steered_from_a_to_b_by_the_next_answer(evening: Evening, viewer: Viewer) -> None:
    """A is drained: the first answer since names B first, and what is asked for after it (and is
    not on its way already) comes from B."""
    away, towards = evening.listed
    assert viewer.name in evening.drained.reached, viewer.got[-9:]
    told = answers(viewer, evening.drained, evening.cloned)
    assert {one.priorities[0] for one in told} == {towards}, "each answer since the command"
    hosts = segments(viewer, told[0].at_s, evening.cloned.at_s)
    assert HOSTS[towards] in hosts
    assert hosts.count(HOSTS[away]) <= 2, "picture and sound that were wanted at that moment"
    assert HOSTS[away] not in hosts[hosts.index(HOSTS[towards]) + 2 :]


@clones
def test_a_clone_that_no_manifest_lists_serves(evening: Evening, viewer: Viewer) -> None:
    """The third box came by PATHWAY-CLONES alone, and says itself that it served segments."""
    manifest = next(one.text for one in viewer.told if "/v1/play/" in one.url)
    assert HOSTS[evening.clone] not in manifest
    assert viewer.name in evening.cloned.reached, (viewer.told[-1], viewer.got[-9:])
    seen = segments(viewer, evening.cloned.at_s, evening.died.at_s).count(HOSTS[evening.clone])
    assert evening.logged >= seen > 0


@cannot_clone
def test_a_player_that_cannot_clone_goes_on_with_what_it_has(
    evening: Evening, viewer: Viewer
) -> None:
    """Release builds of Shaka do not find clones: it is served by the origin, and never by the
    third box. When Shaka can, this fails, and docs/PLAYERS.md has to be told."""
    assert viewer.name in evening.cloned.reached, (viewer.told[-1], viewer.got[-9:])
    assert HOSTS[evening.clone] not in viewer.segment_hosts()


@clones
def test_a_session_that_is_served_well_is_left_alone(evening: Evening, viewer: Viewer) -> None:
    """A and B are back, as near as the clone: steering names them, but after the clone for whoever
    plays from it, and so neither is asked for anything. (A player on a starved machine may think
    its box slow, and turn to what else has everything; that is its own decision.)"""
    assert viewer.name in evening.left_alone.reached, viewer.told[-1]
    told = answers(viewer, evening.left_alone, evening.died)
    stayed = [one for one in told if one.current == evening.clone]
    assert {one.priorities[0] for one in stayed} == {evening.clone}
    hosts = segments(viewer, evening.left_alone.at_s, stayed[-1].asked_s)
    assert set(hosts) <= {HOSTS[evening.clone], HOSTS[ORIGIN]}


def test_a_player_outlives_the_box_that_serves_it(evening: Evening, viewer: Viewer) -> None:
    """kill -9 of it and of the next best: the film goes on beyond what was buffered, from the box
    that lives, and in the end not from the origin."""
    assert viewer.name in evening.died.reached, (evening.complaints, viewer.got[-9:])
