"""`oca fill-status`: how far a box's fill is, once or until Ctrl-C."""

from __future__ import annotations

import json
import time

import click

from oca.ask import DEFAULT_ADMIN, admin_address, ask

WATCH_S = 1.0


@click.command("fill-status")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    help="The appliance's configuration: it says where the admin listener is.",
)
@click.option("--admin", metavar="HOST:PORT", help=f"The admin listener (default {DEFAULT_ADMIN}).")
@click.option("--watch", "-w", is_flag=True, help="Again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The status as JSON, for programs.")
def fill_status(config_file: str | None, admin: str | None, watch: bool, as_json: bool) -> None:
    """Show a running box's fill: window, budget, rate, every asset under way, what waits and why,
    and the sources with their faults. Exit 1 when the box does not answer.

    \b
    Example:  oca fill-status --config /etc/oca/appliance.toml --watch
    """
    where = admin_address(admin, config_file)
    if as_json:
        click.echo(json.dumps(ask(where, "/v1/status"), indent=1))
        return
    # Here, for every worker of `oca` imports the module of the commands.
    from rich.console import Console
    from rich.live import Live

    from oca.fillpage import page

    console = Console()
    if not watch:
        console.print(page(ask(where, "/v1/status")))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(page(ask(where, "/v1/status")), refresh=True)
            time.sleep(WATCH_S)
