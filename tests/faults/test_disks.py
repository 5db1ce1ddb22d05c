"""A disk that fails in any way goes off by itself; the rest serves on; a well one comes back."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fuse_fs import Mounted, mounted, unmount, why_not
from tests.faults.world import HEARTBEAT_S, Box
from tests.oca.agent.world import eventually

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
ASSETS = 24  # so many that each of three disks has some (hashes of random ids)
ALL = set(range(ASSETS))


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def mount(*args: str) -> None:
    """mount(8)."""
    subprocess.run(["mount", *args], check=True)


def made_read_only(place: Path) -> bool:
    """Whether the kernel did it: it refuses while a file is open for writing, as in a probe."""
    found = subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True)
    return found.returncode == 0


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path, "bad") as disk:
        yield disk


@pytest.fixture
def box(tmp_path: Path, bad: Mounted) -> Box:
    """A box with three disks, one of which may be made to fail."""
    disks = [tmp_path / "d1", bad.path, tmp_path / "d3"]
    found = Box(tmp_path, disks, free_port(), free_port())
    found.want(1, ASSETS, 40_000, 100_000)
    return found


FAULTS: dict[str, Callable[[Mounted], None]] = {
    "every call fails": lambda disk: disk.fail({"errno": errno.EIO}),
    "reads fail": lambda disk: disk.fail({"ops": ["read"], "errno": errno.EIO}),
    "writes fail": lambda disk: disk.fail({"ops": ["write", "fsync"], "errno": errno.EIO}),
    "read-only": lambda disk: disk.fail(
        {"ops": ["write", "create", "mkdir", "rename", "rename2", "unlink"], "errno": errno.EROFS}
    ),
    "slow": lambda disk: disk.fail({"ops": ["read", "write", "fsync"], "delay_s": 0.25}),
    "hangs": lambda disk: disk.fail({"hang": True}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failing_disk_goes_off_and_comes_back(box: Box, bad: Mounted, fault: str) -> None:
    """Its share leaves inventory and health, the workers answer 404 for it at once, the rest is
    served; when the disk is well again everything is back, and nothing was fetched twice."""
    async with box.running():
        await box.holds(ALL)
        lost = box.on(bad.path)
        assert lost and lost != ALL
        FAULTS[fault](bad)
        await box.holds(ALL - lost)
        await box.feels(0.6, 0.7, str(bad.path))
        begun_s = time.monotonic()
        await eventually(lambda: True, 1)
        assert await box.serves(ALL - lost)
        assert time.monotonic() - begun_s < 10
        asked = len(box.origin.asked)
        bad.heal()
        await box.holds(ALL)
        await box.feels(1, 1, "")
        assert await box.serves(ALL)
        assert len(box.origin.asked) == asked


async def test_it_is_said_within_one_heartbeat(box: Box, bad: Mounted) -> None:
    """From the first refused call to steering's knowledge."""
    async with box.running():
        await box.holds(ALL)
        lost = box.on(bad.path)
        bad.fail({"errno": errno.EIO})
        begun_s = time.monotonic()
        await box.holds(ALL - lost, 5)
        await box.feels(0.6, 0.7, str(bad.path), 5)
        assert time.monotonic() - begun_s <= HEARTBEAT_S + 0.2  # the test looks every 20 ms


async def test_a_pulled_disk_is_replaced_by_an_empty_one(box: Box, bad: Mounted) -> None:
    """It is taken in by itself, and refilled; nothing is written into the bare mount point."""
    async with box.running():
        await box.holds(ALL)
        lost = box.on(bad.path)
        bad.vanish()
        await box.holds(ALL - lost)
        unmount(bad.path)
        await asyncio.sleep(1)
        assert not list(bad.path.iterdir())
        shutil.rmtree(bad.backing)
        with mounted(bad.path.parent, "bad") as fresh:
            await box.holds(ALL)
            assert box.on(fresh.path) == lost
            assert await box.serves(ALL)
            await box.feels(1, 1, "")


async def test_a_box_starts_without_one_of_its_disks(box: Box, bad: Mounted) -> None:
    """The rest is served, and the disk is taken in when it is there."""
    async with box.running():
        await box.holds(ALL)
    lost = box.on(bad.path)
    bad.fail({"errno": errno.EIO})
    async with box.running():
        await box.holds(ALL - lost)
        await box.feels(0.6, 0.7, str(bad.path))
        assert await box.serves(ALL - lost)
        bad.heal()
        await box.holds(ALL)


async def test_fill_goes_on_beside_a_disk_that_hangs(box: Box, bad: Mounted) -> None:
    """What belongs on it waits; what belongs elsewhere comes, though threads hang in it."""
    async with box.running():
        await box.holds(ALL)
        bad.fail({"ops": ["write", "read", "fsync", "create", "mkdir"], "hang": True})
        box.want(2, 2 * ASSETS, 40_000, 100_000)
        await eventually(lambda: len(box.steering.inventory) > ASSETS, 20)
        bad.heal()
        await box.holds(set(range(2 * ASSETS)))


async def test_read_only_remount(tmp_path: Path) -> None:
    """A real file system that the kernel made read-only: it goes off, and comes back when it is
    writable again."""
    place = tmp_path / "ro"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place))
    try:
        box = Box(tmp_path, [tmp_path / "d1", place], free_port(), free_port())
        box.want(1, ASSETS, 40_000)
        async with box.running():
            await box.holds(ALL)
            lost = box.on(place)
            await eventually(lambda: made_read_only(place), 20)
            await box.holds(ALL - lost)
            await eventually(lambda: "ead-only" in box.steering.heartbeats[-1].why, 5)
            assert await box.serves(ALL - lost)
            mount("-o", "remount,rw", str(place))
            await box.holds(ALL)
    finally:
        unmount(place)
