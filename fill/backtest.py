"""The command `fill backtest`: from a table of what people watched, how well we foresee it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click
import msgspec

from wire.errors import OcaError, WireError

FAILED = 1
TABLE_BYTES_MAX = 512 * 1024 * 1024  # sixty thousand times what Netflix publishes in a year

_day = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.argument("history", metavar="HISTORY.tsv", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--train-before", required=True, type=_day, metavar="DATE",
              help="Learn from weeks that end before this day, forecast all others.")  # fmt: skip
@click.option("--until", type=_day, metavar="DATE", help="Leave out weeks that end on or after it.")
def backtest(history: Path, train_before: datetime, until: datetime | None) -> None:
    """Forecast each week of Netflix's Top-10 table from the weeks before it, and print the error.

    HISTORY.tsv is "all weeks, global" from https://www.netflix.com/tudum/top10. The model learns
    once, from weeks that end before DATE. Errors (JSON) are WAPE: hours of error per hour watched,
    over pairs of weeks that both list the title. It takes about ten seconds, and refuses a
    malformed table with its row and field; rows of lists that are new are left out, and counted.

    \b
    Example:  fill backtest netflix-top10.tsv --train-before 2024-07-01
    """
    try:
        report = _report(history, train_before.date(), until.date() if until else None)
    except OcaError as exc:
        click.echo(f"fill: {exc}", err=True)
        raise SystemExit(FAILED) from exc
    click.echo(report.decode())


def _report(history: Path, train_before: date, until: date | None) -> bytes:
    from fill.forecasting.evaluate import backtest as run  # numpy is slow to load: only for this
    from fill.forecasting.top10 import read_table

    rows, left_out = read_table(_read(history), str(history), until)
    for category, count in sorted(left_out.items()):
        click.echo(f"fill: {history}: {category!r} is a new list: {count} rows left out", err=True)
    return msgspec.json.format(msgspec.json.encode(run(rows, train_before, until, str(history))))


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > TABLE_BYTES_MAX:
            raise WireError(str(path), "", f"{size} bytes is more than a table of Top-10s can be")
        return path.read_bytes()
    except OSError as exc:
        raise WireError(str(path), "", f"{exc.strerror}") from exc
