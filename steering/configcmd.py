"""`steering config …`: look at generations, try a change, publish it, go back. An adapter: the
command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from steering.asking import ADMIN_URL, ask, console, load_or_say
from steering.policy import as_dict
from wire.codec import encode
from wire.generations import BoxChange, ConfigChange, ConfigState, Draft

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_admin = click.option("--admin", default=None, help="Admin listener, if not the one in FILE.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would change.")


@click.group()
def config() -> None:
    """Generations of the configuration: fleet file and policy, changed while steering runs.

    \b
    What would FILE change:     steering config publish steering.toml --dry-run
    Take it up, here and now:   steering config publish steering.toml
    Back to what ran before:    steering config rollback
    What ran when:              steering config list

    FILE is a whole configuration; its fleet file and its [policy] are what is published. Each
    replica has generations of its own: publish to all of them.
    """


@config.command()
@click.argument("file", type=_FILE)
@_admin
@_dry_run
@click.option("--force", is_flag=True, help="Even if most of the fleet leaves service.")
def publish(file: Path, admin: str | None, dry_run: bool, force: bool) -> None:
    """Check FILE, and have the running replica take up its fleet file and policy."""
    loaded = load_or_say(file)
    draft = Draft(fleet=loaded.fleet_text, policy=as_dict(loaded.config.policy))
    query = f"?dry_run={int(dry_run)}&force={int(force)}"
    base = admin or f"http://{loaded.config.admin}"
    tell(ask(ConfigChange, f"{base}/v1/config{query}", "POST", encode(draft)), dry_run)


@config.command()
@click.option("--admin", default=ADMIN_URL, show_default=True, help="Admin listener.")
@_dry_run
def rollback(admin: str, dry_run: bool) -> None:
    """Go back to what ran before, as a new generation; a second time comes back again."""
    url = f"{admin}/v1/config/rollback?dry_run={int(dry_run)}"
    tell(ask(ConfigChange, url, "POST", b""), dry_run)


@config.command()
@click.option("--admin", default=ADMIN_URL, show_default=True, help="Admin listener.")
@_dry_run
@click.option("--force", is_flag=True, help="Even if most of the fleet leaves service.")
def reload(admin: str, dry_run: bool, force: bool) -> None:
    """Have the replica read its own files again, as SIGHUP does, and say what came of it."""
    url = f"{admin}/v1/config/reload?dry_run={int(dry_run)}&force={int(force)}"
    tell(ask(ConfigChange, url, "POST", b""), dry_run)


@config.command("list")
@click.option("--admin", default=ADMIN_URL, show_default=True, help="Admin listener.")
def list_command(admin: str) -> None:
    """The generations that a replica keeps."""
    state = ask(ConfigState, f"{admin}/v1/config")
    table = Table("generation", "made", "by", "policy", "appliances", "")
    for one in state.generations:
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at_s))
        mark = "[bold]runs[/bold]" if one.running else ""
        table.add_row(str(one.number), made, one.by, one.policy, str(one.boxes), mark)
    console().print(table)


def tell(found: ConfigChange, dry_run: bool) -> None:
    """Print a change for people."""
    out = console()
    if found.is_empty:
        out.print(f"Nothing differs from generation {found.generation}, which runs on.")
    if found.policy:
        table = Table("setting", "before", "after", title="Policy")
        for field in found.policy:
            table.add_row(field.name, field.before, field.after)
        out.print(table)
    if found.boxes or found.sites:
        table = Table("", "id", "what", "fields", title="Fleet file")
        for kind, entries in (("appliance", found.boxes), ("site", found.sites)):
            for entry in entries:
                table.add_row(kind, *_entry_row(entry))
        out.print(table)
    if found.capacity:
        table = Table("site", "boxes", "capacity, weighted", title="In service")
        for site in found.capacity:
            table.add_row(
                site.site,
                f"{site.boxes_before} → {site.boxes_after}",
                f"{site.before_bps / 1e9:g} → {site.after_bps / 1e9:g} Gbit/s",
            )
        out.print(table)
    if found.networks:
        said = "would be taken up" if dry_run else "is taken up"
        out.print(f"Tables of networks that changed, each {said}: {', '.join(found.networks)}")
    if found.restart:
        out.print(f"Only a restart takes up: {', '.join(found.restart)}")
    if found.applied:
        out.print(f"[bold]Generation {found.generation} runs.[/bold]")
    elif dry_run and not found.is_empty:
        out.print(f"Nothing was changed: generation {found.generation} runs on.")


def _entry_row(entry: BoxChange) -> tuple[Any, ...]:
    fields = "; ".join(f"{field.name}: {field.before} → {field.after}" for field in entry.fields)
    return entry.id, entry.what, fields
