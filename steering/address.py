"""A client's address as steering handles it: a number, its prefix for logs, nothing of a person."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from wire.errors import WireError

# What is logged, and what spreads clients over boxes: never the whole address.
BLOCK_BITS = {4: 24, 6: 48}
WIDTH_BITS = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Client:
    """An address: IP version, its value as an integer, and how people write it."""

    version: int
    value: int
    text: str

    @property
    def block(self) -> int:
        """The number of its /24 (v4) or /48 (v6)."""
        return self.value >> (WIDTH_BITS[self.version] - BLOCK_BITS[self.version])

    @property
    def block_text(self) -> str:
        """Its /24 or /48 as text: all that a log may say about a client."""
        bits = BLOCK_BITS[self.version]
        network = self.block << (WIDTH_BITS[self.version] - bits)
        return prefix_text(self.version, network, bits)


def parse_client(text: str, field: str = "client") -> Client:
    """Read an address; v4 inside v6 (RFC 4291 §2.5.5.2) counts as v4. Raises WireError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise WireError("query", field, f"{text[:64]!r} is not an IP address") from exc
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.scope_id is not None:
            address = ipaddress.IPv6Address(int(address))
    return Client(address.version, int(address), str(address))


def parse_prefix(text: str) -> tuple[int, int, int]:
    """A prefix as (IP version, first address, length in bits); raises ValueError.

    Bits beyond the length must be zero, as in BGP.
    """
    if ":" not in text:
        return (4, *_parse_v4(text))
    network = ipaddress.IPv6Network(text)
    return 6, int(network.network_address), network.prefixlen


def _parse_v4(text: str) -> tuple[int, int]:
    # By hand: a full table has half a million of these, and ipaddress takes 3 µs for each.
    address, slash, bits_text = text.partition("/")
    parts = address.split(".")
    if len(parts) != 4 or not slash:
        raise ValueError(f"{text[:64]!r} is not a prefix")
    value = 0
    for part in parts:
        if not (part.isascii() and part.isdigit()) or len(part) > 3 or int(part) > 255:
            raise ValueError(f"{text[:64]!r} is not a prefix")
        value = value << 8 | int(part)
    if not (bits_text.isascii() and bits_text.isdigit()) or int(bits_text) > 32:
        raise ValueError(f"{text[:64]!r} is not a prefix")
    bits = int(bits_text)
    if value & ((1 << (32 - bits)) - 1):
        raise ValueError(f"{text[:64]!r} has bits set beyond its length")
    return value, bits


def prefix_text(version: int, network: int, bits: int) -> str:
    """A prefix as people write it."""
    if version == 4:
        return f"{ipaddress.IPv4Address(network)}/{bits}"
    return f"{ipaddress.IPv6Address(network)}/{bits}"
