"""Several disks: who belongs where, and a disk that is missing is never written to."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from oca.disks import IDENTITY, Cabinet, DiskFault, ToldDisks, read_table
from oca.partfile import StoreError
from oca.seats import Disks, Seat, order
from oca.stock import recover
from oca.store import Store
from tests.oca.agent.world import make_asset
from tests.oca.test_store import take_in
from wire.codec import encode


def seats(*sizes: int) -> list[Seat]:
    """Seats of these sizes."""
    return [Seat(key=f"k{n}", path=f"/d{n}", weight_bytes=size) for n, size in enumerate(sizes)]


def test_each_disk_gets_its_share_by_size() -> None:
    """A disk of twice the size gets twice the assets, within a few per cent."""
    disks = Disks(seats(1, 1, 2, 4))
    counts: dict[str, int] = {}
    for asset in range(40_000):
        counts[disks.home(asset).key] = counts.get(disks.home(asset).key, 0) + 1
    for key, share in {"k0": 1, "k1": 1, "k2": 2, "k3": 4}.items():
        assert abs(counts[key] - 40_000 * share / 8) < 600


def test_one_more_disk_moves_only_what_becomes_its_own() -> None:
    """And one that goes off moves nothing at all."""
    three, four = Disks(seats(1, 1, 1)), Disks(seats(1, 1, 1, 1))
    moved = [a for a in range(4000) if three.home(a).key != four.home(a).key]
    assert 800 < len(moved) < 1200
    assert all(four.home(asset).key == "k3" for asset in moved)
    off = msgspec.structs.replace(three.seats[1], why="broken")
    lame = Disks([three.seats[0], off, three.seats[2]])
    assert all(lame.home(a).key == three.home(a).key for a in range(4000))
    assert lame.share_live() == pytest.approx(2 / 3)
    assert all("k1" not in [seat.key for seat in lame.where(a)] for a in range(100))


def test_the_home_is_the_first_of_the_order() -> None:
    """Who looks for an asset looks at home first."""
    disks = Disks(seats(3, 1, 2))
    assert all(order(a, disks.seats)[0] == disks.home(a) for a in range(1000))


# --- identity ------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def cabinet(run: Path, *names: str, me: str = "box", mounts: bool = False) -> Cabinet:
    """The disks of these names beside the run folder."""
    return Cabinet([str(run.parent / name) for name in names], run, me, mounts=mounts)


def fill(disks: Disks, count: int) -> dict[int, Path]:
    """Assets 0…count stored, and where."""
    store = Store(disks)
    for asset in range(count):
        take_in(store, asset, 100)
    return {asset: store.shelf(asset) for asset in range(count)}


def test_assets_are_spread_and_found_again(run: Path) -> None:
    """Each on the disk that its hash gives, also by the workers, which only read the table."""
    places = fill(cabinet(run, "d1", "d2", "d3").open(), 30)
    assert len({path.parent.parent for path in places.values()}) == 3
    again = Store(cabinet(run, "d1", "d2", "d3").open())
    assert set(recover(again)) == set(range(30))
    told = Store(ToldDisks([str(run.parent / name) for name in ("d1", "d2", "d3")], run))
    assert {asset: told.shelf(asset) for asset in range(30)} == places


def test_disks_that_change_places_are_known(run: Path) -> None:
    """Mounted the other way round: nothing is lost, nothing is fetched."""
    places = fill(cabinet(run, "d1", "d2").open(), 20)
    (run.parent / "d1").rename(run.parent / "x")
    (run.parent / "d2").rename(run.parent / "d1")
    (run.parent / "x").rename(run.parent / "d2")
    store = Store(cabinet(run, "d1", "d2").open())
    assert set(recover(store)) == set(range(20))
    assert all(store.home_of(asset) == store.disk_of(asset) for asset in places)


def test_what_was_stored_before_a_disk_was_added_is_found_where_it_is(run: Path) -> None:
    """Nothing moves, nothing is fetched again; new assets go where they belong."""
    fill(cabinet(run, "d1").open(), 20)
    store = Store(cabinet(run, "d1", "d2").open())
    assert set(recover(store)) == set(range(20))
    assert all(store.disk_of(asset) == run.parent / "d1" for asset in range(20))
    newcomer = next(a for a in range(20, 99) if store.home_of(a) == run.parent / "d2")
    take_in(store, newcomer, 100)
    assert store.disk_of(newcomer) == run.parent / "d2"
    assert store.retract(newcomer) and store.disk_of(newcomer) is None


def test_an_asset_on_two_disks_is_kept_once(run: Path) -> None:
    """A disk that was away while its share was fetched elsewhere: the copy at home stays."""
    both = cabinet(run, "d1", "d2").open()
    store = Store(both)
    asset = next(a for a in range(99) if store.home_of(a) == run.parent / "d1")
    take_in(store, asset, 100)
    alone = Store(Disks([both.seats[1]]))
    take_in(alone, asset, 100)
    assert set(recover(store)) == {asset}
    assert store.disk_of(asset) == run.parent / "d1"
    assert not (run.parent / "d2" / "a" / str(asset)).exists()


def test_a_replaced_disk_takes_over_the_share(run: Path) -> None:
    """An empty one in its place is taken in by itself: new name, same seat."""
    fill(cabinet(run, "d1", "d2").open(), 20)
    before = {seat.path: seat for seat in read_table(run)}
    (run.parent / "d2").rename(run.parent / "broken")
    (run.parent / "d2" / "lost+found").mkdir(parents=True)
    disks = cabinet(run, "d1", "d2").open()
    new = disks.seats[1]
    assert new.is_live and new.key == before[new.path].key and new.uuid != before[new.path].uuid
    assert 0 < len(recover(Store(disks))) < 20


def test_a_strange_disk_is_not_touched(run: Path) -> None:
    """Not empty, or another box's: its seat is off and says why; the rest serves."""
    fill(cabinet(run, "d1", "d2").open(), 20)
    (run.parent / "d2").rename(run.parent / "away")
    (run.parent / "d2").mkdir()
    (run.parent / "d2" / "thesis.tex").write_text("x")
    disks = cabinet(run, "d1", "d2").open()
    assert "thesis.tex" in disks.seats[1].why
    assert [p.name for p in (run.parent / "d2").iterdir()] == ["thesis.tex"]
    assert 0 < len(recover(Store(disks))) < 20
    (run.parent / "d2").rename(run.parent / "thesis")
    (run.parent / "run2").mkdir()
    cabinet(run.parent / "run2", "d2", me="other").open()
    assert "a disk of other" in cabinet(run, "d1", "d2").open().seats[1].why
    (run.parent / "d2").rename(run.parent / "others")
    (run.parent / "away").rename(run.parent / "d2")
    assert set(recover(Store(cabinet(run, "d1", "d2").open()))) == set(range(20))


def test_a_path_that_is_no_mount_point_is_a_missing_disk(run: Path) -> None:
    """With `mounts`, nothing is ever written into the folder that a disk should cover."""
    (run.parent / "d1").mkdir()
    with pytest.raises(DiskFault, match="not mounted"):
        cabinet(run, "d1", mounts=True).open()
    assert not list((run.parent / "d1").iterdir())


def test_a_copy_of_a_disk_is_refused(run: Path) -> None:
    """One identity twice: only the first is used."""
    fill(cabinet(run, "d1").open(), 1)
    (run.parent / "d2").mkdir()
    (run.parent / "d2" / IDENTITY).write_bytes((run.parent / "d1" / IDENTITY).read_bytes())
    assert "same disk" in cabinet(run, "d1", "d2").open().seats[1].why


def test_a_lost_run_folder_loses_no_disk(run: Path) -> None:
    """Seats are named on the disks as well."""
    fill(cabinet(run, "d1", "d2").open(), 20)
    for path in run.iterdir():
        path.unlink()
    store = Store(cabinet(run, "d1", "d2").open())
    assert set(recover(store)) == set(range(20))
    picks = random.Random(1).sample(range(20), 5)
    assert all(store.home_of(asset) == store.disk_of(asset) for asset in picks)


def test_what_belongs_on_a_disk_that_is_off_is_nowhere(run: Path) -> None:
    """Not looked for, not written, and never elsewhere."""
    disks = cabinet(run, "d1", "d2").open()
    fill(disks, 20)
    disks.replace([disks.seats[0], msgspec.structs.replace(disks.seats[1], why="broken")])
    store = Store(disks)
    lost = [asset for asset in range(20) if store.is_out(asset)]
    assert lost and set(store.listing()) == set(range(20)) - set(lost)
    for asset in lost:
        assert store.disk_of(asset) is None
        with pytest.raises(Exception, match="switched off: broken"):
            store.incoming(asset)
        store.discard(asset)


def test_an_asset_is_not_begun_where_there_is_no_room(run: Path) -> None:
    """Beside the reserve of its own disk: nothing is fetched in vain, and it is said as `full`."""
    store = Store(cabinet(run, "d1", "d2").open())
    store.reserve_bytes = 2**60
    asset, _ = make_asset(1, 100)
    with pytest.raises(StoreError, match="no room") as caught:
        store.begin(encode(asset))
    assert caught.value.kind == "full" and not store.gathering()
