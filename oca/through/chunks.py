"""Fixed, aligned chunks of an object: arithmetic only. Pure.

1 MiB: a range that a player asks for is a segment or a part of one (0.3–8 MiB), so at most two
chunks are fetched in excess; opening a chunk costs ~10 µs against ~150 µs for sending it; and an
index of 100 GB is 100,000 entries.
"""

from __future__ import annotations

CHUNK_BYTES = 1 << 20

BLOCK_BYTES = 4096
TRAILER_BYTES = 32
META_BYTES = BLOCK_BYTES  # of the version's own file, charged to every chunk: never too little


def chunk_at(offset: int) -> int:
    """The number of the chunk that byte `offset` is in."""
    return offset // CHUNK_BYTES


def start_of_chunk(number: int) -> int:
    """The offset of a chunk's first byte."""
    return number * CHUNK_BYTES


def length_of(number: int, size: int) -> int:
    """Bytes in a chunk of an object of `size` bytes; 0 beyond its end."""
    return max(0, min(CHUNK_BYTES, size - number * CHUNK_BYTES))


def count_of(size: int) -> int:
    """How many chunks an object of `size` bytes has."""
    return -(-size // CHUNK_BYTES)


def aligned(first: int, last: int) -> tuple[int, int]:
    """The bytes (first, last; both included) of the chunks that hold bytes `first`–`last`."""
    return start_of_chunk(chunk_at(first)), start_of_chunk(chunk_at(last) + 1) - 1


def cost_of(length: int) -> int:
    """Bytes on the disk that a stored chunk of `length` bytes takes, with a share of the meta."""
    return -(-(length + TRAILER_BYTES) // BLOCK_BYTES) * BLOCK_BYTES + META_BYTES
