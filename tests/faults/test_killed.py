"""kill -9 of a whole box amid fill, drop, pull-through and eviction: no wrong byte, ever."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.dying import DyingBox

AIMS = ["fill", "evict", "drop", "start", "fetch", "any"]
"""What it is to be in the middle of when it dies; "any" is a moment drawn by chance."""


SERVING_WITHIN_S = 5.0
BUSY_WITHIN_S = 30.0  # on a machine that runs other tests beside this one


def box(folder: Path, serving_within_s: float) -> DyingBox:
    """By a seed that is printed, or given as KILL_SEED."""
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed}")
    return DyingBox(folder, seed, serving_within_s)


def tell(dying: DyingBox) -> None:
    """What was seen, for whoever reads along."""
    tally = dying.tally
    starts_s = sorted(dying.starts_s)
    middle_s = starts_s[len(starts_s) // 2]
    print(f"{dict(dying.hits)}, serving again after {middle_s:.2f} s, at most {starts_s[-1]:.2f}")
    print(f"{tally.right} answers right to the byte, {tally.cut} cut, {dict(tally.statuses)}")


async def test_killed_in_the_middle_of_everything(tmp_path: Path) -> None:
    """A death each while it fills, evicts and drops."""
    dying = box(tmp_path, BUSY_WITHIN_S)
    await dying.lives(AIMS[:3])
    tell(dying)
    assert dying.tally.right


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_killed_two_hundred_times(tmp_path: Path) -> None:
    """Two hundred deaths, serving again within 5 s; moments that last are hit again and again."""
    dying = box(tmp_path, SERVING_WITHIN_S)
    rounds = int(os.environ.get("KILL_ROUNDS", "200"))
    await dying.lives([AIMS[number % len(AIMS)] for number in range(rounds)])
    tell(dying)
    assert dying.tally.right > 10 * rounds
    for moment in ("filling", "dropping", "evicting", "fetching"):
        assert dying.hits[moment] >= rounds / 20, moment
