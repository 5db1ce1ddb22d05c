"""Is an address inside any announced prefix? Sorted disjoint ranges and `bisect`. Pure."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel writes it, IPv4 inside IPv6 as IPv4. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Prefixes:
    """A set of prefixes of both families; a million of them are asked in about a microsecond."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        """Prefixes such as "10.0.0.0/8"; host bits are tolerated. Raises ValueError."""
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for text in prefixes:
            network = ipaddress.ip_network(text, strict=False)
            first, last = int(network.network_address), int(network.broadcast_address)
            ranges[network.version].append((first, last))
        self._ranges = {version: _disjoint(found) for version, found in ranges.items()}

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        starts, ends = self._ranges[address.version]
        at = bisect_right(starts, int(address)) - 1
        return at >= 0 and int(address) <= ends[at]


def _disjoint(ranges: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for first, last in sorted(ranges):
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends
