"""kill -9 of any process at any moment of fill and play: no wrong byte, nothing partial, healed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.processes import Crew
from tests.e2e.audience import Audience
from tests.e2e.lab import HEARTBEAT_S, ORIGIN, Box, Lab, Site, synthetic

TITLES = 40
FILE_BYTES = (300_000, 5_000, 0)
HEALED_WITHIN_S = 3 * HEARTBEAT_S
BUSY_WITHIN_S = 30.0  # on a machine that runs other tests beside this one
STARTING_S = 30.0  # a Python process on a loaded machine; not part of the healing


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two boxes in an ISP and one at an exchange, each with room for half of what there is."""
    media = tmp_path / "media"
    synthetic(media, TITLES, FILE_BYTES)
    half = TITLES * sum(FILE_BYTES) // 2
    sites = (Site("isp-a", "embedded", ("127.16.0.0/16",)), Site("ix", "ix", ("127.16.0.0/16",)))
    boxes = (
        Box("a1", "isp-a", "127.11.2.1", half),
        Box("a2", "isp-a", "127.11.2.2", half),
        Box("x1", "ix", "127.13.2.1", half),
    )
    with Crew(tmp_path / "logs") as crew:
        lab = Lab(tmp_path, media, sites, boxes, crew)
        lab.start()
        yield lab


def new_night(lab: Lab, rng: random.Random) -> None:
    """A new demand, so that boxes have to fetch and to drop."""
    assets = [asset.id for asset in lab.catalogue().assets]
    rng.shuffle(assets)
    lab.demand(
        (home, asset, 10_000_000_000 // (rank + 1))
        for home in ("isp-a", "ix")
        for rank, asset in enumerate(assets)
    )
    lab.plan("--force")


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def kill_something(lab: Lab, rng: random.Random) -> tuple[str, str]:
    """`kill -9` of a whole service, or of one worker or agent in a box; (name, what)."""
    name = rng.choice(sorted(lab.crew.processes))
    process = lab.crew.processes[name]
    parts = children(process.pid) if name not in ("fill", "steering") else []
    if parts and rng.random() < 0.6:
        victim = rng.choice(parts)
        words = Path(f"/proc/{victim}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        os.kill(victim, signal.SIGKILL)
        return name, "worker" if " worker" in words else "agent"
    process.kill()
    return name, "all of it"


def faults_on_disk(lab: Lab, box: Box) -> list[str]:
    """Every visible file that is not, to the byte, the catalogue's."""
    faults = []
    by_id = {asset.id: asset for asset in lab.catalogue().assets}
    for asset_id in sorted(lab.held(box)):
        for file in by_id[asset_id].files:
            path = lab.store_of(box) / "a" / str(asset_id) / file.name
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                if path.parent.exists():
                    faults.append(f"{path} is missing from a visible asset")
                continue
            if digest != file.sha256:
                faults.append(f"{path} is visible and wrong")
    return faults


def a_round(lab: Lab, rng: random.Random, healed_within_s: float) -> str:
    """Plan, wait a random moment, kill, start again; returns who died and how long healing took."""
    if rng.random() < 0.7:
        new_night(lab, rng)
    time.sleep(rng.random())
    lives = {box.id: lab.lives(box.id) for box in lab.everyone}
    name, what = kill_something(lab, rng)
    lab.crew.restart(name)
    began_s = time.monotonic()
    life = lives.get(name, 0) + (what != "worker")
    lab.wait(lambda: is_up(lab, name, life), STARTING_S, f"{name} is up again")
    up_s = time.monotonic()
    lab.wait(
        lambda: is_healed(lab, name, began_s), healed_within_s, f"the view heals after {name} died"
    )
    healed_s = time.monotonic()
    return f"{name} ({what}): up in {up_s - began_s:.1f} s, healed in {healed_s - up_s:.1f} s"


def is_up(lab: Lab, name: str, life: int) -> bool:
    """Whether a service answers again; a box also needs an agent that has begun this life."""
    if name == "steering":
        return lab.view() is not None
    if name == "fill":
        return lab.answers(lab.fill)
    box = next(box for box in lab.everyone if box.id == name)
    return lab.answers(f"{box.host}:{lab.port}") and lab.lives(name) >= life


def is_healed(lab: Lab, name: str, began_s: float) -> bool:
    """Whether steering has heard every box, the killed one since it was started again, and knows
    what each of them holds."""
    view = lab.view()
    silent_s = {box.appliance: box.silent_s for box in view.boxes} if view else {}
    mine_s = silent_s.get(name, 0.0)
    spoken = mine_s is not None and mine_s < time.monotonic() - began_s
    return spoken and lab.all_fresh() and lab.known_held()


def rounds(lab: Lab, count: int, healed_within_s: float) -> None:
    """`count` rounds under an audience that checks every byte. The seed is printed, and can be
    given as KILL_SEED."""
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    rng = random.Random(seed)
    print(f"seed {seed}")
    new_night(lab, rng)
    lab.wait(lambda: lab.all_fresh() and lab.known_held(), 60, "every box seen by steering")
    with Audience(lab, "127.16.5.5") as audience:
        for number in range(count):
            told = a_round(lab, rng, healed_within_s)
            print(f"round {number + 1}: {told}; {dict(audience.seen)}", flush=True)
            faults = [fault for box in lab.boxes for fault in faults_on_disk(lab, box)]
            assert not faults, faults
            assert not audience.wrong, audience.wrong
    assert audience.seen["right"] > 20 * count, "the audience was served all the time"
    leftovers = [p for box in lab.boxes for p in lab.store_of(box).glob("a/*/*.part")]
    assert not leftovers
    assert ORIGIN in lab.crew.processes


@pytest.mark.timeout(300)
def test_killed_at_random_moments_nothing_wrong_is_served_and_the_view_heals(lab: Lab) -> None:
    """Twenty rounds."""
    rounds(lab, 20, BUSY_WITHIN_S)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_rounds_of_it(lab: Lab) -> None:
    """Two hundred, and each is healed within three heartbeats."""
    rounds(lab, 200, HEALED_WITHIN_S)
