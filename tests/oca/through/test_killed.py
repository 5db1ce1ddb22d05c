"""Killed at random moments, under load: not one wrong byte, and soon serving again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oca.through.disk import Room
from tests.oca.running import Oca, children_of, wait_until
from tests.oca.through.killing import BUSY_WITHIN_S, SERVING_WITHIN_S, World
from tests.oca.through.test_proxy import status_of
from tests.oca.through.upstreams import Thing, Upstream, body_of

Proxy = Callable[..., Oca]


def test_a_box_that_dies_again_and_again_serves_no_wrong_byte(tmp_path: Path) -> None:
    """Two deaths of all processes, while clients read and chunks are evicted."""
    world = World(tmp_path, seed=1)
    world.run(2, BUSY_WITHIN_S)
    assert world.tally.right > 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_deaths(tmp_path: Path) -> None:
    """As above, for long, and serving again within 5 s."""
    world = World(tmp_path, seed=2)
    world.run(200, SERVING_WITHIN_S)
    print(world.tally, f"slowest start {world.slowest_s:.2f} s")
    assert world.tally.right > 500


def fetcher_of(oca: Oca) -> int:
    """The process id of the fetcher."""
    (found,) = [pid for pid in children_of(oca.pid)
                if b"fetcher" in Path(f"/proc/{pid}/cmdline").read_bytes()]  # fmt: skip
    return found


def test_the_fetcher_may_die_in_the_middle(proxy: Proxy, upstream: Upstream) -> None:
    """Workers serve on what is stored; a body that was coming goes on with the next fetcher."""
    body = body_of("mid", 6_000_000)
    upstream.things["/mid"] = Thing(body, {"Cache-Control": "max-age=60"}, gap_s=0.02)
    upstream.things["/kept"] = Thing(b"k" * 100_000, {"Cache-Control": "max-age=60"})
    oca = proxy()
    assert oca.get("/kept").body == b"k" * 100_000
    with oca.connect() as sock:
        sock.settimeout(15)
        sock.sendall(b"GET /mid HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        time.sleep(0.8)
        os.kill(fetcher_of(oca), signal.SIGKILL)
        hit = oca.get("/kept")
        assert hit.body == b"k" * 100_000
        assert status_of(hit).startswith("hit")
        got = sock.makefile("rb").read().partition(b"\r\n\r\n")[2]
    assert got == body
    assert oca.get("/mid").body == body


def test_after_a_power_cut_only_sound_chunks_are_believed(
    proxy: Proxy, upstream: Upstream, tmp_path: Path
) -> None:
    """Another boot: what was stored is verified first, and what was torn is fetched again."""
    body = body_of("power", 5_000_000)
    upstream.things["/p"] = Thing(body, {"Cache-Control": "max-age=60"})
    first = proxy()
    assert first.get("/p").body == body
    chunks = tmp_path / "store/through/c"
    wait_until(lambda: len(list(chunks.glob("*/*.[0-9]"))) == 5, "five chunks")
    first.process.terminate()
    first.process.wait(10)
    (torn,) = chunks.glob("*/*.1")
    with torn.open("r+b") as file:
        file.seek(100_000)
        file.write(bytes(4096))  # a block that was never written
    (short,) = chunks.glob("*/*.2")
    os.truncate(short, 500_000)
    (tmp_path / "store/through/boot").write_text("another\n")
    second = proxy()
    wait_until(lambda: not list((tmp_path / "store/through").glob("old-*")), "the verification")
    assert second.get("/p").body == body
    assert sorted(a.range[0] // 2**20 for a in upstream.asked if a.range) in ([1], [1, 2])


def test_what_belongs_to_nothing_is_removed(tmp_path: Path) -> None:
    """Orphans of a crash: a chunk without a version, a version without chunks, half a meta."""
    room = Room(tmp_path)
    bucket = tmp_path / "c" / "ab"
    for name in ("ab" + "0" * 14 + ".3", "ab" + "1" * 14 + ".meta", "ab" + "2" * 14 + ".new"):
        (bucket / name).write_bytes(b"x" * 100)
    assert list(room.kept()) == []
    assert list(bucket.iterdir()) == []
