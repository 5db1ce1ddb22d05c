"""Request bodies are drained to the byte, or refused: never is a body read as a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oca.http.body import BODY_BYTES_MAX, Chunked, Sized
from oca.http.errors import RequestError


def drain(pieces: list[bytes]) -> int | str | None:
    """How many bytes the chunked body took, None when unfinished, or "status" of its refusal."""
    body, taken = Chunked(), 0
    for piece in pieces:
        try:
            end = body.feed(piece)
        except RequestError as exc:
            return str(exc.status)
        if end is not None:
            return taken + end
        taken += len(piece)
    return None


def split(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


GOOD = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b'5;a=b;c="d e"\r\nhello\r\nA\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n',
]
BAD = [
    b"5\nhello\n0\n\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"-1\r\n",
    b"\r\n",
    b"5 \r\nhello\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"5;\0\r\nhello\r\n",
    b"5\rhello",
    b"0\r\nnot a field\r\n\r\n",
    b"0\r\n A: b\r\n\r\n",
    b"%s\r\n" % (b"0" * 17),
    b"g\r\n",
]


@pytest.mark.parametrize("raw", GOOD)
def test_chunked_bodies_end_at_their_last_byte(raw: bytes) -> None:
    """Whole, bytewise, and with a request behind it: the same end."""
    assert drain([raw]) == drain(split(raw)) == drain([raw + b"GET / HTTP/1.1"]) == len(raw)


@pytest.mark.parametrize("raw", BAD)
def test_bad_chunks_are_400(raw: bytes) -> None:
    """Whole or bytewise, a framing error is seen as soon as it is there."""
    assert drain([raw]) == drain(split(raw)) == "400"


@pytest.mark.parametrize(
    "raw",
    [b"zz", b"-", b"5,", b"5\r\nhelloX", b"5\r\nhello\rX", b"0\r\nA b", b"0\r\n A", b"0\r\n\rX"],
)
def test_what_cannot_become_a_chunk_is_refused_before_its_line_ends(raw: bytes) -> None:
    """No waiting for a newline that may never come."""
    assert drain([raw]) == drain(split(raw)) == "400"


@pytest.mark.parametrize(
    "raw",
    [
        b"%x\r\n" % (BODY_BYTES_MAX + 1),
        b"1;" + b"a" * 2000,
        b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nX\r\n" * 5000,
    ],
)
def test_too_much_is_413(raw: bytes) -> None:
    """Size, one line, and framing overhead are all bounded."""
    assert drain([raw]) == "413"


def test_trailers_are_bounded() -> None:
    """A trailer section without end is refused."""
    assert drain([b"0\r\n" + b"A: bcdefgh\r\n" * 1000]) == "431"


@given(st.integers(0, 5000), st.lists(st.integers(1, 1000), max_size=30))
def test_sized_bodies_end_at_their_length(length: int, pieces: list[int]) -> None:
    """However the bytes arrive, exactly `length` of them are taken."""
    body, taken = Sized(length), 0
    for size in [*pieces, 5000]:
        end = body.feed(b"x" * size)
        if end is not None:
            assert taken + end == length
            return
        taken += size
    raise AssertionError("never ended")
