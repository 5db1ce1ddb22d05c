"""A region on a disk that is full, refuses, or is a file system of another kind."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oca.through.doubts import Doubts
from tests.faults.fuse_fs import mounted, why_not
from tests.oca.running import Oca, children_of
from tests.oca.through.upstreams import Thing, Upstream, body_of

Proxy = Callable[..., Oca]
FRESH = {"Cache-Control": "max-age=60"}
WHY_NOT_MOUNT = "" if os.geteuid() == 0 and sys.platform == "linux" else "mounts need root"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    if WHY_NOT_MOUNT:
        pytest.skip(WHY_NOT_MOUNT)
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_costs_no_answer(proxy: Proxy, upstream: Upstream, small: Path) -> None:
    """ENOSPC in the middle of a chunk: right bytes from memory, said in the log, nobody dies; and
    when there is room again it is used."""
    body = body_of("full", 12_000_000)
    for path in ("/a", "/b"):
        upstream.things[path] = Thing(body, FRESH)
    oca = proxy(store=small / "store")
    oca.get("/warm")
    pids = children_of(oca.pid)
    with (small / "filler").open("wb") as filler:
        left = os.statvfs(small).f_bavail * 4096 - 2_500_000
        filler.write(bytes(left))
    assert oca.get("/a").body == body
    assert oca.get("/a").body == body
    assert "no room on the disk" in oca.log.read_text()
    assert children_of(oca.pid) == pids
    (small / "filler").unlink()
    assert oca.get("/b").body == body
    stored = [p for p in small.glob("store/through/c/*/*") if p.suffix != ".meta"]
    assert len(stored) >= 12


def test_a_region_no_larger_than_its_disk(proxy: Proxy, upstream: Upstream, small: Path) -> None:
    """The default of 10 GiB on a disk of 40 MiB: what there is, and right bytes throughout."""
    oca = proxy(store=small / "store")
    for i in range(8):
        body = body_of(f"n{i}", 9_000_000)
        upstream.things[f"/{i}"] = Thing(body, FRESH)
        assert oca.get(f"/{i}").body == body
    assert "less room than dynamic_bytes" in oca.log.read_text()


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_what_the_disk_did_not_take_is_heard_of(tmp_path: Path) -> None:
    """A write-back that fails after the chunk got its name: its name and number, and no other's."""
    bad: list[tuple[str, int]] = []
    doubts = Doubts(lambda version, number, _: bad.append((version, number)), after_s=0.2)
    with mounted(tmp_path) as disk:
        disk.fail({"ops": ["fsync"], "path": "/bad", "errno": errno.EIO})
        for number, name in enumerate(("good", "bad")):
            doubts.add("v", number, os.open(disk.path / name, os.O_RDWR | os.O_CREAT))
        await asyncio.sleep(0.6)
        doubts.close()
    assert bad == [("v", 1)]


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_disk_that_refuses_costs_no_answer(
    proxy: Proxy, upstream: Upstream, tmp_path: Path
) -> None:
    """EIO for every write, and a file system without nameless files (FUSE)."""
    body = body_of("eio", 5_000_000)
    for path in ("/a", "/b"):
        upstream.things[path] = Thing(body, FRESH)
    with mounted(tmp_path) as disk:
        oca = proxy(store=disk.path / "store")
        assert oca.get("/a").body == body
        assert oca.get("/a").body == body
        assert len(upstream.asked) == 1
        disk.fail({"ops": ["write"], "errno": errno.EIO}, {"ops": ["create"], "errno": errno.EIO})
        assert oca.get("/b").body == body
        assert oca.get("/a").body == body
        disk.heal()
        assert oca.get("/b").body == body
        oca.process.terminate()
        oca.process.wait(10)
