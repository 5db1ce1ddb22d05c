"""The command `steering`: serve, check a configuration, ask a running replica why."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import uvloop
from rich.table import Table

from steering.asking import ADMIN_URL, ask, console, load_or_say
from steering.configcmd import config
from steering.linting import lint
from steering.replaycmd import replay
from steering.server import serve
from steering.simulating import command as simulate
from wire import log
from wire.steer import BoxState, Explanation, FleetState, SiteVerdict

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_config = click.option(
    "--config",
    "path",
    required=True,
    type=_FILE,
    help="The replica's TOML file; docs/KNOBS.md lists every setting.",
)
_admin = click.option(
    "--admin", default=ADMIN_URL, show_default=True, help="Admin listener of a running replica."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oca-cdn", prog_name="steering")
def main() -> None:
    """Send each player to the nearest healthy appliance that really holds what it asks for.

    \b
    Run a replica:          steering serve --config steering.toml
    Check before a start:   steering check-config --config steering.toml
    Why is a client there:  steering explain --client 192.0.2.7 --title my-film
    How is the fleet:       steering fleet
    Do players fit:         steering lint http://steering/v1/play/my-film.m3u8
    Change fleet or policy: steering config publish steering.toml
    What would it change:   steering replay decisions.jsonl --policy new.toml

    Players ask the public listener: GET /v1/steer?title=T (JSON), /v1/play/T.m3u8 and T.mpd
    (manifests with Content Steering). Appliances report to it, signed. `explain`, `fleet` and
    drain are on the admin listener, which is never public.
    """


main.add_command(config)
main.add_command(lint)
main.add_command(replay)
main.add_command(simulate)


@main.command("serve")
@_config
def serve_command(path: Path) -> None:
    """Run a replica until SIGTERM: it listens, polls the catalogue, and saves snapshots.

    Refuses to start, with the reason, on a configuration that does not hold together.

    \b
    Example:  steering serve --config /etc/steering/steering.toml
    """
    loaded = load_or_say(path)
    log.configure("steering", loaded.config.log_level)
    try:
        uvloop.run(serve(loaded))
    except OSError as exc:
        raise click.ClickException(f"{path}: cannot run: {exc.strerror or exc}") from exc


@main.command("check-config")
@click.argument("file", required=False, type=_FILE)
@click.option("--config", type=_FILE, help="As FILE.")
def check_config(file: Path | None, config: Path | None) -> None:
    """Read the configuration and every file it names; say what is wrong, or what would run."""
    path = file or config
    if path is None or (file and config):
        raise click.UsageError("say which file: FILE or --config FILE")
    loaded = load_or_say(path)
    boxes, sites = len(loaded.fleet.appliances), len(loaded.fleet.sites)
    click.echo(
        f"{path}: good. {boxes} appliances in {sites} sites; players on {loaded.config.listen}, "
        f"operators on {loaded.config.admin}; tokens signed by {loaded.config.tokens.kid!r}."
    )


@main.command()
@click.option("--client", required=True, help="Address of the client, v4 or v6.")
@click.option("--asset", type=int, help="The asset it asks for (or --title).")
@click.option("--title", help="The title it asks for (or --asset).")
@_admin
def explain(client: str, asset: int | None, title: str | None, admin: str) -> None:
    """Ask a running replica whom it would send CLIENT to, and why not to the others.

    Refuses to guess: exactly one of --asset and --title is needed. Reasons: H unhealthy,
    C does not hold it, L loaded, D draining, R no route.

    \b
    Examples:
      steering explain --client 192.0.2.7 --title my-film
      steering explain --client 2001:db8::7 --asset 42 --admin 10.0.0.3:9481
    """
    if (asset is None) == (title is None):
        raise click.UsageError("give either --asset or --title")
    query = {"client": client} | ({"asset": asset} if title is None else {"title": title})
    found = ask(Explanation, f"{admin}/v1/explain?{urlencode(query)}")
    _print_explanation(found)


@main.command()
@_admin
def fleet(admin: str) -> None:
    """Show what a running replica believes of every appliance.

    \b
    Example:  steering fleet --admin 127.0.0.1:9481
    """
    state = ask(FleetState, f"{admin}/v1/fleet")
    table = Table("appliance", "site", "state", "health", "admit", "silent", "assets", "routes")
    table.add_column("refused")
    for box in state.boxes:
        table.add_row(*_fleet_row(box))
    out = console()
    out.print(table)
    out.print(f"Generation {state.generation} of the configuration, policy {state.policy!r}.")
    if state.stale:
        out.print("[bold]Most of the fleet is silent: silence is ignored.[/bold]")


def _print_explanation(found: Explanation) -> None:
    what = f"asset {found.asset} of {found.title}" if found.asset is not None else found.title
    out = console()
    out.print(f"[bold]{found.client}[/bold] asks for {what}; home site: {found.home or '-'}")
    if found.stale:
        out.print("[bold]Most of the fleet is silent: silence is ignored.[/bold]")
    sites = Table("rank", "site", "kind", "ranked by", "outcome", title="Sites, nearest first")
    for site in found.sites:
        sites.add_row(str(site.rank), site.site, site.kind.value, site.why, _outcome(site))
    out.print(sites)
    boxes = Table("appliance", "site", "score", "health", "admit", "outcome", title="Boxes")
    for site in found.sites:
        for box in site.boxes:
            reason = f"{box.reason.value} · {box.detail}" if box.reason else "candidate"
            boxes.add_row(
                box.appliance,
                site.site,
                f"{box.score:.3g}",
                f"{box.health:.2f}",
                f"{box.admit:.2f}",
                "[bold]chosen[/bold]" if box.chosen else reason,
            )
    out.print(boxes)
    order = " → ".join(place.pathway for place in found.chosen) or "nobody"
    out.print(f"Answer: [bold]{order}[/bold], good for {found.ttl_s} s")


def _outcome(site: SiteVerdict) -> str:
    """What became of a site: who was chosen there, or the reasons it was passed over."""
    chosen = [box.appliance for box in site.boxes if box.chosen]
    if chosen:
        return f"[bold]chosen[/bold]: {', '.join(chosen)}"
    reasons = sorted({box.reason for box in site.boxes if box.reason}, key=str)
    return "; ".join(f"{reason.value}: {reason.words}" for reason in reasons) or "has no box"


def _fleet_row(box: BoxState) -> tuple[Any, ...]:
    silent = "never heard" if box.silent_s is None else f"{box.silent_s:.1f} s"
    refused = ", ".join(f"{what} {count}" for what, count in box.refused.items())
    state = f"{box.state}: {box.why}" if box.why else box.state
    numbers = (f"{box.health:.2f}", f"{box.admit:.2f}", silent, str(box.assets), str(box.routes))
    return (box.appliance, box.site, state, *numbers, refused)


if __name__ == "__main__":
    main()
