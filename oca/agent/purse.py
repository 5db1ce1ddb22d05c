"""The night's spending on disk, so that no restart gives a box its budget again.

What is written runs ahead of what was spent, and is written again when that is used up: a box that
is killed forgets nothing, and loses at most one step of its budget.
"""

from __future__ import annotations

from pathlib import Path

from oca.agent.budget import Spent, grown, left_bytes, turned
from wire.codec import decode, encode
from wire.durable import write_durably
from wire.errors import OcaError
from wire.log import get

PURSE_FILE = "spent.json"
STEP_BYTES = 256 * 1024 * 1024
STEP_SHARE = 1 / 128
"""Of the budget: the most that a crash may cost it."""

_log = get("fill")


class Purse:
    """Owns `run/spent.json`. `took` never blocks; `keep` does."""

    def __init__(self, run_dir: Path, night_bytes: int) -> None:
        """Go on from what an earlier life spent; `night_bytes` is the operator's budget, or 0."""
        self._path, self._night_bytes = run_dir / PURSE_FILE, night_bytes
        self._spent = self._kept = self._read()
        self._plan_bytes = 0

    def turn(self, night: str, generation: int, plan_bytes: int) -> None:
        """This is the night, and the plan that is followed with its budget."""
        self._plan_bytes = plan_bytes
        self._spent = turned(self._spent, night, generation)

    def took(self, count_bytes: int) -> None:
        """Bytes were pulled."""
        self._spent = grown(self._spent, count_bytes)

    def left_bytes(self) -> int:
        """What may still be pulled."""
        return left_bytes(self._spent, self._plan_bytes, self._night_bytes)

    @property
    def is_due(self) -> bool:
        """Whether more was spent than is written down, or it was for another night or plan."""
        spent, kept = self._spent, self._kept
        same = (spent.night, spent.generation) == (kept.night, kept.generation)
        return not same or spent.night_bytes > kept.night_bytes

    def keep(self, *, ahead: bool) -> None:
        """Write it down, `ahead` of what will be pulled next, or exactly; blocks. A disk that
        refuses is logged: filling goes on, and `is_due` stays."""
        step = min(STEP_BYTES, int(self._plan_bytes * STEP_SHARE)) if ahead else 0
        kept = grown(self._spent, step)
        try:
            write_durably(self._path, encode(kept))
        except OSError as exc:
            _log.error("what was spent cannot be written down", why=str(exc))
            return
        self._kept = kept

    def shown(self) -> dict[str, object]:
        """As the operator sees it."""
        return {
            "night": self._spent.night,
            "night_spent_bytes": self._spent.night_bytes,
            "night_bytes": self._night_bytes,
            "plan_spent_bytes": self._spent.plan_bytes,
            "plan_bytes": self._plan_bytes,
            "left_bytes": self.left_bytes(),
        }

    def _read(self) -> Spent:
        try:
            return decode(Spent, self._path.read_bytes(), PURSE_FILE)
        except FileNotFoundError:
            return Spent()
        except (OSError, OcaError) as exc:
            _log.error("the book of what was spent cannot be read", why=str(exc))
            return Spent()
