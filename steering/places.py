"""The operator's tables of networks: which AS an address is of, and where it is. Pure.

CSV, a network a row: `PREFIX,…` or `FIRST,LAST,…`, then the AS number, or latitude and longitude in
degrees; what follows is ignored, so public tables fit as they are. A network inside another one
wins. Networks smaller than a /64 (v6) are left out.
"""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from steering.address import WIDTH_BITS, Client, parse_prefix
from steering.arrays import Array, Buffer, from_buffer, to_bytes
from steering.intervals import KEY_BITS, NOBODY, Intervals
from steering.rank import Around, Place
from wire.errors import WireError

_AS, _PLACE = "table of AS numbers", "table of places"
_VERSIONS = (4, 6)
_BOUNDS = {1: ((0, 2**32 - 1),), 2: ((-90, 90), (-180, 180))}  # AS; latitude and longitude
Row = tuple[int, int, int, tuple[float, ...]]
"""IP version, first and last key, and the values."""


class NetworkTable:
    """One such table, frozen: a row of numbers for each network."""

    __slots__ = ("_spans", "_values", "_what")

    def __init__(self, what: str, spans: dict[int, Intervals], values: dict[int, Array]) -> None:
        """From arrays; `asn_table` and `place_table` read CSV."""
        self._what, self._spans, self._values = what, spans, values

    def number(self, client: Client) -> int:
        """The number of the client's network within its IP version; NOBODY when not known."""
        bits = WIDTH_BITS[client.version] - KEY_BITS[client.version]
        return self._spans[client.version].leaf(client.value >> bits)

    def values(self, version: int, number: int) -> tuple[float, ...] | None:
        """What the table says of a network."""
        if number == NOBODY:
            return None
        return tuple(float(value) for value in self._values[version][number])

    def __len__(self) -> int:
        """How many networks."""
        return sum(len(values) for values in self._values.values())

    def to_bytes(self) -> bytes:
        """For a file; `from_buffer` reads it."""
        arrays: dict[str, Array] = {}
        for version, spans in self._spans.items():
            mine = spans.arrays() | {"values": self._values[version].reshape(-1)}
            arrays |= {f"v{version}_{name}": array for name, array in mine.items()}
        return to_bytes(self._what, {}, arrays)

    @classmethod
    def from_buffer(cls, what: str, width: int, buffer: Buffer) -> NetworkTable:
        """From a file, mapped or in memory; raises WireError."""
        _, arrays = from_buffer(what, buffer)
        spans = {version: Intervals.of(version, arrays, f"v{version}_") for version in _VERSIONS}
        values = {v: arrays[f"v{v}_values"].reshape(-1, width) for v in _VERSIONS}
        return cls(what, spans, values)


def asn_table(lines: Iterable[str], file: str) -> NetworkTable:
    """Read a table of AS numbers; raises WireError naming file and row."""
    return _table(_AS, _rows(lines, file, 1), file, 1)


def asn_table_of(buffer: Buffer) -> NetworkTable:
    """The table of AS numbers in a buffer; raises WireError."""
    return NetworkTable.from_buffer(_AS, 1, buffer)


def place_table(lines: Iterable[str], file: str) -> NetworkTable:
    """Read a table of latitudes and longitudes; raises WireError naming file and row."""
    return _table(_PLACE, _rows(lines, file, 2), file, 2)


def place_table_of(buffer: Buffer) -> NetworkTable:
    """The table of places in a buffer; raises WireError."""
    return NetworkTable.from_buffer(_PLACE, 2, buffer)


class Tables:
    """Both tables, each of which may be missing."""

    __slots__ = ("_asn", "_place")

    def __init__(self, asn: NetworkTable | None = None, place: NetworkTable | None = None) -> None:
        """Frozen, and swapped as a whole."""
        self._asn, self._place = asn, place

    def __bool__(self) -> bool:
        """Whether there is anything to look up."""
        return self._asn is not None or self._place is not None

    def numbers(self, client: Client) -> tuple[int, int, int]:
        """What `around` is a function of: clients with the same numbers get the same."""
        asn = NOBODY if self._asn is None else self._asn.number(client)
        place = NOBODY if self._place is None else self._place.number(client)
        return client.version, asn, place

    def around(self, numbers: tuple[int, int, int]) -> Around:
        """What is known of the clients with these numbers."""
        version, asn, place = numbers
        said = self._asn.values(version, asn) if self._asn else None
        where = self._place.values(version, place) if self._place else None
        at: Place | None = (where[0], where[1]) if where else None
        return Around(int(said[0]) if said else None, at)


def _rows(lines: Iterable[str], file: str, width: int) -> Iterator[Row]:
    """The networks of a CSV file; blank lines, comments and one heading are passed over."""
    for number, cells in enumerate(csv.reader(lines), 1):
        if not cells or cells[0].startswith("#"):
            continue
        try:
            yield _row(cells, width)
        except ValueError as exc:
            if number > 1 or any(char.isdigit() for char in cells[0]):
                hint = "PREFIX,… or FIRST,LAST,… and then the AS, or latitude and longitude"
                raise WireError(file, f"row {number}", str(exc), hint=hint) from exc


def _row(cells: Sequence[str], width: int) -> Row:
    if "/" in cells[0]:
        version, first, length = parse_prefix(cells[0])
        last, rest = first | ((1 << (WIDTH_BITS[version] - length)) - 1), cells[1:]
    else:
        version, first, last, rest = *_range(cells), cells[2:]
    if len(rest) < width:
        raise ValueError(f"{width + len(cells) - len(rest)} values are needed")
    values = tuple(float(cell) for cell in rest[:width])
    bounds = _BOUNDS[width]
    if not all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True)):
        raise ValueError(f"{', '.join(rest[:width])} is out of bounds")
    shift = WIDTH_BITS[version] - KEY_BITS[version]
    return version, -(-first >> shift), ((last + 1) >> shift) - 1, values


def _range(cells: Sequence[str]) -> tuple[int, int, int]:
    if len(cells) < 2:
        raise ValueError("this is neither a prefix nor a range")
    first, last = ipaddress.ip_address(cells[0]), ipaddress.ip_address(cells[1])
    if first.version != last.version or int(first) > int(last):
        raise ValueError(f"{cells[0]} to {cells[1]} is not a range")
    return first.version, int(first), int(last)


def _table(what: str, rows: Iterable[Row], file: str, width: int) -> NetworkTable:
    found: dict[int, list[Row]] = {version: [] for version in _VERSIONS}
    for row in rows:
        if row[1] <= row[2]:
            found[row[0]].append(row)
    spans, values = {}, {}
    for version, mine in found.items():
        mine.sort(key=lambda row: (row[1], -row[2]))
        try:
            spans[version] = Intervals.build(
                version, [row[1] for row in mine], [row[2] for row in mine]
            )
        except ValueError as exc:
            raise WireError(file, "", str(exc)) from exc
        kind = np.uint32 if width == 1 else np.float32
        values[version] = np.array([row[3] for row in mine], kind).reshape(-1, width)
    return NetworkTable(what, spans, values)
