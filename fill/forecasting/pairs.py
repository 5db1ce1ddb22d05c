"""What can be learned from and tested on: weeks that follow weeks, and launches. Pure.

A *pair* is a title in the list of two successive weeks: from what was known at the end of the
first, forecast the second's hours. A *launch* is a title's first week in the list: from names and
the past of others, forecast its hours. Each has the week it forecasts; what describes it was
computed by a `Chronicle` that had not yet been told of that week.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fill.forecasting.chronicle import FOLLOWING, LAUNCHING, Chronicle, Known, by_week
from fill.forecasting.decay import runs
from fill.forecasting.metrics import Floats, Ints
from fill.forecasting.top10 import WEEK_DAYS, Group, Name, Row

GROUPS = tuple(Group(film, english) for film in (True, False) for english in (True, False))
HISTORY_WEEKS = 8


@dataclass(frozen=True, slots=True)
class _Sample:
    """Arrays of one length; `week` is the week forecast (ordinal), `group` indexes GROUPS.

    `block` numbers shows by their first appearance: what is alike is left out of a fit together.
    """

    week: Ints
    group: Ints
    block: Ints
    features: Floats
    actual: Floats

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """The chosen ones only."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.week)


@dataclass(frozen=True, slots=True)
class Pairs(_Sample):
    """Pairs: `history` is pairs × weeks of hours, the latest last; `age` weeks since release.

    `second_half`: first-week hours where a season's second half is due (Chronicle), else NaN.
    `censored`: the title was there when the table began, so its age is not known.
    """

    history: Floats
    age: Ints
    second_half: Floats
    censored: NDArray[np.bool_]

    @property
    def latest(self) -> Floats:
        """Hours in the first week of the pair."""
        return np.asarray(self.history[:, -1], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Launches(_Sample):
    """First weeks: the group's `usual` launch, and the show's `last` one (NaN), in hours."""

    usual: Floats
    last: Floats


def read_pairs(rows: Iterable[Row]) -> tuple[Pairs, Launches]:
    """All pairs and launches of a table, in time's order."""
    told = Chronicle()
    pairs: list[tuple[Row, Known, bool]] = []
    launches: list[tuple[Row, list[float], float, float]] = []
    known: dict[Name, Known] = {}
    last_week, at_start = 0, set[Name]()
    for week in by_week(rows):
        at_start = at_start or {row.name for row in week}
        follows = week[0].week - last_week == WEEK_DAYS
        for row in week:
            if follows and row.name in known:
                pairs.append((row, known[row.name], row.name in at_start))
            if row.weeks_listed == 1 and row.name not in at_start:
                foreseen = told.foresee(row.name, row.week, row.runtime_h)
                usual = told.usual_launch(row.name.group)
                launches.append((row, foreseen, usual, told.last_launch(row.name)))
        known = {row.name: state for row, state in zip(week, told.feed(week), strict=True)}
        last_week = week[0].week
    return _pairs(pairs), _launches(launches)


def _pairs(found: list[tuple[Row, Known, bool]]) -> Pairs:
    before = [known for _, known, _ in found]
    features = _table([known.features for known in before], len(FOLLOWING))
    return Pairs(
        **_common([row for row, _, _ in found], features),
        history=runs([known.recent[-HISTORY_WEEKS:] for known in before]),
        age=features[:, FOLLOWING.index("weeks_since_release")].astype(np.int64),
        second_half=np.array([known.second_half for known in before], dtype=np.float64),
        censored=np.array([censored for _, _, censored in found], dtype=np.bool_),
    )


def _launches(found: list[tuple[Row, list[float], float, float]]) -> Launches:
    return Launches(
        **_common([entry[0] for entry in found], _table([e[1] for e in found], len(LAUNCHING))),
        usual=np.array([entry[2] for entry in found], dtype=np.float64),
        last=np.array([entry[3] for entry in found], dtype=np.float64),
    )


def _common(rows: list[Row], features: Floats) -> dict[str, NDArray[Any]]:
    shows: dict[str, int] = {}
    blocks = [shows.setdefault(row.name.show, len(shows)) for row in rows]
    return {
        "block": np.array(blocks, dtype=np.int64),
        "week": np.array([row.week for row in rows], dtype=np.int64),
        "group": np.array([GROUPS.index(row.name.group) for row in rows], dtype=np.int64),
        "features": features,
        "actual": np.array([row.hours for row in rows], dtype=np.float64),
    }


def _table(rows: list[list[float]], width: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, width)
