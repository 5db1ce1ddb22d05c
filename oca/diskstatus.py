"""`oca disks` and `oca scrub-status`: ask a running box about its disks, switch one off or on."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from oca.ask import DEFAULT_ADMIN, admin_address, ask

PATH = "/v1/disks"
_config = click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    help="The appliance's configuration: it says where the admin listener is.",
)
_admin = click.option(
    "--admin", metavar="HOST:PORT", help=f"The admin listener (default {DEFAULT_ADMIN})."
)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


@click.command()
@_config
@_admin
@_json
@click.option("--off", metavar="DISK", help="Take this disk out of use, to replace it.")
@click.option("--on", metavar="DISK", help="Let it come back.")
def disks(
    config_file: str | None, admin: str | None, as_json: bool, off: str | None, on: str | None
) -> None:
    """Show a running box's disks: in use or off and why, how full, how quick.

    Exit 1 when the box does not answer; 2 when a disk is off by itself.

    \b
    Examples:
      oca disks --config /etc/oca/appliance.toml
      oca disks --off /disk2        # before it is pulled; later --on
    \f
    Raises SystemExit 2 for such a disk.
    """
    where = admin_address(admin, config_file)
    found = ask(where, PATH)
    if off is not None:
        found = ask(where, f"{PATH}?path={quote(off)}", "DELETE")
    if on is not None:
        found = ask(where, f"{PATH}?path={quote(on)}", "PUT")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        from rich.console import Console

        from oca.diskpage import disks_page

        Console().print(disks_page(found))
    if any(disk["state"] != "in use" and not disk["by_hand"] for disk in found["disks"]):
        raise SystemExit(2)


@click.command("scrub-status")
@_config
@_admin
@_json
def scrub_status(config_file: str | None, admin: str | None, as_json: bool) -> None:
    """Show how far a running box is with reading again what it stores, and what was rotten.

    \b
    Example:  oca scrub-status --config /etc/oca/appliance.toml
    """
    found = ask(admin_address(admin, config_file), PATH)
    if as_json:
        click.echo(json.dumps(found["scrub"], indent=1))
        return
    from rich.console import Console

    from oca.diskpage import scrub_page

    Console().print(scrub_page(found))
