"""The failing file system is right while nothing fails, and fails as it is told."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fuse_fs import Mounted, mounted, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    with mounted(tmp_path) as found:
        yield found


def test_it_keeps_what_is_written(disk: Mounted) -> None:
    """Files, folders, renames over others, sizes, links: as any file system."""
    data = random.Random(1).randbytes(1_000_003)
    (disk.path / "d" / "e").mkdir(parents=True)
    (disk.path / "d" / "e" / "f").write_bytes(data)
    (disk.path / "d").rename(disk.path / "g")
    assert (disk.path / "g" / "e" / "f").read_bytes() == data
    assert (disk.backing / "g" / "e" / "f").stat().st_size == len(data)
    (disk.path / "x").write_bytes(b"x")
    (disk.path / "x").rename(disk.path / "g" / "e" / "f")
    assert (disk.path / "g" / "e" / "f").read_bytes() == b"x"
    os.truncate(disk.path / "g" / "e" / "f", 0)
    assert (disk.path / "g" / "e" / "f").stat().st_size == 0
    assert sorted(p.name for p in disk.path.rglob("*")) == ["e", "f", "g"]
    assert os.statvfs(disk.path).f_blocks == os.statvfs(disk.backing).f_blocks


def test_it_fails_on_command_and_recovers(disk: Mounted) -> None:
    """An error for the operations and paths named, and for no others."""
    (disk.path / "a").write_bytes(b"a")
    (disk.path / "b").write_bytes(b"b")
    disk.fail({"ops": ["read"], "path": "/a", "errno": errno.EIO})
    with pytest.raises(OSError) as caught:
        (disk.path / "a").read_bytes()
    assert caught.value.errno == errno.EIO
    assert (disk.path / "b").read_bytes() == b"b"
    disk.heal()
    assert (disk.path / "a").read_bytes() == b"a"


def test_what_hangs_does_not_stop_the_rest(disk: Mounted) -> None:
    """A read waits until the rule is gone; others go on meanwhile."""
    (disk.path / "a").write_bytes(b"a")
    (disk.path / "b").write_bytes(b"b")
    disk.fail({"ops": ["read"], "path": "/a", "hang": True})
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((disk.path / "a").read_bytes()))
    reader.start()
    time.sleep(0.1)
    assert (disk.path / "b").read_bytes() == b"b" and not got
    disk.heal()
    reader.join(5)
    assert got == [b"a"]


def test_a_pulled_disk_answers_nothing(disk: Mounted) -> None:
    """Every call fails at once."""
    disk.vanish()
    with pytest.raises(OSError) as caught:
        os.statvfs(disk.path)
    assert caught.value.errno == errno.ENOTCONN
