"""`fill demand`: events to bytes by day, home and asset; DuckDB and Spark agree to the byte."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fill.commands import demand
from fill.history import History
from tests.fill.ground import Ground
from wire.events import Delivered, EventBatch

pytestmark = [  # what ibis and Spark say to each other and to pandas
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ibis"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyspark"),
    pytest.mark.filterwarnings("ignore:.*pandas 4:DeprecationWarning"),
]
DAY = 20_000  # 2024-10-04
HEAD = "day,home,asset,bytes\n"


def run(*args: object, code: int = 0) -> str:
    """`fill demand ARGS`: what it told; the exit code must be `code`."""
    done = CliRunner().invoke(demand, list(map(str, args)))
    assert done.exit_code == code, done.output
    return done.output


def batches(path: Path, seed: int, count: int = 3_000) -> Counter[tuple[int, str, int]]:
    """A Parquet file of event rows, a tenth of them there twice; the true sums."""
    draw = random.Random(seed)
    rows = [
        {
            "appliance": f"a{number % 3}", "boot": 7, "seq": number // 5,
            "minute": DAY * 1440 + draw.randrange(3 * 1440),
            "home": draw.choice(["isp-a", "isp-b", "", "Ünïversity"]),
            "asset": number % 5 + draw.randrange(40) * 5, "bytes": draw.randrange(2**50),
        }
        for number in range(count)
    ]  # fmt: skip
    sums: Counter[tuple[int, str, int]] = Counter()
    for row in rows:
        sums[row["minute"] // 1440, row["home"], row["asset"]] += row["bytes"]  # type: ignore[index, operator, operator]
    twice = rows + draw.sample(rows, count // 10)
    draw.shuffle(twice)
    pq.write_table(pa.Table.from_pylist(twice), path)
    return sums


def rows_of(path: Path) -> dict[tuple[int, str, int], int]:
    """A demand file as sums."""
    rows = pq.read_table(path).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["day"], row["home"].encode(), row["asset"]))
    return {(row["day"], row["home"], row["asset"]): row["bytes"] for row in rows}


@pytest.mark.timeout(300)  # Java starts in 5 s, on a busy machine in a minute
def test_duckdb_and_spark_write_the_same_bytes(tmp_path: Path) -> None:
    """Two event files and a day's CSV, on both engines: the sums are exact, the files identical."""
    sums = batches(tmp_path / "one.parquet", 1) + batches(tmp_path / "two.parquet", 2, 500)
    (tmp_path / "old.csv").write_text(HEAD + "2024-10-04,isp-a,3,5\n2024-01-01,isp-b,4,6\n")
    sums[DAY, "isp-a", 3] += 5
    sums[19_723, "isp-b", 4] += 6
    inputs = [tmp_path / name for name in ("one.parquet", "two.parquet", "old.csv")]
    for engine in ("duckdb", "spark"):
        run(*inputs, "--engine", engine, "--out", tmp_path / f"{engine}.parquet",
            "--master", "local[1]")  # fmt: skip
    assert rows_of(tmp_path / "duckdb.parquet") == sums
    duckdb, spark = (tmp_path / f"{engine}.parquet" for engine in ("duckdb", "spark"))
    assert duckdb.read_bytes() == spark.read_bytes()


def test_the_history_is_counted_and_plans_can_be_made_of_it(ground: Ground) -> None:
    """What appliances reported, as a file that `fill plan` takes instead of the history."""
    snapshot = ground.synthetic(4)
    asset = next(iter(snapshot.entries))
    history = History(ground.folder / "state/history.sqlite")
    rows = [("isp-b", asset, 500), ("isp-b", asset, 70), ("gone", asset, 9), ("isp-b", 10**6, 1)]
    delivered = (Delivered(asset=a, home=h, minute=DAY * 1440, bytes=b) for h, a, b in rows[:3])
    history.store([EventBatch(appliance="b1", site="isp-b", boot=1, seq=1, rows=tuple(delivered))])
    history.close()
    out = ground.folder / "demand.parquet"
    told = run("--config", ground.config, "--out", out)
    assert rows_of(out) == {(DAY, "isp-b", asset): 570}
    assert "left out: 9 B (site not in the fleet)" in told
    ground.write_config(demand='use = "files"\nfiles = ["demand.parquet"]')
    ground.fill("plan")
    assert "570 B" in ground.fill("plan", "--dry-run").stdout


def test_a_csv_of_the_same_demand_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Rows in another order, spread over other files: the result does not know."""
    lines = [f"2024-10-0{day},isp-{day % 2},{asset},{asset * 7}\n" for day in range(1, 8)
             for asset in range(9)]  # fmt: skip
    (tmp_path / "a.csv").write_text(HEAD + "".join(lines))
    random.Random(1).shuffle(lines)
    (tmp_path / "b.csv").write_text(HEAD + "".join(lines[:20]))
    (tmp_path / "c.csv").write_text(HEAD + "".join(lines[20:]))
    run(tmp_path / "a.csv", "--out", tmp_path / "whole.csv")
    run(tmp_path / "c.csv", tmp_path / "b.csv", "--out", tmp_path / "parts.csv")
    whole = (tmp_path / "whole.csv").read_bytes()
    assert whole == (tmp_path / "parts.csv").read_bytes()
    assert whole.decode().splitlines()[1] == "2024-10-01,isp-1,0,0"


def test_an_interrupted_count_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the engine works: the result of yesterday is untouched, nothing lies about."""
    (tmp_path / "a.csv").write_text(HEAD + "2024-10-01,isp-a,1,5\n")
    out = tmp_path / "out.csv"
    out.write_text("yesterday")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fill.engines.daily", interrupted)
    run(tmp_path / "a.csv", "--out", out, "--scratch", tmp_path, code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "out.csv"]
    assert out.read_text() == "yesterday"
