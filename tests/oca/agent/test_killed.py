"""kill -9 of the agent at random moments: nothing partial is visible, no count lost or doubled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from oca.counters import Demand
from tests.oca.agent.world import SourceServer, World, eventually, served

ASSETS = 24


def toml(tree: dict) -> str:
    """A configuration file: plain values first, then sections."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in tree.items() if not isinstance(v, dict)]
    for name, section in tree.items():
        if isinstance(section, dict):
            lines.append(f"[{name}]")
            for key, value in section.items():
                if isinstance(value, dict):
                    inner = ", ".join(
                        f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items()
                    )
                    lines.append(f"{key} = {{ {inner} }}")
                else:
                    lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def wrong_on_shelf(world: World) -> list[str]:
    """Everything visible that is not, to the byte, the catalogue's."""
    faults = []
    for number in world.shelf():
        for name, data in world.library.content[number].items():
            path = world.store / "a" / str(number) / name
            try:
                right = hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
            except FileNotFoundError:
                right = not path.parent.exists()  # dropped meanwhile: whole folders go
            if not right:
                faults.append(str(path))
    return faults


async def rounds(world: World, count: int, seed: int) -> None:
    """Start, wait, kill, check: again and again, with plans that change and bytes that flow."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    for number in range(ASSETS):
        world.library.add(number, *(rng.randrange(400_000) for _ in range(4)))

    async def slow(request, file, data, start):
        return await origin.answer(request, file, data, start, pause_s=0.01)

    origin = SourceServer(world.library, fault=slow)
    world.run_dir.mkdir()
    demand, truth = Demand(world.run_dir, 0, rows=8), {}
    async with served(origin.app()) as url, served(world.fill.app()) as fill_url:
        world.source("origin", url)
        world.settings["agent"] |= {
            "fill": fill_url,
            "drop_ttl_s": 0,
            "drop_idle_s": 0,
            "events_s": 0.1,
        }
        config = world.folder / "box.toml"
        config.write_text(toml(world.tree()))
        for number in range(count):
            wanted = rng.sample(range(ASSETS), 16)
            world.fill.publish(world.wanting(number + 1, *wanted, force=True))
            world.fill.lose_acks = rng.randrange(3)
            process = await start(config)
            for _ in range(rng.randrange(5, 40)):
                key, n = (rng.randrange(12), rng.choice(["", "ispa"])), rng.randrange(-50, 200)
                demand.add(key, n)
                truth[key] = truth.get(key, 0) + n
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            assert not wrong_on_shelf(world)
        for key in list(truth):
            demand.add(key, 10_000)
            truth[key] += 10_000
        process = await start(config)
        await eventually(lambda: world.shelf() == set(wanted), 30)
        await eventually(lambda: world.fill.delivered() == truth, 30)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not wrong_on_shelf(world)
    assert not list((world.store / "incoming").iterdir())
    for boot in {boot for boot, _seq in world.fill.batches}:
        seqs = sorted(seq for b, seq in world.fill.batches if b == boot)
        assert seqs == list(range(1, len(seqs) + 1))


async def start(config: Path) -> asyncio.subprocess.Process:
    """The agent as its own process."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oca", "agent", "--config", str(config)
    )


def chosen_seed() -> int:
    """Given as KILL_SEED, or drawn."""
    return int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))


async def test_killed_while_it_fills_drops_and_counts(tmp_path: Path) -> None:
    """Ten rounds; the seed is printed and can be given as KILL_SEED."""
    await rounds(World(tmp_path), 10, chosen_seed())


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_killed_two_hundred_times(tmp_path: Path) -> None:
    """The long version."""
    await rounds(World(tmp_path), 200, chosen_seed())
