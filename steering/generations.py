"""Generations on disk: a folder of numbered files, written by rename, and `current`.

An adapter. Numbers only grow: going back publishes old content under a new number.
"""

from __future__ import annotations

import re
from pathlib import Path

from wire.codec import decode, encode
from wire.durable import write_durably
from wire.errors import NotFoundError, WireError
from wire.generations import Generation
from wire.log import get

KEPT = 50  # a year of weekly changes; a fleet of 10,000 boxes has 3 MB each
_NAME = re.compile(r"(\d{8})\.json\Z")
_log = get("generations")


class Generations:
    """The folder of generations of one replica."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when it is not there."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def current(self) -> Generation | None:
        """What ran last; None where nothing did, or when its file cannot be read (said so)."""
        try:
            return self.read(int((self._folder / "current").read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, WireError, NotFoundError) as exc:
            _log.warning("the current generation cannot be read", why=str(exc))
            return None

    def numbers(self) -> list[int]:
        """The generations that are kept, oldest first."""
        found = (_NAME.match(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def read(self, number: int) -> Generation:
        """One generation; raises NotFoundError, WireError."""
        file = self._file(number)
        try:
            return decode(Generation, file.read_bytes(), str(file))
        except OSError as exc:
            raise NotFoundError(f"there is no generation {number} in {self._folder}") from exc

    def add(self, generation: Generation) -> None:
        """Write a generation, then make it the current one; the oldest ones go. Raises OSError."""
        write_durably(self._file(generation.number), encode(generation))
        self.point_at(generation.number)
        for number in self.numbers()[:-KEPT]:
            self._file(number).unlink(missing_ok=True)

    def point_at(self, number: int) -> None:
        """Make a generation that is there the current one; raises OSError."""
        write_durably(self._folder / "current", f"{number}\n".encode())

    def next_number(self) -> int:
        """The next one's number; above all that are there."""
        return max(self.numbers(), default=0) + 1

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:08d}.json"
