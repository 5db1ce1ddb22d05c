"""Cache traces: rows of (time, object id, bytes) from binary or text. Pure: blocks and lines in.

Two formats. `.oracleGeneral.bin` is libCacheSim's: 24 little-endian bytes a request (time u32,
id u64, size u32, next access i64, which we do not use). Text has one request a line, `time id
bytes`, separated by blanks; empty lines and lines that begin with # are skipped; an id that is
not a number is hashed, so that one run is like the next.

Requests for nothing (0 bytes) move nothing and are left out, as libCacheSim leaves them out.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from itertools import islice

import xxhash

from wire.errors import WireError

Request = tuple[float, int, int]
"""Time in seconds, object id, bytes."""

ORACLE_ROW = struct.Struct("<IQIq")
TEXT_FIELDS = ("time", "id", "bytes")
HEADER = [name.encode() for name in TEXT_FIELDS]
"""What a first line may say instead of a request."""
LINE_BYTES_MAX = 4096
"""A longer line is no row of a trace; without a bound a binary file would be one endless line."""
SIZE_BYTES_MAX = 1 << 62
DIGITS_MAX = 19
HINT = "a text trace has lines of 'time id bytes'"


def is_oracle(name: str) -> bool:
    """Whether a file of this name is in libCacheSim's binary format."""
    return name.endswith((".oracleGeneral.bin", ".oracleGeneral"))


def oracle_rows(blocks: Iterable[bytes], name: str) -> Iterator[Request]:
    """Rows of a binary trace that comes in blocks of any length.

    Raises WireError if the last row is not whole.
    """
    rest = b""
    row = 0
    for block in blocks:
        data = rest + block
        whole = len(data) - len(data) % ORACLE_ROW.size
        for time_s, key, size_bytes, _ in ORACLE_ROW.iter_unpack(data[:whole]):
            if size_bytes:
                yield time_s, key, size_bytes
        row += whole // ORACLE_ROW.size
        rest = data[whole:]
    if rest:
        raise WireError(
            name,
            f"row {row + 1}",
            f"{len(rest)} bytes are left over, and a row has {ORACLE_ROW.size}",
            hint="the file was cut off, or is not in oracleGeneral format",
        )


def text_rows(lines: Iterable[bytes], name: str) -> Iterator[Request]:
    """Rows of a text trace, line by line. Raises WireError, naming row and field, if one is bad."""
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_BYTES_MAX:
            raise WireError(name, f"row {number}", f"longer than {LINE_BYTES_MAX} bytes", hint=HINT)
        fields = line.split()
        if not fields or fields[0].startswith(b"#") or (number == 1 and fields == HEADER):
            continue
        if len(fields) != len(TEXT_FIELDS):
            raise WireError(
                name,
                f"row {number}",
                f"{len(fields)} fields in place of 3: {_shown(line)}",
                hint=HINT,
            )
        request = _time_s(fields[0], name, number), _id(fields[1]), _size(fields[2], name, number)
        if request[2]:
            yield request


def batches(rows: Iterable[Request], count: int) -> Iterator[list[Request]]:
    """The rows in lists of at most `count`."""
    iterator = iter(rows)
    while batch := list(islice(iterator, count)):
        yield batch


def _time_s(field: bytes, name: str, row: int) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise WireError(
            name, f"row {row}, time", f"{_shown(field)} is no number of seconds", hint=HINT
        )
    return value


def _id(field: bytes) -> int:
    """A plain decimal number as it is, anything else by its hash (xxh3-64 of the bytes)."""
    if len(field) <= DIGITS_MAX and field.isdigit() and (field[0:1] != b"0" or field == b"0"):
        return int(field)
    return xxhash.xxh3_64_intdigest(field)


def _size(field: bytes, name: str, row: int) -> int:
    size_bytes = int(field) if field.isdigit() and len(field) <= DIGITS_MAX else -1
    if not 0 <= size_bytes <= SIZE_BYTES_MAX:
        raise WireError(
            name, f"row {row}, bytes", f"{_shown(field)} is no size in bytes", hint=HINT
        )
    return size_bytes


def _shown(raw: bytes) -> str:
    """What was found, short enough for one line of a terminal."""
    text = raw.strip().decode("utf-8", "replace")
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return repr(text if len(text) <= 60 else text[:57] + "...")
