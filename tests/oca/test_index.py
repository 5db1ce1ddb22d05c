"""The index makes a start fast and is never the truth: torn, deleted or wrong, nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from oca.disks import Cabinet
from oca.held import Held
from oca.index import INDEX_FILE, Age, Index
from oca.stock import is_known, recover
from oca.store import ENTRY, Store
from tests.oca.test_store import take_in

ASSETS = set(range(10))


def opened(folder: Path) -> Store:
    """The store with its index, as at a start."""
    (folder / "run").mkdir(exist_ok=True)
    disks = Cabinet([str(folder / "d1"), str(folder / "d2")], folder / "run", "box", mounts=False)
    return Store(disks.open(), index=Index(folder / "run"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten assets, stored by an earlier life."""
    earlier = opened(tmp_path)
    recover(earlier)
    for asset in ASSETS:
        take_in(earlier, asset, 100)
    earlier.index.close()
    return opened(tmp_path)


def test_what_the_index_knows_is_not_looked_into(store: Store) -> None:
    """Only names are listed: an entry that cannot be read any more is not missed yet."""
    assert all(is_known(store, seat) for seat in store.disks.live)
    (store.shelf(3) / ENTRY).unlink()
    assert set(recover(store)) == ASSETS


def test_rows_and_folders_that_do_not_agree_are_set_right(store: Store) -> None:
    """A crash between the two: the folder is the truth, either way."""
    store.shelf(3).rename(store.root / "gone")
    store.index.remove([4], store.disks.home(4).uuid)
    assert set(recover(store)) == ASSETS - {3}
    assert set(recover(store)) == ASSETS - {3}
    held = {a for seat in store.disks.live for a in store.index.held(seat.uuid)}
    assert held == ASSETS - {3}


@pytest.mark.parametrize("damage", ["deleted", "torn", "garbage"])
def test_an_index_that_is_lost_is_built_anew(tmp_path: Path, store: Store, damage: str) -> None:
    """And everything is there again; the broken one is put aside."""
    path = tmp_path / "run" / INDEX_FILE
    before = recover(store)
    store.index.close()  # and with it what waited in its log
    if damage == "deleted":
        path.unlink()
    elif damage == "torn":
        with path.open("r+b") as raw:
            raw.truncate(path.stat().st_size // 2 + 100)
    else:
        path.write_bytes(b"this was never a database" * 100)
    again = opened(tmp_path)
    assert not any(is_known(again, seat) for seat in again.disks.live)
    assert recover(again) == before
    assert all(is_known(again, seat) for seat in again.disks.live)
    assert (tmp_path / "run" / f"{INDEX_FILE}.broken").exists() == (damage != "deleted")


def test_an_index_that_tears_while_it_is_used_stops_nothing(tmp_path: Path, store: Store) -> None:
    """Assets come and go; the next start lists them anew."""
    path = tmp_path / "run" / INDEX_FILE
    path.with_name(INDEX_FILE + "-wal").unlink(missing_ok=True)
    path.write_bytes(b"x" * path.stat().st_size)
    take_in(store, 50, 100)
    assert store.retract(5)
    assert set(recover(opened(tmp_path))) == ASSETS - {5} | {50}


def test_what_was_verified_longest_ago_comes_first(tmp_path: Path) -> None:
    """Over all disks in use; a replaced disk is forgotten."""
    index = Index(tmp_path)
    digest = "00" * 32
    for disk, asset, at_s in (("x", 1, 30), ("x", 2, 10), ("y", 3, 20)):
        index.put({asset: Held(7, digest, disk)}, at_s)
        index.complete(disk)
    assert index.oldest(["x", "y"]) == Age(2, "x", 10)
    index.verified(Age(2, "x", 99))
    assert index.oldest(["x", "y"]) == Age(3, "y", 20)
    assert index.since("x", 30) == (2, 14)
    index.keep_only(["x"])
    assert index.oldest(["y"]) is None and not index.is_complete("y")


def test_a_file_that_is_no_database_is_not_overwritten_but_put_aside(tmp_path: Path) -> None:
    """Whatever it was, somebody may want to look at it."""
    (tmp_path / INDEX_FILE).write_bytes(b"mine")
    Index(tmp_path)
    assert (tmp_path / f"{INDEX_FILE}.broken").read_bytes() == b"mine"
    assert sqlite3.connect(tmp_path / INDEX_FILE).execute("SELECT * FROM asset").fetchall() == []
