"""The commands `fill demand` and `fill forecast`: from counted bytes to what tomorrow asks for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fill.demand import Known
from fill.explain import amount
from fill.files import Files, read_files
from fill.night import known_world
from fill.told import config_option, faults_told, out
from wire.errors import WireError

DAY_S = 86_400
_path = click.Path(dir_okay=False, path_type=Path)


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr; what it yields is called with each amount done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = Console(stderr=True)
    with Progress(
        *columns, TimeElapsedColumn(), console=shown, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


@click.command()
@click.argument("inputs", nargs=-1, type=_path, metavar="[INPUT...]")
@click.option("--out", "out_file", type=_path, required=True, help="Result: .parquet or .csv.")
@click.option("--config", type=_path, help="fill's configuration: sites, assets, its history.")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb",
              show_default=True, help="Here, or on Spark.")  # fmt: skip
@click.option("--master", default="local[*]", show_default=True, metavar="URL",
              help="Spark's master, as spark://host:7077.")  # fmt: skip
@click.option("--scratch", type=click.Path(file_okay=False, exists=True, path_type=Path),
              help="A folder that Spark's workers see as well.")  # fmt: skip
@faults_told
def demand(
    inputs: tuple[Path, ...],
    out_file: Path,
    config: Path | None,
    engine: str,
    master: str,
    scratch: Path | None,
) -> None:
    """Add up bytes by day, home site and asset, from INPUTs (by default: fill's history).

    INPUTs are history.sqlite, Parquet or CSV, of two kinds: day,home,asset,bytes; or batches as
    appliances sent them, appliance,boot,seq,minute,home,asset,bytes, where one that is there twice
    counts once; others are refused with file, row and field. Equal inputs give a file of equal
    bytes, on both engines. With --config, sites and assets that are gone are left out, and an
    asset that never was is an error.

    \b
    Examples:
      fill demand --config fill.toml --out demand.parquet
      fill demand events-*.parquet --out demand.parquet --engine spark --master spark://host:7077
    """
    from fill.demandjob import Job, run_job  # pyarrow and the engines are slow to load

    files = read_files(config) if config else None
    if not inputs and files is None:
        raise click.UsageError("name the files to count, or --config for fill's own history")
    paths = inputs or ((files.history,) if files else ())
    job = Job(paths, out_file, engine, master, scratch)
    with bar("rows read") as progress:
        counted = run_job(job, known_of(files) if files else None, progress)
    total = f"{counted.rows} rows, {amount(counted.bytes)} on {counted.days} days"
    click.echo(f"{out_file}: {total} ({engine})")
    for reason, count in sorted(counted.ignored.items()):
        click.echo(f"left out: {amount(count)} ({reason})")


def known_of(files: Files) -> Known:
    """The world that rows must belong to, from catalogue and fleet; raises WireError."""
    return known_world(files.read_catalogue(), files.read_fleet())


@click.command()
@config_option
@click.option("--out", "out_file", type=_path, help="Write all of it: .parquet or .csv.")
@click.option("--day", type=click.DateTime(formats=["%Y-%m-%d"]), help="Default: today (UTC).")
@faults_told
def forecast(config: Path, out_file: Path | None, day: datetime | None) -> None:
    """Show what each site's clients will ask for on a day, from the days before it.

    The level of each title × what its age and the weekday make of it; small sites lean on their
    region and the world; launches on titles like them. This is what `fill plan` plans for. Files
    that cannot be read are refused with row and field.

    \b
    Examples:
      fill forecast --config fill.toml
      fill forecast --config fill.toml --day 2026-11-23 --out forecast.parquet
    """
    from fill.foreseen import encode_forecast, foresee
    from wire.durable import write_durably

    files = read_files(config)
    asked = day.replace(tzinfo=UTC).timestamp() if day else time.time()
    found = foresee(files, int(asked // DAY_S), before_only=day is not None)
    table = Table(title="Tomorrow" if day is None else f"{day:%Y-%m-%d}")
    for name in ("site", "assets", "bytes", "of it unsure"):
        table.add_column(name, justify="left" if name == "site" else "right")
    for at, site in enumerate(found.sites):
        rows = found.rows_of(at)
        total = float(found.bytes_a_day[rows].sum())
        doubt = float((found.spread[rows] ** 2).sum()) ** 0.5
        share = f"±{doubt / total:.1%}" if total else "-"
        table.add_row(site, str(rows.stop - rows.start), amount(total), share)
    out.print(table)
    if out_file is not None:
        if out_file.suffix not in (".parquet", ".csv"):
            raise WireError(str(out_file), "", "a forecast is written as .parquet or .csv")
        write_durably(out_file, encode_forecast(found, out_file.suffix))
        click.echo(f"{out_file}: {len(found)} rows")
