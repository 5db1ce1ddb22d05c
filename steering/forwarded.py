"""Whose request this is: the socket's address, or RFC 7239 `Forwarded` from a listed proxy. Pure.

Nobody else's header is believed: whoever could name an address would choose an appliance.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from steering.address import Client, parse_client
from wire.errors import WireError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADER_CHARS_MAX = 2048  # ten hops of the longest form fit
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")\s*')
_NODE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?\Z")


def parse_proxies(texts: Sequence[str], what: str) -> tuple[Network, ...]:
    """The listed proxies, addresses or prefixes; raises WireError naming the bad one."""
    found: list[Network] = []
    for index, text in enumerate(texts):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as exc:
            raise WireError(what, f"proxies[{index}]", f"{text!r} is not a prefix") from exc
    return tuple(found)


def client_of(peer: str, header: str, proxies: Sequence[Network]) -> Client:
    """The client of a request that came from address `peer`; raises WireError when a listed
    proxy sent a header that is not RFC 7239.

    Hops are believed from the right as long as listed proxies named them; a hop that is hidden
    (`unknown`, `_label`) ends the walk at the last known one.
    """
    current = parse_client(peer, "peer")
    if not header or not proxies:
        return current
    hops: list[str] | None = None
    while is_listed(current, proxies):
        hops = _hops(header) if hops is None else hops
        if not hops:
            break
        node = _NODE.match(hops.pop())
        if node is None:
            break
        current = parse_client(node["v6"] or node["v4"], "Forwarded")
    return current


def is_listed(client: Client, proxies: Sequence[Network]) -> bool:
    """Whether an address is one of the listed proxies."""
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    address = (ipaddress.IPv4Address if client.version == 4 else ipaddress.IPv6Address)(
        client.value
    )
    return any(address in network for network in proxies)


def _hops(header: str) -> list[str]:
    """The `for=` of every hop, nearest last; a hop without one counts as unknown."""
    if len(header) > HEADER_CHARS_MAX:
        raise WireError("header", "Forwarded", f"longer than {HEADER_CHARS_MAX} characters")
    hops: list[str] = []
    position, node = 0, "unknown"
    while True:
        pair = _PAIR.match(header, position)
        if pair is None:
            raise WireError("header", "Forwarded", f"not RFC 7239 at character {position}")
        if pair[1].lower() == "for":
            quoted = pair[3]
            node = pair[2] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = pair.end()
        if position == len(header):
            return [*hops, node]
        if header[position] == ",":
            hops.append(node)
            node = "unknown"
        elif header[position] != ";":
            raise WireError("header", "Forwarded", f"not RFC 7239 at character {position}")
        position += 1
