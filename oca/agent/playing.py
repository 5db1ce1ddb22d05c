"""From rows of sessions to what travels: sums by asset, home site and minute, no session. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from oca.playrow import Row
from wire.events import Played, Said

Key = tuple[int, str, int]


def summarise(rows: Iterable[Row]) -> list[Played]:
    """Rows of the same asset, home site and minute added up; sessions are counted, not named."""
    sums: dict[Key, Counter[str]] = {}
    sessions: dict[Key, set[int]] = {}
    for row in rows:
        key = row.asset, row.home, row.minute
        sums.setdefault(key, Counter()).update(row.said)
        sessions.setdefault(key, set()).add(row.session)
    return [_played(key, said, len(sessions[key] - {0})) for key, said in sums.items()]


def _played(key: Key, said: Counter[str], sessions: int) -> Played:
    return Played(
        asset=key[0],
        home=key[1],
        minute=key[2],
        sessions=sessions,
        requests=said["requests"],
        starved=said["starved"],
        startups=said["startups"],
        late=said["late"],
        bitrate_kbps=_said(said, "br"),
        top_kbps=_said(said, "tb"),
        throughput_kbps=_said(said, "mtp"),
        buffer_ms=_said(said, "bl"),
    )


def _said(said: Counter[str], name: str) -> Said | UnsetType:
    count = said[f"{name}_count"]
    return Said(sum=said[f"{name}_sum"], count=count) if count else UNSET
