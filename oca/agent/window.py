"""The fill window: the hours of the day, local time, in which a box may fill. Pure."""

from __future__ import annotations

import re

from wire.errors import WireError

DAY_MIN = 24 * 60
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)\Z")


def parse_window(text: str, what: str) -> tuple[int, int]:
    """`HH:MM-HH:MM` as minutes of the day, [from, to); "" is the whole day. Raises WireError.

    A window may span midnight: 22:00-06:00.
    """
    if not text:
        return (0, DAY_MIN)
    match = _WINDOW.match(text)
    if match:
        hours, minutes, hours_to, minutes_to = (int(group) for group in match.groups())
        start, end = hours * 60 + minutes, hours_to * 60 + minutes_to
        if start < DAY_MIN and end <= DAY_MIN and minutes < 60 and minutes_to < 60:
            return (start, end)
    raise WireError(what, "", f"{text!r} is not a window", hint="such as 02:00-14:00")


def is_open(window: tuple[int, int], minute: int) -> bool:
    """Whether the window is open at this minute of the day (0 … 1439)."""
    start, end = window
    if start <= end:
        return start <= minute < end
    return minute >= start or minute < end


def opens_in_min(window: tuple[int, int], minute: int) -> int:
    """Minutes until the window opens; 0 when it is open."""
    return 0 if is_open(window, minute) else (window[0] - minute) % DAY_MIN
