"""hls.js, dash.js and Shaka in a real browser do what steering says, and outlive their box."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.evening import CLONERS, HOSTS, PLAYERS, Evening, Stage, watch, world
from tests.browser.viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ON_ITS_WAY_S = 0.5

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


def answered_s(viewer: Viewer, stage: Stage, first: str) -> float:
    """When steering first told a viewer, after a stage began, to go to a box."""
    return next(
        one.at_s for one in viewer.told if one.at_s > stage.at_s and one.priorities[:1] == [first]
    )


def test_steered_from_a_to_b_by_the_next_answer(evening: Evening, viewer: Viewer) -> None:
    """A is drained: the first answer since names B first, and what is asked for after it (and is
    not on its way already) comes from B."""
    away, towards = evening.listed
    assert viewer.name in evening.drained.reached, viewer.got[-9:]
    since_s = answered_s(viewer, evening.drained, towards)
    # What was on its way at the very moment of the command may still say otherwise.
    told = [one for one in viewer.told if evening.drained.at_s + ON_ITS_WAY_S < one.at_s <= since_s]
    assert {one.priorities[0] for one in told} <= {towards}, "the first answer after the command"
    until_s = evening.cloned.at_s
    hosts = [got.host for got in viewer.got if got.is_segment and since_s <= got.asked_s < until_s]
    assert HOSTS[towards] in hosts
    assert hosts.count(HOSTS[away]) <= 2, "picture and sound that were wanted at that moment"
    assert HOSTS[away] not in hosts[hosts.index(HOSTS[towards]) + 2 :]


@clones
def test_a_clone_that_no_manifest_lists_serves(evening: Evening, viewer: Viewer) -> None:
    """The third box came by PATHWAY-CLONES alone, and says itself that it served segments."""
    manifest = next(one.text for one in viewer.told if "/v1/play/" in one.url)
    assert HOSTS[evening.clone] not in manifest
    assert viewer.name in evening.cloned.reached, (viewer.told[-1], viewer.got[-9:])
    hosts = [
        got.host
        for got in viewer.got
        if got.is_segment and evening.cloned.at_s < got.asked_s < evening.died.at_s
    ]
    seen = hosts.count(HOSTS[evening.clone])
    assert evening.logged[evening.clone] >= seen > 0


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
    """A and B are back, as near as the clone: steering names them, and nobody moves."""
    assert viewer.name in evening.left_alone.reached, viewer.told[-1]
    moved = [
        got.host
        for got in viewer.got
        if got.is_segment and evening.left_alone.at_s < got.asked_s < evening.died.at_s - 0.5
    ]
    assert set(moved) == {HOSTS[evening.clone]}


def test_a_player_outlives_the_box_that_serves_it(evening: Evening, viewer: Viewer) -> None:
    """kill -9 of it and of the next best: the film goes on beyond what was buffered, from the box
    that lives, and in the end not from the origin."""
    assert viewer.name in evening.died.reached, (evening.complaints, viewer.got[-9:])
    hosts = viewer.segment_hosts(evening.died.at_s)
    assert hosts[-1] == HOSTS[evening.listed[1]], hosts
