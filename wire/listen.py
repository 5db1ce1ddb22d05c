"""Two listeners of one service must not want the same port. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wire.errors import WireError

_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})


def refuse_clash(addresses: Mapping[str, tuple[str, int]], what: str) -> None:
    """Raise WireError naming both settings (name → host, port) of file `what` that clash; port 0
    takes any free one, and the address for all hosts clashes with each."""
    seen: list[tuple[str, str, int]] = []
    for name, (host, port) in addresses.items():
        for before, other, taken in seen:
            if port and port == taken and (host == other or {host, other} & _EVERYWHERE):
                raise WireError(what, name, f"port {port} is taken by {before!r} already")
        seen.append((name, host, port))
