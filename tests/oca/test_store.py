"""The store's invariant: on the shelf exactly when every file is stored and verified."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest

from oca.directfile import BLOCK_BYTES
from oca.partfile import PartFile, StoreError, WrongBytes
from oca.stock import recover
from oca.store import ENTRY, Store, part_path
from tests.oca.agent.world import make_asset, make_file
from wire.catalogue import CHUNK_BYTES, Asset
from wire.codec import encode


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def take_in(store: Store, number: int, *sizes: int) -> None:
    """Bring a whole asset in."""
    asset, content = make_asset(number, *sizes)
    store.begin(encode(asset))
    for file in store.missing(asset):
        part = store.part(asset, file)
        part.resume()
        part.write([content[file.name]])
        part.seal()
        part.close()
    store.publish(asset)


def test_an_asset_appears_whole_with_its_entry(store: Store) -> None:
    """Files, entry, digest and bytes are those of the catalogue; incoming is empty again."""
    asset, content = make_asset(5, 1000, 0)
    take_in(store, 5, 1000, 0)
    assert store.listing()[5].bytes == 1000
    assert store.entry(5) == encode(asset)
    for name, data in content.items():
        assert (store.shelf(5) / name).read_bytes() == data
    assert store.gathering() == {}


def test_an_asset_with_a_file_missing_is_not_published(store: Store) -> None:
    """Not even by mistake."""
    asset, _content = make_asset(5, 1000)
    store.begin(encode(asset))
    with pytest.raises(StoreError):
        store.publish(asset)
    assert store.listing() == {}


def test_an_asset_given_up_while_it_lands_is_whole_or_gone(store: Store) -> None:
    """A new plan may discard what is just being published: one of them wins, nothing is torn."""
    sizes = (1,) * 60
    with ThreadPoolExecutor(2) as pool:
        for number in range(60):
            asset, content = make_asset(number, *sizes)
            folder = store.incoming(number)
            store.begin(encode(asset))
            for name, data in content.items():
                (folder / name).write_bytes(data)
            ready = Barrier(2)

            def land(asset: Asset = asset, ready: Barrier = ready) -> None:
                ready.wait()
                with suppress(StoreError):
                    store.publish(asset)

            def give_up(number: int = number, ready: Barrier = ready) -> None:
                ready.wait()
                with suppress(StoreError):
                    store.discard(number)

            for done in [pool.submit(land), pool.submit(give_up)]:
                done.result()
            shelf = store.shelf(number)
            assert not shelf.exists() or len(list(shelf.iterdir())) == len(sizes) + 1


@pytest.mark.parametrize("harm", ["short", "gone", "entry", "other entry"])
def test_what_is_not_whole_is_sent_back_at_start(store: Store, harm: str) -> None:
    """A folder on the shelf with a short or missing file, or no entry, is not held."""
    take_in(store, 5, 1000, 2000)
    take_in(store, 6, 10)
    folder = store.shelf(5)
    if harm == "short":
        (folder / "seg-1.m4s").write_bytes(b"short")
    elif harm == "gone":
        (folder / "seg-0.m4s").unlink()
    elif harm == "entry":
        (folder / ENTRY).unlink()
    else:
        (folder / ENTRY).write_bytes(encode(make_asset(7, 1)[0]))
    assert set(recover(Store(store.root))) == {6}
    assert not folder.exists()


def test_what_was_sent_back_is_checked_again_and_completed(store: Store) -> None:
    """The good file is taken over after its bytes were read again, the bad one is fetched."""
    take_in(store, 5, 1000, 2000)
    asset, content = make_asset(5, 1000, 2000)
    (store.shelf(5) / "seg-1.m4s").write_bytes(b"x" * 2000)
    (store.shelf(5) / "seg-0.m4s").write_bytes(content["seg-0.m4s"][:10])
    recover(store)
    assert [file.name for file in store.missing(asset)] == ["seg-0.m4s", "seg-1.m4s"]
    offsets = []
    for file in store.missing(asset):
        part = store.part(asset, file)
        offsets.append(part.resume())
        part.write([content[file.name][part.offset :]])
        part.seal()
    assert offsets == [10, 0]
    store.publish(asset)


def test_a_start_finds_leftovers(store: Store) -> None:
    """Trash goes, incoming without an entry goes, incoming of what is held goes; parts stay."""
    take_in(store, 5, 100)
    asset, content = make_asset(6, 5 * BLOCK_BYTES)
    store.begin(encode(asset))
    part = store.part(asset, asset.files[0])
    part.resume()
    part.write([content["seg-0.m4s"][: 3 * BLOCK_BYTES + 1]])
    (store.root / "trash" / "9").mkdir()
    (store.root / "incoming" / "8").mkdir()
    (store.root / "incoming" / "5").mkdir()
    (store.root / "a" / "notes").mkdir()
    again = Store(store.root)
    assert set(recover(again)) == {5}
    assert again.gathering() == {6: 3 * BLOCK_BYTES}
    assert not list((store.root / "trash").iterdir())
    assert again.part(asset, asset.files[0]).resume() == 3 * BLOCK_BYTES


def test_another_entry_under_the_same_id_starts_from_nothing(store: Store) -> None:
    """What came for another version of the entry is not mixed in."""
    store.begin(encode(make_asset(6, 5000)[0]))
    asset = make_asset(6, 4000)[0]
    (store.incoming(6) / "seg-0.m4s").write_bytes(b"x" * 4000)
    store.begin(encode(asset))
    assert len(store.missing(asset)) == 1


def test_what_is_retracted_is_gone_at_once(store: Store) -> None:
    """Out of sight by one rename, unlinked afterwards; twice is no error."""
    take_in(store, 5, 100)
    assert store.retract(5)
    assert not store.shelf(5).exists()
    assert not store.retract(5)
    store.empty_trash()
    assert not list((store.root / "trash").iterdir())


def test_the_origins_tree_is_never_moved(store: Store) -> None:
    """Read-only: a folder that is not whole is left alone, and not listed."""
    take_in(store, 5, 100)
    take_in(store, 6, 100)
    (store.shelf(5) / ENTRY).unlink()
    origin = Store(store.root, read_only=True)
    assert set(recover(origin)) == {6}
    assert store.shelf(5).exists()


# --- a file on its way in ------------------------------------------------------------------------


def part_of(tmp_path: Path, data: bytes) -> PartFile:
    """A file on its way in, of these bytes."""
    file = make_file("f", data)
    part = PartFile(part_path(tmp_path, file), tmp_path / "f", file)
    part.resume()
    return part


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
@pytest.mark.parametrize("piece", [1024 * 1024, 3 * 1024 * 1024 + 7])
def test_pieces_of_any_size_make_the_file(tmp_path: Path, size: int, piece: int) -> None:
    """Chunk borders fall where they like."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    part = part_of(tmp_path, data)
    part.write(data[at : at + piece] for at in range(0, size, piece))
    part.seal()
    part.close()
    assert (tmp_path / "f").read_bytes() == data


def test_a_wrong_chunk_is_cut_off_and_the_good_ones_stay(tmp_path: Path) -> None:
    """After the fall-back the right bytes can follow."""
    data = b"a" * CHUNK_BYTES + b"b" * CHUNK_BYTES
    part = part_of(tmp_path, data)
    part.write([data[:CHUNK_BYTES]])
    with pytest.raises(WrongBytes):
        part.write([b"c" * CHUNK_BYTES])
    assert part.offset == CHUNK_BYTES
    part.write([data[CHUNK_BYTES:]])
    part.seal()
    assert (tmp_path / "f").read_bytes() == data


def test_more_than_there_should_be_is_wrong(tmp_path: Path) -> None:
    """Even one byte; what was right before is kept."""
    part = part_of(tmp_path, b"hello")
    part.write([b"hello"])
    with pytest.raises(WrongBytes):
        part.write([b"!"])
    part.seal()
    assert (tmp_path / "f").read_bytes() == b"hello"


def test_a_torn_tail_is_found_on_resume(tmp_path: Path) -> None:
    """Zeros that a power cut left where a chunk was."""
    data = b"a" * CHUNK_BYTES + b"b" * 100
    part = part_of(tmp_path, data)
    part.write([data])
    part.close()
    with part.path.open("r+b") as raw:
        raw.seek(CHUNK_BYTES)
        raw.write(bytes(100))
    again = PartFile(part.path, part.final, part.file)
    assert again.resume() == CHUNK_BYTES


def test_a_closed_file_takes_nothing_more(tmp_path: Path) -> None:
    """A late thread cannot write into a descriptor that is another file's by now."""
    part = part_of(tmp_path, b"hello")
    part.close()
    with pytest.raises(StoreError) as caught:
        part.write([b"hello"])
    assert caught.value.errno == errno.EBADF
