"""What is stored is known soon after a start, and what is not whole after all is found out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oca.index import INDEX_FILE
from tests.oca.agent.world import SourceServer, SteeringServer, World, eventually, served

ASSETS = set(range(6))


class Scene:
    """A world, a source and steering."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        for number in ASSETS:
            self.world.library.add(number, 30_000, 5_000)
        self.origin = SourceServer(self.world.library)
        self.steering = SteeringServer(self.world.keys)

    @asynccontextmanager
    async def agent(self, generation: int):
        """One life of the agent; the plan wants everything."""
        world = self.world
        async with (
            served(self.origin.app()) as url,
            served(world.fill.app()) as fill,
            served(self.steering.app()) as steering,
        ):
            world.sources.clear()
            world.source("origin", url)
            world.settings["agent"] |= {"fill": fill, "steering": [steering]}
            world.fill.publish(world.wanting(generation, *ASSETS))
            async with world.agent():
                yield

    async def told(self, assets: set[int]) -> None:
        """Until steering knows these."""
        await eventually(lambda: self.steering.inventory == assets)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    """Everything was fetched by an earlier life."""
    found = Scene(tmp_path)
    async with found.agent(1):
        await found.told(ASSETS)
    found.origin.asked.clear()
    found.steering.forget()
    return found


async def test_nothing_is_fetched_again_after_a_restart(scene: Scene) -> None:
    """With the index, and without it: the folders are the truth."""
    for generation in (2, 3):
        async with scene.agent(generation):
            await scene.told(ASSETS)
        scene.steering.forget()
        (scene.world.run_dir / INDEX_FILE).unlink()
    assert not scene.origin.asked


async def test_a_file_that_vanished_is_noticed_and_fetched(scene: Scene) -> None:
    """The index believes it there; the look at every file finds out, and only it is fetched."""
    (scene.world.store / "a" / "3" / "seg-0.m4s").unlink()
    async with scene.agent(2):
        await eventually(lambda: bool(scene.origin.asked))
        await eventually((scene.world.store / "a" / "3" / "seg-0.m4s").exists)
        assert scene.origin.asked == [(3, "seg-0.m4s", 0)]
    assert (scene.world.store / "a" / "3" / "seg-0.m4s").stat().st_size == 30_000


async def test_leftovers_of_a_crash_are_gone_or_gone_on_with(scene: Scene) -> None:
    """Trash is emptied, what came half is gone on with, what makes no sense is removed."""
    store = scene.world.store
    (store / "trash" / "77").mkdir()
    (store / "incoming" / "78").mkdir()
    folder = store / "a" / "3"
    data = (folder / "seg-0.m4s").read_bytes()
    (folder / "seg-0.m4s").unlink()
    (folder / ".seg-0.m4s.part").write_bytes(data[:20_000])
    folder.rename(store / "incoming" / "3")
    async with scene.agent(2):
        await scene.told(ASSETS)
        await eventually(lambda: not list((store / "trash").iterdir()))
    assert scene.origin.asked == [(3, "seg-0.m4s", 20_000)]
    assert not list((store / "incoming").iterdir())
