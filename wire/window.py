"""The fill window: the hours of the day, at the box's place, in which it may fill. Pure.

The box keeps to it, the planner counts on it: both read `02:00-14:00` and a time zone alike.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from wire.errors import WireError

DAY_MIN = 24 * 60
MINUTE_S = 60
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """Open from `start` to `end` (minutes of the local day, end excluded); it may span midnight."""

    start: int = 0
    end: int = DAY_MIN
    zone: dt.tzinfo | None = None
    """The place's time zone; None: the machine's own."""

    def is_open(self, now_s: float) -> bool:
        """Whether one may fill now (Unix seconds)."""
        minute = self._minute(now_s)
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def night(self, now_s: float) -> str:
        """The date on which the window last opened: names a night, for budgets."""
        opened = self._local(now_s) - dt.timedelta(minutes=self.start)
        return opened.date().isoformat()

    def opens_in_min(self, now_s: float) -> int:
        """Minutes on the clock until it opens; 0 when it is open."""
        return 0 if self.is_open(now_s) else (self.start - self._minute(now_s)) % DAY_MIN

    def spans(self, from_s: float, length_s: int) -> tuple[tuple[int, int], ...]:
        """When it is open in the `length_s` after `from_s`: seconds after it, by the minute, as
        the clock there shows them (a night in which clocks change is longer or shorter)."""
        opened, found = -1, []
        steps = range(0, length_s, MINUTE_S)
        for step in steps:
            here = self.is_open(from_s + step)
            if here and opened < 0:
                opened = step
            elif not here and opened >= 0:
                found.append((opened, step))
                opened = -1
        if opened >= 0:
            found.append((opened, length_s))
        return tuple(found)

    def _local(self, now_s: float) -> dt.datetime:
        """The wall clock, without its zone: the hours of a night are what the clock shows."""
        there = dt.datetime.fromtimestamp(now_s, self.zone) if self.zone else None
        return (there or dt.datetime.fromtimestamp(now_s)).replace(tzinfo=None)

    def _minute(self, now_s: float) -> int:
        local = self._local(now_s)
        return local.hour * 60 + local.minute


def parse_window(text: str, zone: str, what: str) -> Window:
    """`HH:MM-HH:MM` at `zone` (IANA name, "" for the machine's own); "" is the whole day.

    A window may span midnight: 22:00-06:00. Raises WireError naming `what`.
    """
    place = _zone(zone, what)
    if not text:
        return Window(zone=place)
    match = _WINDOW.match(text)
    if match:
        hours, minutes, hours_to, minutes_to = (int(group) for group in match.groups())
        start, end = hours * 60 + minutes, hours_to * 60 + minutes_to
        fits = start < DAY_MIN and end <= DAY_MIN and minutes < 60 and minutes_to < 60
        if fits and start != end:  # one of no length would never open, and nobody would know why
            return Window(start, end, place)
    raise WireError(f"{what}.window", "", f"{text!r} is not a window", hint="such as 02:00-14:00")


def _zone(name: str, what: str) -> dt.tzinfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as exc:
        detail = f"{name!r} is no time zone that this machine knows"
        raise WireError(f"{what}.timezone", "", detail, hint="such as Europe/Paris") from exc
