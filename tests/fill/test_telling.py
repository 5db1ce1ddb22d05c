"""`fill forecast`, `fill simulate`, `fill report` as commands over an installation."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fill.ground import Ground

DAYS = [f"2026-11-{day:02d}" for day in range(1, 15)]


@pytest.fixture
def fortnight(ground: Ground) -> Ground:
    """Twelve assets asked for in two ISPs for two weeks, falling from one to the next."""
    assets = list(ground.synthetic(12).entries)
    ground.demand(
        *((day, home, asset, 60_000 // (rank + 1)) for day in DAYS for home in ("isp-a", "isp-b")
          for rank, asset in enumerate(assets))
    )  # fmt: skip
    return ground


def test_forecast_tells_every_site_and_writes_every_pair(fortnight: Ground) -> None:
    """What was asked for evenly is expected again; as a file with its spread."""
    out = fortnight.folder / "tomorrow.parquet"
    done = fortnight.fill("forecast", "--day", "2026-11-15", "--out", str(out))
    assert "isp-a" in done.stdout and "24 rows" in done.stdout
    rows = pq.read_table(out).to_pylist()
    first = rows[0]
    assert (first["site"], first["bytes_a_day"]) == ("isp-a", pytest.approx(60_000, rel=0.05))
    assert all(row["spread"] > 0 for row in rows)
    csv = fortnight.folder / "tomorrow.csv"
    fortnight.fill("forecast", "--day", "2026-11-15", "--out", str(csv))
    assert csv.read_text().splitlines()[0].replace('"', "") == "site,asset,bytes_a_day,spread"


def test_a_day_before_all_demand_cannot_be_forecast(fortnight: Ground) -> None:
    """What came later says nothing of it."""
    done = fortnight.fill("forecast", "--day", "2026-10-01", check=False)
    assert done.returncode == 1 and "all demand is of later days" in done.stderr


def test_the_file_that_starts_a_fleet_is_taken_as_it_is(ground: Ground) -> None:
    """One day of demand, made by somebody who knows: no site leans on the other."""
    one, two, *_ = ground.synthetic(4).entries
    ground.demand(("2026-11-14", "isp-a", one, 70_000), ("2026-11-14", "isp-b", two, 9_000))
    out = ground.folder / "tomorrow.csv"
    ground.fill("forecast", "--day", "2026-11-15", "--out", str(out))
    lines = [line.replace('"', "").split(",")[:3] for line in out.read_text().splitlines()[1:]]
    assert lines == [["isp-a", str(one), "70000"], ["isp-b", str(two), "9000"]]


def test_simulate_shows_plan_oracle_and_cache_and_publishes_nothing(fortnight: Ground) -> None:
    """Disks that hold all: plans serve all; the figures of each site and day as JSON."""
    out = fortnight.folder / "simulated.json"
    done = fortnight.fill("simulate", "--days", "3", "--out", str(out))
    assert "3 days replayed" in done.stdout
    days = json.loads(out.read_text())
    assert {(day["site"], day["day"]) for day in days} >= {("isp-a", 20_769 + 1), ("isp-b", 20_771)}
    assert all(day["realised"] == 1.0 for day in days if day["site"] == "isp-a")
    assert not (fortnight.folder / "state/generations/current").exists()


def test_what_a_site_lacks_comes_to_the_next_one(ground: Ground) -> None:
    """A box of ten assets for an ISP that asks for twelve; another ISP has no box any more: what
    they lack comes to the exchange, in plans and caches, and adds up."""
    ground.write_fleet([box for box in ground.boxes if box.site != "isp-a"])
    assets = list(ground.synthetic(12).entries)
    ground.demand(
        *((day, home, asset, 60_000 // (rank + 1)) for day in DAYS for home in ("isp-a", "isp-b")
          for rank, asset in enumerate(assets))
    )  # fmt: skip
    out = ground.folder / "simulated.json"
    done = ground.fill("simulate", "--days", "2", "--out", str(out))
    assert "sites served 100.0%" in done.stdout
    days = {(day["site"], day["day"]): day for day in json.loads(out.read_text())}
    last = max(day for _, day in days)
    a, b, x = (days[name, last] for name in ("isp-a", "isp-b", "exchange"))
    assert (a["realised"], a["oracle"], a["lru"]) == (0.0, 0.0, 0.0)
    assert 0.9 < b["realised"] < 1.0
    assert x["own_bytes"] == 0.0 and x["realised"] == 1.0 and x["lru"] == 1.0
    assert x["bytes"] == x["taken_bytes"] == a["bytes"] + b["bytes"] * (1.0 - b["realised"])
    assert [each["own_left_bytes"] for each in (a, b, x)] == [0.0, 0.0, 0.0]


def test_days_on_which_nothing_was_asked_for_are_replayed_too(ground: Ground) -> None:
    """Rows of zero bytes: no share of nothing, no fault."""
    ground.demand(
        *((day, "isp-a", asset, 0) for day in DAYS for asset in ground.synthetic(3).entries)
    )
    assert "14 days" not in ground.fill("simulate", "--days", "3").stderr
    assert "no demand is known at all" in ground.fill("plan").stdout


def test_one_day_of_demand_cannot_be_replayed(ground: Ground) -> None:
    """A forecast needs a day before; said in one line."""
    ground.falling_demand(ground.synthetic(3))
    done = ground.fill("simulate", check=False)
    assert done.returncode == 1 and "no demand of two days yet" in done.stderr


class Page(HTMLParser):
    """Counts what a page has, and notes every reference to somewhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.references += [name for name, _ in attrs if name in ("src", "href")]


def parsed(path: Path) -> Page:
    """The page, parsed."""
    page = Page()
    page.feed(path.read_text())
    return page


def test_report_is_one_page_with_every_plot_and_no_reference(fortnight: Ground) -> None:
    """Coverage, offload twice, churn, window, forecast error; nothing is loaded from anywhere."""
    fortnight.fill("plan")
    fortnight.fill("plan")
    out = fortnight.folder / "report.html"
    assert "2 generations" in fortnight.fill("report", "--out", str(out), "--days", "3").stdout
    page = parsed(out)
    assert page.count["svg"] == 6 and page.count["section"] == 6
    assert page.count["polyline"] >= 8 and page.count["rect"] >= 4
    assert not page.references and "http" not in out.read_text()
    assert "Nothing to show" not in out.read_text()


def test_a_fleet_without_plans_and_days_has_a_report_too(ground: Ground) -> None:
    """Everything says that there is nothing yet."""
    ground.falling_demand(ground.synthetic(2))
    out = ground.folder / "report.html"
    ground.fill("report", "--out", str(out))
    assert parsed(out).count.get("svg", 0) == 0
    assert out.read_text().count("Nothing to show yet") == 6
