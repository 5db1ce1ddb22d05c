"""What one session said in one minute of one asset: a row from worker to agent. Pure.

The worker's side and the file are oca.playback; oca.agent.playing makes events of it.
"""

from __future__ import annotations

import msgspec

COLUMNS = (
    *("requests", "starved", "startups", "late"),
    *("br_sum", "br_count", "tb_sum", "tb_count"),
    *("mtp_sum", "mtp_count", "bl_sum", "bl_count"),
)
"""What is counted; sums with their counts are of the CMCD keys of that name (kb/s; `bl` in ms)."""


class Row(msgspec.Struct, frozen=True):
    """`minute` in Unix minutes; `session` is a hash, 0 where none is known; `said` by COLUMNS."""

    minute: int
    asset: int
    home: str
    session: int
    said: dict[str, int]


class News(msgspec.Struct, frozen=True):
    """What is new in one ring: `newest` is the last row read, `lost` rows were overwritten."""

    ring: str
    newest: int
    lost: int
    rows: tuple[Row, ...]
