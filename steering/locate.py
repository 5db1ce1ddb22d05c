"""Which sites announced the client's network: longest prefix first, every shorter one after. Pure.

A table is immutable and made of arrays, so it can be built in another process, kept in a file and
mapped. What prefixes have in common is stored once: an *announcement* (a site and its attributes),
a *group* (all announcements of one prefix), a *chain* (a prefix's group and those of all prefixes
around it). Clients with the same chain have the same order of sites. The Internet's 668,000
prefixes build in 4 s and take 21 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from steering.address import WIDTH_BITS, Client, prefix_text
from steering.arrays import Array, Buffer, from_buffer, to_bytes
from steering.intervals import KEY_BITS, NOBODY, Intervals
from steering.packed import Packed, pack
from wire.reports import Route

_WHAT = "route table"
_SAID = ("site", "local_pref", "path_len", "origin", "neighbor", "med", "gone")
_VERSIONS = (4, 6)
LEVELS_MAX = 16_384  # remembered for access records: ~1 kB each


@dataclass(frozen=True, slots=True)
class Announced:
    """One site's best announcement of one prefix: what BGP's decision compares (RFC 4271 §9.1).
    `neighbor` is the AS that said it; `gone`: it did so lately, and withdrew it."""

    site: str
    local_pref: int
    path_len: int
    origin: int
    med: int
    neighbor: int = 0
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """One matching prefix and the sites that announced it."""

    prefix: str
    sites: tuple[Announced, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Routes that one box of a site reported; `gone`: those it withdrew lately."""

    site: str
    routes: Packed
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _Half:
    """The prefixes of one IP version, by number in order of address."""

    spans: Intervals
    starts: Array
    lengths: Array
    chains: Array

    def arrays(self, prefix: str) -> dict[str, Array]:
        own = {"start": self.starts, "length": self.lengths, "chain": self.chains}
        return {prefix + name: array for name, array in (self.spans.arrays() | own).items()}


class RouteTable:
    """All routes of all sites, frozen."""

    __slots__ = ("_chain_group", "_chain_outer", "_four", "_group_said", "_group_start", "_halves",
                 "_known", "_said", "_shift", "_sites", "_six")  # fmt: skip

    def __init__(self, announcements: Iterable[tuple[str, Route]] = ()) -> None:
        """From (site, accepted route) pairs, where they are few; `build` is for many."""
        routes: dict[str, list[Route]] = {}
        for site, route in announcements:
            routes.setdefault(site, []).append(route)
        built = _Build(Source(site, pack(found)) for site, found in routes.items())
        self._take(built.meta, built.arrays)

    @classmethod
    def build(cls, sources: Iterable[Source]) -> RouteTable:
        """From what boxes reported; takes seconds for a full table, so call it off the loop."""
        built = _Build(sources)
        return cls._made(built.meta, built.arrays)

    @classmethod
    def from_buffer(cls, buffer: Buffer) -> RouteTable:
        """From `to_bytes`, in memory or mapped: milliseconds. Raises WireError."""
        return cls._made(*from_buffer(_WHAT, buffer))

    @classmethod
    def _made(cls, meta: dict[str, list[str]], arrays: dict[str, Array]) -> RouteTable:
        made = cls.__new__(cls)
        made._take(meta, arrays)
        return made

    def _take(self, meta: dict[str, list[str]], arrays: dict[str, Array]) -> None:
        self._sites = meta["sites"]
        self._known: dict[tuple[int, int], tuple[Level, ...]] = {}
        self._said = [arrays[name] for name in _SAID]
        self._group_start, self._group_said = arrays["group_start"], arrays["group_said"]
        self._chain_group, self._chain_outer = arrays["chain_group"], arrays["chain_outer"]
        self._halves = {
            version: _Half(
                Intervals.of(version, arrays, f"v{version}_"),
                *(arrays[f"v{version}_{name}"] for name in ("start", "length", "chain")),
            )
            for version in _VERSIONS
        }
        # What the hot path needs, without a look into a dictionary.
        self._four, self._six = (
            (self._halves[version].spans, self._halves[version].chains.data)
            for version in _VERSIONS
        )
        self._shift = WIDTH_BITS[6] - KEY_BITS[6]

    def to_bytes(self) -> bytes:
        """For a file; `from_buffer` reads it."""
        shared = dict(zip(_SAID, self._said, strict=True)) | {
            "group_start": self._group_start,
            "group_said": self._group_said,
            "chain_group": self._chain_group,
            "chain_outer": self._chain_outer,
        }
        halves = (half.arrays(f"v{version}_") for version, half in self._halves.items())
        for arrays in halves:
            shared |= arrays
        return to_bytes(_WHAT, {"sites": self._sites}, shared)

    def chain(self, client: Client) -> int:
        """A number for the client's prefixes and all that was announced for them; NOBODY where
        there is none. What follows from announcements alone may be remembered by it."""
        if client.version == 4:
            spans, chains = self._four
            leaf = spans.leaf(client.value)
        else:
            spans, chains = self._six
            leaf = spans.leaf(client.value >> self._shift)
        return chains[leaf] if leaf >= 0 else NOBODY

    def groups(self, chain: int) -> Iterator[tuple[Announced, ...]]:
        """What was announced for each prefix of a chain, longest prefix first."""
        while chain >= 0:
            yield self._group(int(self._chain_group[chain]))
            chain = int(self._chain_outer[chain])

    def _group(self, group: int) -> tuple[Announced, ...]:
        begin, end = int(self._group_start[group]), int(self._group_start[group + 1])
        return tuple(self._announced(int(row)) for row in self._group_said[begin:end])

    def _announced(self, row: int) -> Announced:
        site, local_pref, path_len, origin, neighbor, med, gone = (
            int(column[row]) for column in self._said
        )
        name = self._sites[site]
        return Announced(name, local_pref, path_len, origin, med, neighbor, bool(gone))

    def locate(self, client: Client) -> tuple[Level, ...]:
        """Every prefix around the client, longest first; empty where nobody announced one."""
        half = self._halves[client.version]
        bits = WIDTH_BITS[client.version] - KEY_BITS[client.version]
        leaf = half.spans.leaf(client.value >> bits)
        known = self._known.get((client.version, leaf))
        if known is None:
            if len(self._known) >= LEVELS_MAX:
                self._known.clear()
            known = tuple(self._levels(client.version, leaf)) if leaf >= 0 else ()
            self._known[client.version, leaf] = known
        return known

    def _levels(self, version: int, leaf: int) -> Iterator[Level]:
        half = self._halves[version]
        for sites in self.groups(int(half.chains[leaf])):
            yield Level(self._text(version, leaf), sites)
            leaf = int(half.spans.parent[leaf])

    def leaves(self, version: int, keys: Array) -> Array:
        """The number of the longest prefix around each key (KEY_BITS of an address), NOBODY where
        there is none: for many at once. uint32 for v4, uint64 for v6."""
        return self._halves[version].spans.leaves(keys)

    def prefix(self, version: int, leaf: int) -> str:
        """The prefix of a number that `leaves` gave."""
        return self._text(version, leaf)

    def length(self, version: int, leaf: int) -> int:
        """Its length in bits."""
        return int(self._halves[version].lengths[leaf])

    def _text(self, version: int, leaf: int) -> str:
        half = self._halves[version]
        network = int(half.starts[leaf]) << (WIDTH_BITS[version] - KEY_BITS[version])
        return prefix_text(version, network, int(half.lengths[leaf]))

    def __len__(self) -> int:
        """The number of different prefixes."""
        return sum(len(half.starts) for half in self._halves.values())


class _Build:
    """The arrays of a table, from what boxes reported."""

    def __init__(self, sources: Iterable[Source]) -> None:
        held = [source for source in sources if len(source.routes)]
        names = sorted({source.site for source in held})
        self.meta = {"sites": names}
        rows, self._site, self._gone = _best(held, names)
        self._said: dict[tuple[int, ...], int] = {}
        self._groups: dict[tuple[int, ...], int] = {}
        self._chains: dict[tuple[int, int], int] = {}
        self.arrays: dict[str, Array] = {}
        for version in _VERSIONS:
            self._half(version, rows, rows["version"] == version)
        self._finish()

    def _half(self, version: int, rows: Array, mine: Array) -> None:
        part = rows[mine]
        heads = _heads(part["start"], part["length"])
        groups = self._groups_of(part, self._site[mine], self._gone[mine], heads)
        starts, lengths = part["start"][heads], part["length"][heads]
        size = np.uint64(1) << (np.uint64(KEY_BITS[version]) - lengths.astype(np.uint64))
        ends = starts + (size - np.uint64(1))
        spans = Intervals.build(version, starts.tolist(), ends.tolist())
        starts = starts.astype(np.uint32 if version == 4 else np.uint64)
        half = _Half(spans, starts, lengths, self._chains_of(groups, spans.parent.tolist()))
        self.arrays |= half.arrays(f"v{version}_")

    def _groups_of(self, part: Array, site: Array, gone: Array, heads: Array) -> list[int]:
        columns = [part[name].tolist() for name in _SAID[1:-1]]
        said = self._said
        rows = [
            said.setdefault(row, len(said))
            for row in zip(site.tolist(), *columns, gone.tolist(), strict=True)
        ]
        groups = self._groups
        return [
            groups.setdefault(tuple(rows[begin:end]), len(groups))
            for begin, end in pairwise([*heads.tolist(), len(rows)])
        ]

    def _chains_of(self, groups: list[int], parents: list[int]) -> Array:
        chains, made = self._chains, list[int]()
        for group, parent in zip(groups, parents, strict=True):
            outer = made[parent] if parent >= 0 else NOBODY
            made.append(chains.setdefault((group, outer), len(chains)))
        return np.array(made, np.int32)

    def _finish(self) -> None:
        said = np.array(list(self._said), np.uint32).reshape(-1, len(_SAID))
        self.arrays |= {name: said[:, at].copy() for at, name in enumerate(_SAID)}
        sizes = [0, *(len(group) for group in self._groups)]
        chains = np.array(list(self._chains), np.int32).reshape(-1, 2)
        self.arrays |= {
            "group_start": np.cumsum(np.array(sizes, np.uint32), dtype=np.uint32),
            "group_said": np.array([row for group in self._groups for row in group], np.uint32),
            "chain_group": chains[:, 0].copy(),
            "chain_outer": chains[:, 1].copy(),
        }


def _best(sources: list[Source], names: list[str]) -> tuple[Array, Array, Array]:
    """(routes, their sites, whether withdrawn): the best one of each site for each prefix, in order
    of prefix. Of several neighbours that are equal up to there, the lowest AS speaks."""
    rows = np.concatenate([source.routes.rows for source in sources] or [Packed().rows])
    counts = [len(source.routes) for source in sources]
    site = np.repeat([names.index(source.site) for source in sources], counts).astype(np.uint32)
    gone = np.repeat([source.gone for source in sources], counts).astype(bool)
    order = np.lexsort(
        (
            rows["med"], rows["neighbor"], rows["origin"], rows["path_len"],
            _U32_MAX - rows["local_pref"], gone, site, rows["length"], rows["start"],
            rows["version"],
        )
    )  # fmt: skip
    rows, site, gone = rows[order], site[order], gone[order]
    heads = _heads(rows["version"], rows["start"], rows["length"], site)
    return rows[heads], site[heads], gone[heads]


_U32_MAX = np.uint32(2**32 - 1)


def _heads(*columns: Array) -> Array:
    """Where a new value begins in any of the columns: row numbers, the first one among them."""
    fresh = np.zeros(len(columns[0]), bool)
    fresh[:1] = True
    for column in columns:
        fresh[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(fresh)
