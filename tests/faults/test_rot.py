"""Bytes that change on the disk are found, not served again, and fetched anew."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fuse_fs import Mounted, mounted, why_not
from tests.faults.test_disks import ALL, ASSETS, free_port
from tests.faults.world import Box
from tests.oca.agent.world import eventually

MB = 1_000_000
RATE = 60_000


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box with two disks that reads everything again every second."""
    found = Box(tmp_path, [tmp_path / "d1", tmp_path / "d2"], free_port(), free_port())
    found.world.settings["scrub"] = {"every_s": 1, "rate_bytes_s": 200 * MB}
    found.want(1, ASSETS, 40_000, 100_000)
    return found


def flip(path: Path, rng: random.Random) -> None:
    """One bit, behind everybody's back: size and times stay."""
    data, stat = bytearray(path.read_bytes()), path.stat()
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    with path.open("r+b") as raw:
        raw.seek(at)
        raw.write(data[at : at + 1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


async def command(box: Box, *args: str) -> tuple[int, str]:
    """`oca ARGS` of an operator on that box."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oca", *args, "--admin", f"127.0.0.1:{box.admin}"),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_flipped_bits_are_found_and_fetched_again(box: Box) -> None:
    """Each asset leaves the inventory, the rotten file is kept aside, only what is wrong is
    fetched, and what is served in the end is right."""
    rng = random.Random(7)
    async with box.running():
        await box.holds(ALL)
        box.origin.asked.clear()
        wrong = rng.sample(sorted(ALL), 3)
        for asset in wrong:
            flip(box.place_of(asset) / "seg-1.m4s", rng)
        aside = lambda: {  # noqa: E731
            path.name for disk in box.disks for path in (disk / "quarantine").iterdir()
        }
        await eventually(lambda: aside() == {f"{asset}-seg-1.m4s" for asset in wrong}, 20)
        await eventually(lambda: {a for a, _, _ in box.origin.asked} == set(wrong), 20)
        await box.holds(ALL)
        assert {name for _, name, _ in box.origin.asked} == {"seg-1.m4s"}
        assert any(set(wrong) & set(gone) for gone in box.left())
        for asset in wrong:
            right = box.world.library.content[asset]["seg-1.m4s"]
            assert await box.get(asset, "seg-1.m4s") == (200, right)


async def test_operators_see_disks_and_scrub(box: Box) -> None:
    """Tables for people, JSON for programs; an exit status for a disk that is off."""
    async with box.running():
        await box.holds(ALL)
        code, page = await command(box, "disks")
        assert code == 0 and page.count("in use") == 2
        _, text = await command(box, "scrub-status", "--json")
        assert sum(disk["assets"] for disk in json.loads(text)["disks"]) == ASSETS
        code, page = await command(box, "scrub-status")
        assert code == 0 and "no rot since the start" in page and "200 MB/s" in page
        lost = box.on(box.disks[0])
        code, page = await command(box, "disks", "--off", str(box.disks[0]))
        assert code == 0 and "switched off by the operator" in page
        await box.holds(ALL - lost)
        code, _ = await command(box, "disks", "--on", str(box.disks[0]))
        await box.holds(ALL)


async def test_a_disk_switched_off_stays_off_over_a_restart(box: Box) -> None:
    """Whoever unscrews it can rely on that."""
    async with box.running():
        await box.holds(ALL)
        lost = box.on(box.disks[0])
        await command(box, "disks", "--off", str(box.disks[0]))
        await box.holds(ALL - lost)
    async with box.running():
        await box.holds(ALL - lost)
        assert await box.serves(ALL - lost)
        await command(box, "disks", "--on", str(box.disks[0]))
        await box.holds(ALL)


async def test_the_rate_is_kept_and_progress_survives(box: Box) -> None:
    """At so many bytes a second; what was read before a restart is not read again."""
    box.world.settings["scrub"] = {"every_s": 3600, "rate_bytes_s": RATE}
    async with box.running():
        await box.holds(ALL)
    (box.world.run_dir / "index.sqlite").unlink()
    read = lambda text: sum(d["verified_assets"] for d in json.loads(text)["disks"])  # noqa: E731
    async with box.running():
        await box.holds(ALL)
        begun_s = time.monotonic()
        before = read((await command(box, "scrub-status", "--json"))[1])
        done = before
        while done == before:
            done = read((await command(box, "scrub-status", "--json"))[1])
        took_s = time.monotonic() - begun_s
        assert before < done < ASSETS
        assert (done - before - 2) * 140_000 < RATE * took_s
    async with box.running():
        await box.holds(ALL)
        assert read((await command(box, "scrub-status", "--json"))[1]) >= done


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path, "bad") as disk:
        yield disk


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_a_file_that_cannot_be_read_is_fetched_again(tmp_path: Path, bad: Mounted) -> None:
    """One bad sector: the file goes aside, the disk stays in use."""
    box = Box(tmp_path, [tmp_path / "d1", bad.path], free_port(), free_port())
    box.world.settings["scrub"] = {"every_s": 2, "rate_bytes_s": 200 * MB}
    box.want(1, ASSETS, 40_000, 100_000)
    async with box.running():
        await box.holds(ALL)
        box.origin.asked.clear()
        asset = min(box.on(bad.path))
        bad.fail({"ops": ["read"], "path": f"/a/{asset}/seg-1.m4s", "errno": errno.EIO})
        await eventually(lambda: bool(box.origin.asked))
        assert [(a, n) for a, n, _ in box.origin.asked] == [(asset, "seg-1.m4s")]
        bad.heal()
        await box.holds(ALL)
        end_s = time.monotonic() + 20
        while not await box.serves(ALL):
            assert time.monotonic() < end_s, "what came again is not served"
            await asyncio.sleep(0.1)
        await eventually(lambda: box.steering.heartbeats[-1].health == 1, 20)
