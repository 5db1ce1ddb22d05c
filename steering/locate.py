"""Which sites announced the client's network: longest prefix first, every shorter one after. Pure.

A table is immutable: nested prefixes are flattened once into sorted ranges, so that a look-up is
one bisection, and the less specific matches are a chain of parents (as in a path of a radix tree,
RFC 1812 §5.2.4.3). A full Internet table takes a few seconds to build and ~20 MB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from steering.address import WIDTH_BITS, Client, parse_prefix, prefix_text
from wire.reports import PREFIX_BITS_MAX, Route

# Bits that prefixes are told apart by: v6 announcements end at /48, so half an address will do.
_KEY_BITS = {4: 32, 6: 64}
_KEY_TYPE = {4: "I", 6: "Q"}
_ORIGIN_ORDER = {"igp": 0, "egp": 1, "incomplete": 2}
assert all(PREFIX_BITS_MAX[version] <= _KEY_BITS[version] for version in (4, 6))


@dataclass(frozen=True, slots=True)
class Announced:
    """One site's best announcement of one prefix: what BGP's decision compares (RFC 4271 §9.1)."""

    site: str
    local_pref: int
    path_len: int
    origin: int
    med: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Smaller is better."""
        return (-self.local_pref, self.path_len, self.origin, self.med)


def announced(site: str, route: Route) -> Announced:
    """What a site's route says, as far as ranking goes."""
    return Announced(
        site, route.local_pref, len(route.as_path), _ORIGIN_ORDER[route.origin_code], route.med
    )


@dataclass(frozen=True, slots=True)
class Level:
    """One matching prefix and the sites that announced it."""

    prefix: str
    sites: tuple[Announced, ...]


class _Half:
    """The table of one IP version. A node is one prefix; range i belongs to node `owner[i] - 1`."""

    __slots__ = ("bits", "group", "length", "owner", "parent", "start", "version", "where")

    def __init__(self, version: int, prefixes: dict[tuple[int, int], int]) -> None:
        self.version = version
        self.bits = _KEY_BITS[version]
        self.where = array(_KEY_TYPE[version])
        self.owner = array("I")
        self.start = array(_KEY_TYPE[version])
        self.length = array("B")
        self.parent = array("i")
        self.group = array("I")
        self._sweep(prefixes)

    def _sweep(self, prefixes: dict[tuple[int, int], int]) -> None:
        """Walk the prefixes in order of address, keeping the open ones on a stack."""
        open_nodes: list[tuple[int, int]] = []
        for node, (start, length) in enumerate(sorted(prefixes)):
            while open_nodes and open_nodes[-1][0] < start:
                self._close(open_nodes)
            self.start.append(start)
            self.length.append(length)
            self.parent.append(open_nodes[-1][1] if open_nodes else -1)
            self.group.append(prefixes[start, length])
            self._mark(start, node + 1)
            open_nodes.append((start + (1 << (self.bits - length)) - 1, node))
        while open_nodes:
            self._close(open_nodes)

    def _close(self, open_nodes: list[tuple[int, int]]) -> None:
        end, _ = open_nodes.pop()
        if end + 1 < 1 << self.bits:
            self._mark(end + 1, open_nodes[-1][1] + 1 if open_nodes else 0)

    def _mark(self, position: int, owner: int) -> None:
        if self.where and self.where[-1] == position:
            self.owner[-1] = owner
        else:
            self.where.append(position)
            self.owner.append(owner)

    def leaf(self, key: int) -> int:
        """The node of the longest prefix around `key`; -1 where there is none."""
        index = bisect_right(self.where, key) - 1
        return self.owner[index] - 1 if index >= 0 else -1

    def text(self, node: int) -> str:
        """The prefix of a node."""
        shift = WIDTH_BITS[self.version] - self.bits
        return prefix_text(self.version, self.start[node] << shift, self.length[node])


class RouteTable:
    """All routes of all sites, frozen."""

    __slots__ = ("_groups", "_halves")

    def __init__(self, announcements: Iterable[tuple[str, Route]] = ()) -> None:
        """Build from (site, accepted route) pairs; a route that is no prefix is left out."""
        best: dict[int, dict[tuple[int, int], dict[str, Announced]]] = {4: {}, 6: {}}
        interned: dict[Announced, Announced] = {}
        for site, route in announcements:
            try:
                version, start, length = parse_prefix(route.prefix)
            except ValueError:
                continue
            if length > PREFIX_BITS_MAX[version]:
                continue
            start >>= WIDTH_BITS[version] - _KEY_BITS[version]
            said = announced(site, route)
            said = interned.setdefault(said, said)
            at = best[version].setdefault((start, length), {})
            held = at.get(site)
            if held is None or said.key < held.key:
                at[site] = said
        groups: dict[tuple[Announced, ...], int] = {}
        self._halves = {version: _half(version, found, groups) for version, found in best.items()}
        self._groups = tuple(groups)

    def leaf(self, client: Client) -> int:
        """A number for the longest prefix around the client, -1 for none; equal leaves of one IP
        version have equal levels, so what follows from them may be remembered by leaf."""
        half = self._halves[client.version]
        return half.leaf(client.value >> (WIDTH_BITS[client.version] - half.bits))

    def levels(self, version: int, leaf: int) -> tuple[Level, ...]:
        """Every prefix around a leaf, longest first."""
        half, found = self._halves[version], []
        while leaf >= 0:
            found.append(Level(half.text(leaf), self._groups[half.group[leaf]]))
            leaf = half.parent[leaf]
        return tuple(found)

    def locate(self, client: Client) -> tuple[Level, ...]:
        """Every prefix around the client, longest first; empty where nobody announced one."""
        return self.levels(client.version, self.leaf(client))

    def __len__(self) -> int:
        """The number of different prefixes."""
        return sum(len(half.start) for half in self._halves.values())


def _half(
    version: int,
    found: dict[tuple[int, int], dict[str, Announced]],
    groups: dict[tuple[Announced, ...], int],
) -> _Half:
    prefixes = {
        key: groups.setdefault(tuple(at.values()), len(groups)) for key, at in found.items()
    }
    return _Half(version, prefixes)
