"""Traces are read whole or in any pieces, and a bad row is named with its field."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oca.cache.policy import Key, Policy
from oca.cache.queues import Lru
from oca.cache.replay import Replay
from oca.cache.trace import LINE_BYTES_MAX, batches, is_oracle, oracle_rows, text_rows
from wire.errors import WireError

oracle = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1))
)


def packed(rows: list[tuple[int, int, int]]) -> bytes:
    return b"".join(struct.pack("<IQIq", *row, -1) for row in rows)


@given(rows=oracle, piece=st.integers(1, 100))
def test_binary_rows_come_out_as_they_went_in(rows: list[tuple[int, int, int]], piece: int) -> None:
    """Whatever the blocks are that the file is read in."""
    raw = packed(rows)
    blocks = [raw[at : at + piece] for at in range(0, len(raw), piece)]
    assert list(oracle_rows(blocks, "t")) == rows


def test_a_binary_trace_that_was_cut_off_says_where() -> None:
    """The rows before are replayed; then it is told which row is not whole."""
    rows = oracle_rows([packed([(1, 2, 3), (4, 5, 6)])[:-5]], "cut.oracleGeneral.bin")
    assert next(rows) == (1, 2, 3)
    with pytest.raises(WireError, match=r"cut\.oracleGeneral\.bin: row 2: 19 bytes are left over"):
        next(rows)


def test_text_rows_comments_and_names() -> None:
    """Numbers stay numbers; other ids are told apart; what moves no bytes is left out."""
    lines = [b"# time id bytes\n", b"\n", b"0.5 7 100\n", b" 1\tvideo/a.m4s  200\r\n", b"2 7 0\n"]
    lines += [b"3 07 100\n", b"4 video/b.m4s 200"]
    rows = list(text_rows(lines, "t"))
    assert rows[0] == (0.5, 7, 100)
    assert [size for _, _, size in rows] == [100, 200, 100, 200]
    assert len({key for _, key, _ in rows}) == 4
    assert list(text_rows(lines, "t")) == rows
    assert list(text_rows([b"time id bytes\n", *lines], "t")) == rows


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"1 7\n", "row 2: 2 fields in place of 3"),
        (b"1 7 100 extra\n", "row 2: 4 fields in place of 3"),
        (b"soon 7 100\n", "row 2, time: 'soon' is no number of seconds"),
        (b"nan 7 100\n", "row 2, time: 'nan' is no number of seconds"),
        (b"1 7 -5\n", "row 2, bytes: '-5' is no size in bytes"),
        (b"1 7 1.5\n", "row 2, bytes: '1.5' is no size in bytes"),
        (b"1 7 9223372036854775807999\n", "row 2, bytes: '9223372036854775807999'"),
        (b"1 7 \xff\xfe\n", "row 2, bytes: '"),
        (b"x" * (LINE_BYTES_MAX + 1), "row 2: longer than 4096 bytes"),
    ],
)
def test_a_malformed_line_names_file_row_and_field(line: bytes, fault: str) -> None:
    """Who made the trace learns what to correct, and what a line should be."""
    rows = text_rows([b"0 1 10\n", line], "requests.txt")
    assert next(rows) == (0, 1, 10)
    with pytest.raises(WireError) as caught:
        next(rows)
    assert str(caught.value).startswith(f"requests.txt: {fault}")
    assert "time id bytes" in str(caught.value)


def test_format_is_told_by_the_name() -> None:
    """As libCacheSim names its files."""
    assert is_oracle("a.oracleGeneral.bin")
    assert is_oracle("a.oracleGeneral")
    assert not is_oracle("a.bin.txt")


@given(sizes=st.lists(st.integers(1, 50)), chunk_bytes=st.integers(1, 60))
def test_chunks_cover_an_object_once(sizes: list[int], chunk_bytes: int) -> None:
    """Aligned, as long as the chunk or the rest; a request misses if one of them does."""

    class Seen(Lru):
        asked: list[tuple[Key, int]]

        def request(self, key: Key, size_bytes: int) -> bool:
            self.asked.append((key, size_bytes))
            return super().request(key, size_bytes)

    policy = Seen(10**6)
    policy.asked = []
    replay = Replay("lru", policy, chunk_bytes)
    replay.feed([(0.0, key, size) for key, size in enumerate(sizes)])
    for key, size in enumerate(sizes):
        spans = [(at, length) for (owner, at), length in policy.asked if owner == key]  # type: ignore[misc,has-type]
        assert [at for at, _ in spans] == list(range(0, size, chunk_bytes))
        assert sum(length for _, length in spans) == size
    outcome = replay.outcome()
    assert outcome.requests == len(sizes)
    assert outcome.object_miss_ratio == outcome.byte_miss_ratio == (1 if sizes else 0)


def test_one_missing_chunk_is_a_missed_request_of_that_many_bytes() -> None:
    """A hundred bytes in chunks of forty, of which the last was lost."""
    policy: Policy = Lru(1000)
    replay = Replay("lru", policy, 40)
    replay.feed([(0.0, 1, 100)])
    policy.forget((1, 80))
    replay.feed([(1.0, 1, 100), (2.0, 1, 100)])
    assert (replay.missed, replay.missed_bytes) == (2, 120)


def test_batches_lose_nothing() -> None:
    """The last one is shorter."""
    rows = [(0.0, key, 1) for key in range(7)]
    assert [len(batch) for batch in batches(rows, 3)] == [3, 3, 1]
