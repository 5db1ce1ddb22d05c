"""A full file system: said, never a half file, never a dead process; with room again it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.faults.fuse_fs import unmount, why_not
from tests.faults.test_disks import free_port, mount
from tests.faults.world import Box
from tests.oca.agent.world import eventually

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
ASSETS = 8
ALL = set(range(ASSETS))
MB = 1_000_000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 10 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=10m", "tmpfs", str(place))
    try:
        yield place
    finally:
        unmount(place)


def wrong(box: Box) -> list[str]:
    """Everything visible that is not, to the byte, the catalogue's."""
    found = []
    for disk in box.disks:
        for folder in (disk / "a").iterdir():
            for name, data in box.world.library.content[int(folder.name)].items():
                have = (folder / name).read_bytes()
                if hashlib.sha256(have).digest() != hashlib.sha256(data).digest():
                    found.append(str(folder / name))
    return found


async def metric(box: Box, name: str) -> float:
    """A sample of the box's own metrics."""
    url = f"http://127.0.0.1:{box.admin}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_a_disk_that_fills_up_under_us(tmp_path: Path, small: Path) -> None:
    """Somebody else takes the room while we fetch: ENOSPC. It is counted as that, the disk is not
    ill, what is visible is whole; with room again the rest comes."""
    box = Box(tmp_path, [small], free_port(), free_port())
    box.want(1, ASSETS, MB)

    async def slow(request, file, data, start):
        if len(box.origin.asked) == 6:
            (small / "somebody-elses").write_bytes(bytes(_free(small) - MB // 2))
        return await box.origin.answer(request, file, data, start, pause_s=0.005)

    box.origin.fault = slow
    async with box.running():
        await eventually(lambda: (small / "somebody-elses").exists(), 20)
        await eventually(lambda: bool(box.steering.inventory), 20)
        end_s = time.monotonic() + 20
        while not await metric(box, 'oca_store_errors_total{kind="full"}'):
            assert time.monotonic() < end_s, "nobody said that the disk is full"
            await asyncio.sleep(0.05)
        assert not wrong(box)
        # an asset is served a moment before it is told of, so the two are compared until they agree
        while not await box.serves(held := set(box.steering.inventory)):
            assert time.monotonic() < end_s, f"told of {held}, and serves others"
            await asyncio.sleep(0.2)
        assert held < ALL
        await eventually(lambda: box.steering.heartbeats[-1].health == 1, 20)
        (small / "somebody-elses").unlink()
        await box.holds(ALL, 40)
        assert not wrong(box)


async def test_a_full_run_folder_stops_nothing(tmp_path: Path, small: Path) -> None:
    """Counters, outbox and index cannot be written: films go on, assets come, nobody dies."""
    box = Box(tmp_path, [tmp_path / "d1"], free_port(), free_port())
    box.world.settings["run"] = str(small)
    box.want(1, 2, MB)
    async with box.running():
        await box.holds({0, 1})
        (small / "somebody-elses").write_bytes(bytes(_free(small)))
        box.want(2, ASSETS, MB)
        status, body = await box.get(0)
        assert (status, len(body)) == (200, MB)
        (small / "somebody-elses").unlink()
        await box.holds(ALL, 40)
        assert await box.serves(ALL)


async def test_what_does_not_fit_is_said_and_not_tried(tmp_path: Path, small: Path) -> None:
    """The plan wants more than there is room for beside the reserve: its order decides."""
    box = Box(tmp_path, [small], free_port(), free_port())
    box.world.settings["fill"]["reserve_bytes"] = 4 * MB
    box.want(1, ASSETS, MB)
    async with box.running():
        await box.holds(set(range(6)), 20)
        assert not await metric(box, "oca_store_errors_total")
        assert _free(small) >= 4 * MB


def _free(place: Path) -> int:
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize
