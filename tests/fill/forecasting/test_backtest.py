"""`fill backtest` as a person runs it: figures on stdout, faults on stderr."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fill.forecasting.tables import line, table
from tests.typed import Done, typed

REPO = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("OCA_SHARED", REPO.parent / "shared"))
HISTORY = SHARED / "data" / "netflix-top10-weekly-to-2025-06.tsv"
real = pytest.mark.skipif(not HISTORY.is_file(), reason=f"needs {HISTORY} (set OCA_SHARED)")


def fill_backtest(*args: str) -> Done:
    """Run the command."""
    return typed("fill", "backtest", *args)


@real
def test_trained_before_july_2024_the_model_is_within_28_percent() -> None:
    """And far better than persistence and smoothing; DESIGN has 0.53 and 0.59-0.73 for those."""
    done = fill_backtest(str(HISTORY), "--train-before", "2024-07-01")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    wape = report["wape"]
    assert report["trained"]["last_week"] < "2024-07-01" <= report["tested"]["first_week"]
    assert wape["pairs"] > 1_000
    assert wape["model"] <= 0.28
    assert wape["model"] < wape["age_decay"] < wape["persistence"]
    assert 0.50 <= wape["persistence"] <= 0.56
    assert wape["exponential_smoothing"] > wape["persistence"]
    assert report["launch_week"]["model"] < report["launch_week"]["group_median"]
    assert 0.7 <= report["interval"]["covered"] <= 0.9


@pytest.mark.parametrize(
    ("text", "day", "told"),
    [
        (table(line(hours="-1")), "2024-07-01", "top10.tsv: row 2, weekly_hours_viewed: "),
        (table(line()), "2024-07-01", "top10.tsv: weeks before 2024-07-01: only 0 and 0"),
        (table(line()), "soon", "'soon' does not match the format"),
        (None, "2024-07-01", "top10.tsv: No such file"),
    ],
)
def test_a_fault_is_told_in_one_text_without_a_traceback(
    tmp_path: Path, text: bytes | None, day: str, told: str
) -> None:
    """File, row and field; nothing on stdout."""
    file = tmp_path / "top10.tsv"
    if text is not None:
        file.write_bytes(text)
    done = fill_backtest(str(file), "--train-before", day)
    assert done.returncode != 0
    assert done.stdout == ""
    assert told in done.stderr
    assert "Traceback" not in done.stderr
