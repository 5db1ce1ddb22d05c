"""The `fill` command: every stage of the night, and what a person asks about it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fill import inquiry, night, reasons, tables
from fill.backtest import backtest
from fill.commands import demand, forecast
from fill.crew import Told
from fill.explain import amount
from fill.files import Files, read_files
from fill.ingest import make_catalogue
from fill.server import serve as serve_forever
from fill.telling import report, simulate
from fill.told import FAILED, config_option, faults_told
from fill.told import out as _out
from wire.durable import write_new
from wire.keys import new_private_pem, parse_private_key, public_text
from wire.log import configure

_err = Console(stderr=True, soft_wrap=True)
NUMBER_MAX = 10**9
"""Numbers are never taken back: a slip of the finger must not use them up."""

at_least_option = click.option(
    "--at-least",
    type=click.IntRange(1, NUMBER_MAX),
    default=1,
    metavar="N",
    help="Number it N or above, when the state that knew the last number is lost.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="oca-cdn", prog_name="fill")
def main() -> None:
    """The nightly planner: what people will watch tomorrow, placed on the boxes tonight.

    \b
    A first night, from a folder of encodes to signed plans:
      fill keygen keys/fill.pem                    the key that signs plans
      fill catalogue /srv/media                    ids, sizes, checksums
      fill check-config --config fill.toml         what the settings mean
      fill serve --config fill.toml                hands out plans, takes counts
      fill plan --config fill.toml --dry-run       look, then without --dry-run
    \b
    In the morning:
      fill offload --config fill.toml              who really served whom
      fill explain 42 --appliance a1 --config fill.toml
      fill diff --config fill.toml                 what changed since the night before
      fill rollback 17 --config fill.toml          undo, under a new number
    """


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Also remove retired assets from DIR/a.")
@faults_told
def catalogue(folder: Path, prune: bool) -> None:
    """Make DIR/catalogue.json from a folder of encodes.

    Every DIR/<title>/<rendition>/ is an asset; DIR/<title>/*.m3u8 and *.mpd are the title's
    manifests. Unchanged assets keep their ids; changed ones get new ids; ids are never reused.
    The tree DIR/a/<asset>/ (hard links) is what the appliance in front of the origin serves.
    Replace files rather than overwrite them: what is published shares its bytes.

    \b
    Example:  fill catalogue /srv/media
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    more = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *more, console=_err, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("checksums", total=None)
        made = make_catalogue(
            folder,
            total=lambda count: progress.update(task, total=count),
            done=lambda count: progress.advance(task, count),
            prune=prune,
        )
    entries = made.snapshot.entries.values()
    click.echo(
        f"{folder / 'catalogue.json'}: {len(entries)} assets, "
        f"{amount(sum(entry.asset.bytes for entry in entries))}, "
        f"{len(made.new)} new, {len(made.retired)} retired, {len(made.withdrawn)} withdrawn; "
        f"epoch {made.snapshot.epoch}"
    )


@main.command()
@config_option
@click.option("--force", is_flag=True, help="Publish even what is unlike the last plan.")
@click.option("--canary", multiple=True, metavar="ID", help="New plans for these boxes only.")
@click.option("--dry-run", is_flag=True, help="Show the plan and publish nothing.")
@at_least_option
@faults_told
def plan(config: Path, force: bool, canary: tuple[str, ...], dry_run: bool, at_least: int) -> None:
    """Plan the coming night and publish it as a new generation.

    Refuses (exit code 3) a plan that drops more than 20 % of a box or loses 5 points of a site's
    planned offload, unless --force says that it is meant.

    Boxes take no generation below the one they have. Should fill's state folder be lost, say one
    more than the highest that they know (`oca fill-status` on a box): from then on it counts on.

    \b
    Examples:
      fill plan --config fill.toml --dry-run
      fill plan --config fill.toml --canary a1 --canary b1
      fill plan --config fill.toml --at-least 512
    """
    options = night.Options(force=force, canary=canary, dry_run=dry_run, at_least=at_least)
    with _progress() as told:
        outcome = night.make_night(read_files(config), replace(options, told=told))
    _show(outcome)


@main.command()
@click.argument("generation", type=int)
@config_option
@click.option("--force", is_flag=True, help="Publish even what is unlike the last plan.")
@click.option("--dry-run", is_flag=True, help="Show what would be published.")
@faults_told
def rollback(generation: int, config: Path, force: bool, dry_run: bool) -> None:
    """Publish the plans of an old GENERATION again, under a new number.

    \b
    Example:  fill rollback 17 --config fill.toml
    """
    options = night.Options(force=force, dry_run=dry_run)
    _show(night.roll_back(read_files(config), generation, options))


@contextmanager
def _progress() -> Iterator[Told]:
    """Bars on stderr for long work; nothing where nobody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=_err, disable=not sys.stderr.isatty()) as progress:
        bars: dict[str, TaskID] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in bars or done == 1:
                bars[what] = progress.add_task(what, total=of)
            progress.update(bars[what], completed=done)

        yield told


def _show(outcome: night.Outcome) -> None:
    _out.print(tables.site_table(outcome.summary))
    _out.print(tables.box_table(outcome.summary))
    _out.print(tables.price_table(outcome.summary))
    for line in (*tables.schedule_lines(outcome.summary), *outcome.summary.notes):
        click.echo(line)
    for reason, count in sorted(outcome.summary.ignored_demand.items()):
        click.echo(f"left out: {amount(count)} of demand ({reason})")
    for reason in outcome.unusual:
        click.echo(f"unlike the last plan: {reason}")
    number = outcome.summary.generation
    done = f"generation {number} is in force"
    click.echo(done if outcome.published else f"dry run: generation {number} was not published")


@main.command()
@click.argument("generations", nargs=-1, type=int, metavar="[OLD [NEW]]")
@config_option
@faults_told
def diff(generations: tuple[int, ...], config: Path) -> None:
    """Show what each box gains and loses between two generations (by default the last two).

    \b
    Example:  fill diff 17 19 --config fill.toml
    """
    if len(generations) > 2:
        raise click.UsageError("at most two generations can be compared")
    old, new, title = inquiry.two_generations(read_files(config), generations)
    _out.print(tables.diff_table(old, new, title))


@main.command()
@click.argument("asset", type=int)
@click.option("--appliance", required=True, metavar="ID", help="The box in question.")
@config_option
@faults_told
def explain(asset: int, appliance: str, config: Path) -> None:
    """Say why ASSET is, or is not, on a box: demand, thresholds, copies, sources.

    \b
    Example:  fill explain 42 --appliance a1 --config fill.toml
    """
    for line in reasons.explanation(read_files(config), asset, appliance):
        click.echo(line)


@main.command()
@config_option
@click.option("--since", type=int, metavar="UNIX_S", help="From this time on (default: a day ago).")
@faults_told
def offload(config: Path, since: int | None) -> None:
    """Show who served whom: bytes by home site and serving site, planned and realised offload.

    \b
    Example:  fill offload --config fill.toml --since $(date -d '2 hours ago' +%s)
    """
    since_s = since if since is not None else int(time.time()) - 86_400
    _out.print(tables.offload_table(inquiry.offload(read_files(config), max(0, since_s))))


@main.command()
@click.argument("assets", nargs=-1, type=int)
@config_option
@click.option("--status", is_flag=True, help="List the boxes that have not acknowledged yet.")
@at_least_option
@faults_told
def purge(assets: tuple[int, ...], config: Path, status: bool, at_least: int) -> None:
    """Have every box unlink ASSETS at once; with --status say who has done it.

    Boxes poll the signed list every ~30 s. Purged assets are never planned again.

    \b
    Examples:
      fill purge 42 43 --config fill.toml
      fill purge --status --config fill.toml
    """
    files = read_files(config)
    if not assets and not status:
        raise click.UsageError("name the assets to purge, or ask with --status")
    if assets:
        number = inquiry.add_purge(files, assets, at_least)
        click.echo(f"purge list {number} is published; fill purge --status says who carried it out")
    if status:
        late = inquiry.late_purgers(files)
        for line in late or ["every box has carried out the purge list"]:
            click.echo(line)
        raise SystemExit(FAILED if late else 0)


@main.command()
@config_option
@faults_told
def serve(config: Path) -> None:
    """Hand out plans and the catalogue; take inventories and counted bytes.

    \b
    Example:  fill serve --config fill.toml
    """
    configure("fill")
    asyncio.run(serve_forever(read_files(config)))


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--alg", type=click.Choice(["ed25519", "es256"]), default="ed25519", show_default=True
)
@faults_told
def keygen(file: Path, alg: str) -> None:
    """Write a new private key to FILE (PEM, mode 0600) and print its public half.

    ed25519 for appliances and plans, es256 for steering's tokens.

    \b
    Example:  fill keygen keys/a1.pem     # the line goes into the fleet file: public_key = "…"
    """
    pem = new_private_pem(alg)
    try:
        write_new(file, pem)
    except OSError as exc:
        raise click.ClickException(f"{file}: {exc.strerror}; nothing was written") from exc
    click.echo(public_text(parse_private_key(pem, "new", str(file))))


@main.command("check-config")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="As FILE.")
@faults_told
def check_config(file: Path | None, config: Path | None) -> None:
    """Read the configuration and everything it names; exit 0 if all of it holds.

    \b
    Example:  ExecStartPre=fill check-config --config /etc/fill/fill.toml
    """
    path = file or config
    if path is None or (file and config):
        raise click.UsageError("say which file: FILE or --config FILE")
    files: Files = read_files(path)
    for line in inquiry.check(files):
        click.echo(line)


main.add_command(backtest)
main.add_command(demand)
main.add_command(forecast)
main.add_command(report)
main.add_command(simulate)
