"""`steering replay`: reads records, prints what another policy would change. An adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table

from steering.asking import console
from steering.decisions import Record, State, read_lines
from steering.policy import read_policy
from steering.replay import ReplayReport
from steering.replay import replay as decide_again
from wire.codec import encode
from wire.errors import OcaError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("logs", nargs=-1, required=True, type=_FILE)
@click.option(
    "--policy", required=True, type=_FILE, help="TOML: a policy, or a whole steering.toml."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--examples", default=6, show_default=True, help="Decisions shown.")
def replay(logs: tuple[Path, ...], policy: Path, as_json: bool, examples: int) -> None:
    """Decide what is in LOGS (oldest first) again under another policy, and say what would change.

    \b
    steering replay /var/lib/steering/decisions.jsonl --policy new.toml
    \f
    Raises ClickException for files that cannot be read.
    """
    try:
        new = read_policy(policy.read_bytes(), str(policy))
        report = decide_again(_lines(logs), new, examples)
    except (OcaError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if as_json:
        click.echo(encode(report))
    else:
        _print(report)


def _lines(logs: tuple[Path, ...]) -> Iterator[State | Record]:
    for log in logs:
        with log.open("rb") as stream:
            yield from read_lines(stream, str(log))


def _print(report: ReplayReport) -> None:
    out = console()
    out.print(
        f"{report.replayed} of {report.records} decisions decided again under policy "
        f"[bold]{report.policy}[/bold]; {report.left_out} more were never recorded."
    )
    if report.aside:
        out.print(f"{report.aside} set aside: their own policy does not give their answer.")
    out.print(
        f"[bold]{report.moved_share:.1%}[/bold] go to another box first ({report.moved}); "
        f"{report.changed} answers differ at all; players ask {report.questions:.2f} × as often."
    )
    table = Table("site", "first choice before", "after", "change", title="Decisions by site")
    for site in report.sites:
        change = site.after - site.before
        share = f" ({change / site.before:+.1%})" if site.before else ""
        table.add_row(site.site, str(site.before), str(site.after), f"{change:+d}{share}")
    out.print(table)
    if report.examples:
        table = Table("client", "title", "before", "after", "why", title="Examples")
        for one in report.examples:
            before, after = " → ".join(one.before), " → ".join(one.after)
            table.add_row(one.client, one.title, before or "nobody", after or "nobody", one.why)
        out.print(table)
