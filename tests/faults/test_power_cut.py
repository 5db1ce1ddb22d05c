"""The power goes at any moment: what is visible afterwards verifies, and is what was said.

The store is on a real file system on a loop device. The writer is killed, the backing file copied
as the platter would be (what was not synced is not there), the copy mounted and recovered.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oca.stock import recover
from oca.store import Store
from tests.faults.fuse_fs import unmount, why_not
from tests.faults.test_disks import mount

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
MIB = 1024 * 1024
IMAGE_BYTES = {"ext4": 96 * MIB, "btrfs": 128 * MIB, "xfs": 304 * MIB}
"""A little more than the least that each mkfs accepts; the holes of an image take no room."""
WRITER = """
import random, sys
from pathlib import Path
from oca.partfile import StoreError
from oca.stock import recover
from oca.store import Store
from tests.oca.agent.world import make_asset
from wire.codec import encode
store, rng = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
recover(store)
print("ready", flush=True)
while True:
    number = rng.randrange(40)
    if store.disk_of(number):
        store.retract(number)
        print("-", number, flush=True)
        store.empty_trash()
        continue
    asset, content = make_asset(number, *(1000 + 37_000 * (i + number % 5) for i in range(6)))
    try:
        store.begin(encode(asset))
        for file in store.missing(asset):
            part = store.part(asset, file)
            part.resume()
            part.restart()
            part.write([content[file.name]])
            part.seal()
            part.close()
        held = store.publish(asset)
    except StoreError:
        store.discard(number)
        continue
    print("+", number, flush=True)
"""


@contextmanager
def looped(image: Path, place: Path, *options: str) -> Iterator[Path]:
    """A file mounted as a disk."""
    place.mkdir(exist_ok=True)
    mount("-o", ",".join(["loop", *options]), str(image), str(place))
    try:
        yield place
    finally:
        unmount(place)


def wrong(root: Path) -> list[str]:
    """What is visible, by the catalogue's entry beside it, and does not verify."""
    import msgspec

    from wire.catalogue import Asset

    found = []
    for folder in (root / "a").iterdir():
        asset = msgspec.json.decode((folder / ".asset.json").read_bytes(), type=Asset)
        for file in asset.files:
            data = (folder / file.name).read_bytes()
            if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
                found.append(f"{folder.name}/{file.name}: {len(data)} of {file.bytes}")
    return found


def cut(tmp: Path, kind: str, number: int, rng: random.Random) -> int:
    """One round on a fresh file system; returns how many assets were visible after it."""
    image, copy = tmp / f"{kind}-{number}.img", tmp / f"{kind}-{number}.copy"
    with image.open("wb") as raw:
        raw.truncate(IMAGE_BYTES[kind])
    making = [f"mkfs.{kind}", "-q", *_quick(kind), str(image)]
    subprocess.run(making, check=True, capture_output=True)
    with looped(image, tmp / "disk", *_still(kind)) as disk:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(disk), str(rng.randrange(10**6))],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.1, 0.8))
        writer.send_signal(signal.SIGSTOP)
        while "State:\tT" not in Path(f"/proc/{writer.pid}/status").read_text():
            time.sleep(0.001)  # an fsync that has begun ends first
        # of one moment, as a platter is: nobody writes meanwhile
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        writer.send_signal(signal.SIGKILL)
        told = said(writer.stdout.read())
        writer.wait()
        writer.stdout.close()
    with looped(copy, tmp / "after") as after:
        assert not wrong(after), "before anything was cleaned up"
        held = set(recover(Store(after)))
        assert not wrong(after)
        assert not list((after / "trash").iterdir())
    assert len(held ^ told) <= 1, f"{held ^ told} is not as it was said: one may be on its way"
    print(f"{kind} {number}: {len(told)} there as said, {len(held)} after the cut")
    image.unlink()
    copy.unlink()
    return len(held)


def said(lines: bytes) -> set[int]:
    """What the writer said is stored, and did not take back."""
    stored: set[int] = set()
    for line in lines.decode().splitlines():
        sign, number = line.split()
        (stored.add if sign == "+" else stored.discard)(int(number))
    return stored


def _quick(kind: str) -> list[str]:
    return ["-E", "lazy_itable_init=0,lazy_journal_init=0"] if kind == "ext4" else []


def _still(kind: str) -> list[str]:
    """Options with which the file system writes nothing by itself for as long as a round lasts."""
    return [] if kind == "xfs" else ["commit=300"]  # XFS's period is the machine's: 30 s


def seed() -> int:
    """Given as CUT_SEED, or drawn."""
    return int(os.environ.get("CUT_SEED", random.SystemRandom().randrange(10**6)))


def rounds(tmp: Path, kind: str, count: int) -> None:
    """Several, from a seed that is printed."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"there is no mkfs.{kind}")
    number = seed()
    print(f"seed {number}")
    rng = random.Random(number)
    assert sum(cut(tmp, kind, turn, rng) for turn in range(count)) > 0, "nothing was ever visible"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_what_is_visible_after_a_power_cut_verifies(tmp_path: Path, kind: str) -> None:
    """Two rounds."""
    rounds(tmp_path, kind, 2)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_twenty_power_cuts(tmp_path: Path, kind: str) -> None:
    """The long version."""
    rounds(tmp_path, kind, 20)
