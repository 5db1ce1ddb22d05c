"""What this box is fetching just now: the agent says it to the workers, they to peers that ask.

A peer that is told "it is coming" waits here instead of fetching it from outside once more.
`run/coming.map`: an 8-byte Unix time (seconds, little-endian) until which it holds, then a roaring
bitmap of assets. It is replaced by rename; a file that is past its time says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyroaring import BitMap

COMING_FILE = "coming.map"
HOLDS_S = 15
"""How long one word of it is believed: a box that died says nothing soon after."""
_HEAD_BYTES = 8


def say_coming(run_dir: Path, assets: Iterable[int], now_s: float) -> None:
    """The agent: these are being fetched, as of now (Unix seconds). Blocks; raises OSError."""
    path = run_dir / COMING_FILE
    fresh = path.with_suffix(".new")
    until = (int(now_s) + HOLDS_S).to_bytes(_HEAD_BYTES, "little")
    fresh.write_bytes(until + BitMap(assets).serialize())
    fresh.replace(path)  # not synced: after a crash of the machine it is past its time anyway


class Coming:
    """A worker's side: the file is read again when it was replaced."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is read yet."""
        self._path = run_dir / COMING_FILE
        self._seen = (0, 0)
        self._until_s = 0
        self._assets = BitMap()

    def has(self, asset: int, now_s: float) -> bool:
        """Whether `asset` is being fetched here, as far as is known now (Unix seconds)."""
        try:
            self._look()
        except (OSError, ValueError, IndexError):
            return False
        return now_s < self._until_s and asset in self._assets

    def _look(self) -> None:
        found = self._path.stat()
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            raw = self._path.read_bytes()
            self._until_s = int.from_bytes(raw[:_HEAD_BYTES], "little")
            self._assets = BitMap.deserialize(raw[_HEAD_BYTES:])
            self._seen = seen
