"""exabgp's lines, as it writes them, for tests that make their own sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "golden" / "exabgp-5.0.15.jsonl"
A, B = "192.0.2.1", "192.0.2.2"


def line(kind: str, peer: str = A, **about: Any) -> bytes:
    """One line about a neighbour."""
    neighbor = {
        "address": {"local": "192.0.2.10", "peer": peer},
        "asn": {"local": 64510, "peer": 64500},
        **about,
    }
    return json.dumps({"exabgp": "5.0.0", "type": kind, "neighbor": neighbor}).encode() + b"\n"


def state(word: str, peer: str = A, reason: str = "closing connection") -> bytes:
    """A session goes up or down."""
    return line("state", peer, state=word, reason=reason)


def opened(restart_s: int | None, peer: str = A) -> bytes:
    """An OPEN, with graceful restart for both families or without."""
    flags = {"ipv4/unicast": [], "ipv6/unicast": []}
    capability = {"name": "graceful restart", "time": restart_s, "address-family-flags": flags}
    capabilities = {"64": capability} if restart_s is not None else {}
    return line("open", peer, direction="receive", open={"capabilities": capabilities})


def announce(
    *prefixes: str, peer: str = A, path: Sequence[int] = (64500,), **attributes: Any
) -> bytes:
    """An UPDATE with prefixes of one family."""
    family = "ipv6 unicast" if ":" in prefixes[0] else "ipv4 unicast"
    said = {"origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [*path]}}}
    update = {
        "attribute": said | {name.replace("_", "-"): value for name, value in attributes.items()},
        "announce": {family: {"192.0.2.1": [{"nlri": prefix} for prefix in prefixes]}},
    }
    return line("update", peer, direction="receive", message={"update": update})


def withdraw(*prefixes: str, peer: str = A) -> bytes:
    """An UPDATE that takes back."""
    family = "ipv6 unicast" if ":" in prefixes[0] else "ipv4 unicast"
    gone = {"withdraw": {family: [{"nlri": prefix} for prefix in prefixes]}}
    return line("update", peer, direction="receive", message={"update": gone})


def end(family: str = "ipv4 unicast", peer: str = A) -> bytes:
    """End-of-RIB."""
    afi, safi = family.split()
    return line("update", peer, direction="receive", message={"eor": {"afi": afi, "safi": safi}})


def farewell(code: int = 6, subcode: int = 2, peer: str = A) -> bytes:
    """A NOTIFICATION from the other side."""
    said = {"code": code, "subcode": subcode, "data": "0x", "message": ""}
    return line("notification", peer, direction="receive", notification=said)
