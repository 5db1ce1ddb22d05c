"""Locating among the Internet's prefixes, against an independent implementation (py-radix)."""

from __future__ import annotations

import csv
import gzip
import ipaddress
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import radix

from steering.address import Client
from steering.locate import RouteTable, Source
from steering.packed import ROW, Packed

SHARED = Path(os.environ.get("OCA_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FILES = {4: "asn-ipv4.csv.gz", 6: "asn-ipv6.csv.gz"}
real = pytest.mark.skipif(
    not (SHARED / "data" / FILES[4]).is_file(), reason=f"needs {SHARED}/data (set OCA_SHARED)"
)
LONGEST = {4: 24, 6: 48}
KEY = {4: 32, 6: 64}


def prefixes(version: int, every: int) -> Iterator[tuple[int, int]]:
    """(first key, length) of the prefixes that may be announced, of one row of `every`; ranges are
    cut into prefixes."""
    width = 32 if version == 4 else 128
    address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    with gzip.open(SHARED / "data" / FILES[version], "rt", newline="") as lines:
        for first_text, last_text, *_ in islice(csv.reader(lines), 0, None, every):
            first, last = int(address(first_text)), int(address(last_text))
            while first <= last:
                size = (last - first + 1).bit_length() - 1
                bits = min(size, (first & -first).bit_length() - 1) if first else size
                if width - bits <= LONGEST[version]:
                    yield first >> (width - KEY[version]), width - bits
                first += 1 << bits


def nested(version: int, every: int) -> set[tuple[int, int]]:
    """The real prefixes, and shorter ones around some of them, so that there are
    chains: the public table has none."""
    found = set(prefixes(version, every))
    for start, length in sorted(found)[::7]:
        for shorter in (length - 1, length - 4):
            if shorter >= 8:
                mask = (1 << (KEY[version] - shorter)) - 1
                found.add((start & ~mask, shorter))
    return found


def table_of(found: dict[int, set[tuple[int, int]]]) -> RouteTable:
    """Everything announced by one site."""
    rows = [(v, start, length, 100, 1, 0, 1) for v, some in found.items() for start, length in some]
    names = ("version", "start", "length", "local_pref", "path_len", "origin", "neighbor")
    packed = np.zeros(len(rows), ROW)
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        packed[name] = column
    return RouteTable.build([Source("site", Packed(packed))])


def agree(every: int, addresses: int) -> None:
    """Both say the same of random addresses, half of them anywhere, half near a prefix."""
    found = {version: nested(version, every) for version in FILES}
    table = RouteTable.from_buffer(table_of(found).to_bytes())
    assert len(table) == sum(map(len, found.values()))
    tree = radix.Radix()
    for version, some in found.items():
        size = KEY[version] // 8
        for start, length in some:
            packed = start.to_bytes(size) + bytes(0 if version == 4 else 8)
            tree.add(packed=packed, masklen=length)
    rng = np.random.default_rng(7)
    for version, some in found.items():
        half = addresses // 4
        top = 2 ** KEY[version]
        near = rng.choice(np.array([start for start, _ in some], np.uint64), half)
        near = near + rng.integers(0, 2 ** (KEY[version] - LONGEST[version]), half, np.uint64)
        keys = np.concatenate([rng.integers(0, top - 1, half, np.uint64), near])
        leaves = table.leaves(version, keys.astype(np.uint32 if version == 4 else np.uint64))
        wrong = 0
        for key, leaf in zip(keys.tolist(), leaves.tolist(), strict=True):
            packed = key.to_bytes(KEY[version] // 8) + bytes(0 if version == 4 else 8)
            node = tree.search_best(packed=packed)
            said = None if leaf < 0 else table.length(version, leaf)
            wrong += said != (None if node is None else node.prefixlen)
        assert wrong == 0
        shift = 0 if version == 4 else 64
        for key, leaf in list(zip(keys.tolist(), leaves.tolist(), strict=True))[:2000]:
            levels = table.locate(Client(version, key << shift, ""))
            assert bool(levels) == (leaf >= 0)
            if levels:
                assert levels[0].prefix == table.prefix(version, leaf)


@real
def test_a_part_of_the_real_table_agrees_with_py_radix() -> None:
    """A fiftieth of the Internet's prefixes, and shorter ones around them; 20,000 addresses."""
    agree(every=50, addresses=20_000)


@real
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_whole_table_agrees_with_py_radix_on_a_million_addresses() -> None:
    """Every prefix there is."""
    agree(every=1, addresses=1_000_000)
