"""What is believed to be in the page cache: whole blocks, for a second, and no more."""

from __future__ import annotations

import pytest

from oca import files
from oca.files import WARM_BYTES, Entry
from oca.http.respond import facts_of

PAGE = 4096
SIZE = 8 * WARM_BYTES + 5 * PAGE


class Cache:
    """The page cache of one file, and how often it was asked."""

    def __init__(self) -> None:
        self.cold: set[int] = set()
        self.asked = 0

    def __call__(self, _fd: int, offset: int) -> bool:
        self.asked += 1
        return offset // PAGE not in self.cold


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Everything is there at first."""
    found = Cache()
    monkeypatch.setattr(files, "in_page_cache", found)
    return found


def film() -> Entry:
    """A file that nothing is known of; its descriptor is never used."""
    facts = facts_of(SIZE, b'"e"', 0, b"video/mp4", b"no-store", "oca")
    return Entry(facts, 99, None, (0, 0, 0, 0, 0))


def test_ranges_of_a_block_ask_the_kernel_once(cache: Cache) -> None:
    """A hundred ranges within one block, and across two: only the first of each block asks."""
    entry = film()
    for start in range(1000, 600_000, 6000):
        assert entry.warm_to(start, 256 * 1024, 100.2) == start + 256 * 1024
    assert cache.asked == 4, "both ends of the range, and of its block"
    entry.warm_to(WARM_BYTES - 100, 200, 100.3)
    asked = cache.asked
    assert entry.warm_to(WARM_BYTES - 300, 900, 100.9) == WARM_BYTES + 600
    assert cache.asked == asked


def test_a_block_that_is_there_in_part_is_not_believed(cache: Cache) -> None:
    """Its last page is cold: a warm range in it says nothing of the next."""
    entry = film()
    cache.cold = {WARM_BYTES // PAGE - 1}
    assert entry.warm_to(0, 5000, 100.0) == 5000
    assert entry.warm_to(WARM_BYTES - PAGE, PAGE, 100.0) == WARM_BYTES - PAGE, "nothing may be sent"


def test_what_is_believed_is_asked_again_within_a_second(cache: Cache) -> None:
    """The kernel may have evicted it."""
    entry = film()
    entry.warm_to(0, 5000, 100.9)
    cache.cold = {0}
    assert entry.warm_to(0, 5000, 101.4) == 5000, "half a second it is"
    assert entry.warm_to(0, 5000, 101.6) == 0


def test_the_end_of_a_file_is_a_block_of_its_own(cache: Cache) -> None:
    """Its last page is looked at, not one behind it."""
    entry = film()
    cache.cold = {SIZE // PAGE - 1}
    start = 8 * WARM_BYTES
    assert entry.warm_to(start, PAGE, 100.0) == start + PAGE
    assert entry.warm_to(SIZE - 10, 10, 100.0) == SIZE - 10


def test_what_a_thread_read_is_believed_when_it_was_a_block(cache: Cache) -> None:
    """A part of one is not."""
    entry = film()
    entry.note_read(0, 256 * 1024, 100.0)
    entry.note_read(3 * WARM_BYTES, WARM_BYTES, 100.0)
    assert entry.warm_to(3 * WARM_BYTES + 7, 1000, 100.0) == 3 * WARM_BYTES + 1007
    assert cache.asked == 0
    cache.cold = {0}
    assert entry.warm_to(0, 10, 100.0) == 0
