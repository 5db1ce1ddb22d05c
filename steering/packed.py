"""Routes as rows of an array: 31 bytes each instead of some 300 of Python objects. Pure.

Only what ranking compares is kept (RFC 4271 §9.1.2.2), and which neighbour said it: MEDs of
different neighbours are not comparable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from steering.address import WIDTH_BITS, parse_prefix
from steering.arrays import Array, Buffer, from_buffer, to_bytes
from steering.intervals import KEY_BITS
from wire.reports import PREFIX_BITS_MAX, Route

ROW = np.dtype(
    [
        ("version", "u1"),
        ("start", "<u8"),
        ("length", "u1"),
        ("local_pref", "<u4"),
        ("path_len", "u1"),
        ("origin", "u1"),
        ("neighbor", "<u4"),
        ("origin_as", "<u4"),
        ("med", "<u4"),
    ]
)
"""`start`: the prefix's first KEY_BITS bits; `neighbor` and `origin_as`: first and last AS of the
path, 0 for our own."""
ORIGIN_ORDER = {"igp": 0, "egp": 1, "incomplete": 2}
_U32_MAX = 2**32 - 1  # what BGP carries; a larger number in a report is taken as this
_WHAT = "routes"
assert all(PREFIX_BITS_MAX[version] <= KEY_BITS[version] for version in (4, 6))
assert PREFIX_BITS_MAX[6] <= 48  # `_names` has 48 bits for the start


class Packed:
    """Routes in order of prefix, frozen; equal when they say the same, in whatever order."""

    __slots__ = ("rows",)

    def __init__(self, rows: Array | None = None) -> None:
        """`rows` of type ROW, in any order."""
        rows = np.zeros(0, ROW) if rows is None else rows
        self.rows = rows[np.lexsort([rows[name] for name in reversed(ROW.names or ())])]

    def __len__(self) -> int:
        """How many routes."""
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        """Whether the other says the same."""
        return isinstance(other, Packed) and bool(np.array_equal(self.rows, other.rows))

    def __hash__(self) -> int:
        """By content, as equality is."""
        return hash(self.rows.tobytes())

    def without(self, other: Packed) -> Packed:
        """The routes whose prefixes the other has none for: what was withdrawn since."""
        return Packed(self.rows[~np.isin(_names(self.rows), _names(other.rows))])

    def of_origins(self, asns: Collection[int]) -> Packed:
        """The routes whose last AS is one of these."""
        return Packed(self.rows[np.isin(self.rows["origin_as"], list(asns))])

    def to_bytes(self) -> bytes:
        """For a file; `from_buffer` reads it."""
        return to_bytes(_WHAT, {}, {"rows": self.rows})

    @classmethod
    def from_buffer(cls, buffer: Buffer) -> Packed:
        """Routes of a file, in memory or mapped; raises WireError."""
        _, arrays = from_buffer(_WHAT, buffer)
        made = cls.__new__(cls)
        made.rows = arrays["rows"]
        return made


def pack(routes: Iterable[Route]) -> Packed:
    """Routes as rows; what is no prefix, or longer than any may be, is left out."""
    found = []
    for route in routes:
        try:
            version, start, length = parse_prefix(route.prefix)
        except ValueError:
            continue
        if length <= PREFIX_BITS_MAX[version]:
            start >>= WIDTH_BITS[version] - KEY_BITS[version]
            found.append((version, start, length, *_said(route)))
    return Packed(np.array(found, ROW))


def _said(route: Route) -> tuple[int, int, int, int, int, int]:
    return (
        min(route.local_pref, _U32_MAX),
        len(route.as_path),
        ORIGIN_ORDER[route.origin_code],
        route.as_path[0] if route.as_path else 0,
        route.as_path[-1] if route.as_path else 0,
        min(route.med, _U32_MAX),
    )


def _names(rows: Array) -> Array:
    """Each prefix as one number: version, first bits, length."""
    six = (rows["version"] == 6).astype(np.uint64)
    start = rows["start"] >> (six * np.uint64(16))
    named: Array = six << np.uint64(63) | start << np.uint64(8) | rows["length"].astype(np.uint64)
    return named
