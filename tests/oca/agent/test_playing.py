"""What players said reaches fill once, in sums, by asset, home site and minute."""

from __future__ import annotations

import asyncio
from pathlib import Path

from oca.agent.outbox import Outbox
from oca.agent.playing import summarise
from oca.http.cmcd import Cmcd
from oca.playback import Playback, Ring, read_rings
from oca.reasons import SLOT_NAMES
from tests.oca.agent.world import World, eventually
from wire.events import Played, Said

MINUTE = 28_000_000


def player(run_dir: Path, worker: int) -> Playback:
    """A worker's side."""
    slots = memoryview(bytearray(8 * len(SLOT_NAMES))).cast("q")
    return Playback(slots, Ring(run_dir, worker))


def speak(run_dir: Path) -> None:
    """Two sessions of one asset, one of them with two workers, and one session of another asset."""
    first, second = player(run_dir, 0), player(run_dir, 1)
    first.note(Cmcd(sid="a", br=2000, bl=4000), (7, "isp-a"), MINUTE)
    second.note(Cmcd(sid="a", br=4000, bs=True), (7, "isp-a"), MINUTE)
    second.note(Cmcd(sid="b", su=True), (7, "isp-a"), MINUTE)
    first.note(Cmcd(mtp=9000), (8, ""), MINUTE)


WANTED = {
    Played(
        asset=7,
        home="isp-a",
        minute=MINUTE,
        sessions=2,
        requests=3,
        starved=1,
        startups=1,
        bitrate_kbps=Said(sum=6000, count=2),
        buffer_ms=Said(sum=4000, count=1),
    ),
    Played(
        asset=8,
        home="",
        minute=MINUTE,
        sessions=0,
        requests=1,
        throughput_kbps=Said(sum=9000, count=1),
    ),
}


def test_sessions_are_counted_and_not_named(tmp_path: Path) -> None:
    """One session that two workers served is one; who named none is no session."""
    speak(tmp_path)
    rows = [row for news in read_rings(tmp_path, {}, MINUTE + 1) for row in news.rows]
    assert set(summarise(rows)) == WANTED


async def test_fill_is_told_once_across_an_agents_lives(tmp_path: Path) -> None:
    """Through the agent's own loops; its next life sends nothing again, and goes on from there."""
    world = World(tmp_path)
    world.run_dir.mkdir(parents=True, exist_ok=True)
    speak(world.run_dir)
    world.fill.publish(world.wanting(1))
    async with world.filled():
        await eventually(lambda: told(world))
        player(world.run_dir, 0).note(Cmcd(bs=True), (9, "isp-b"), MINUTE + 1)
    async with world.filled():
        await eventually(lambda: len(told(world)) == 3)
        await asyncio.sleep(0.5)
    assert {row for row in told(world) if row.asset != 9} == WANTED
    assert len(told(world)) == 3


def told(world: World) -> list[Played]:
    """Every row that fill was told."""
    return [row for batch in world.fill.batches.values() for row in batch.played or ()]


def test_a_batch_is_bounded(tmp_path: Path) -> None:
    """More rows than one batch may have go into several, numbered without a gap."""
    outbox = Outbox(tmp_path, "box", "isp-a", 1.0)
    rows = [
        Played(asset=n, home="", minute=MINUTE, sessions=1, requests=1) for n in range(1, 20_002)
    ]
    assert outbox.collect([], MINUTE, rows, {"ring": 20_001}) == 2
    assert outbox.waiting() == 2
    assert outbox.rings == {"ring": 20_001}
    outbox.close()
