"""HTTP dates (RFC 9110 §5.6.7): written in one form, read in all three, or not at all. Pure."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.encode(): i + 1 for i, name in enumerate(_MONTHS)}

_TIME = rb"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_MON = rb"(?P<mon>" + b"|".join(_MONTH) + rb")"
_DAY = b"|".join(day.encode() for day in _DAYS)
_LONG = b"|".join(day.encode() for day in _LONG_DAYS)
_LAST = (23, 59, 60)  # hour, minute, second; some minutes have a leap second
_FORMS = (
    re.compile(rb"(?:" + _DAY + rb"), (?P<d>\d\d) " + _MON + rb" (?P<y>\d{4}) " + _TIME + rb" GMT"),
    re.compile(rb"(?:" + _LONG + rb"), (?P<d>\d\d)-" + _MON + rb"-(?P<y>\d\d) " + _TIME + rb" GMT"),
    re.compile(rb"(?:" + _DAY + rb") " + _MON + rb" (?P<d>[ \d]\d) " + _TIME + rb" (?P<y>\d{4})"),
)


def http_date(at_s: float) -> bytes:
    """IMF-fixdate of Unix time `at_s` (seconds), rounded down."""
    t = datetime.fromtimestamp(int(at_s), UTC)
    return f"{_DAYS[t.weekday()]}, {t:%d} {_MONTHS[t.month - 1]} {t:%Y %H:%M:%S} GMT".encode()


def past(modified_s: int, now_s: float) -> int:
    """Clocks may be wrong: when a file was changed, but never after `now_s`, and no date that
    cannot be written (RFC 9110 §8.8.2.1: Last-Modified is not later than Date)."""
    return max(0, min(modified_s, int(now_s)))


def parse_date(raw: bytes, now_s: float) -> int | None:
    """Unix seconds of an HTTP-date in any of the three forms; None when it is not one.

    A two-digit year more than 50 years ahead of `now_s` is in the past (RFC 9110 §5.6.7).
    """
    for form in _FORMS:
        match = form.fullmatch(raw)
        if match:
            return _seconds(match, now_s)
    return None


def _seconds(match: re.Match[bytes], now_s: float) -> int | None:
    year, month, day = int(match["y"]), _MONTH[match["mon"]], int(match["d"])
    time_of_day = int(match["h"]), int(match["m"]), int(match["s"])
    if any(value > most for value, most in zip(time_of_day, _LAST, strict=True)):
        return None
    if len(match["y"]) == 2:
        now = datetime.fromtimestamp(now_s, UTC).timetuple()
        year += now.tm_year - now.tm_year % 100
        if (year - 50, month, day, *time_of_day) > now[:6]:
            year -= 100
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return calendar.timegm((year, month, day, *time_of_day))
