"""`oca purge`: forget what pull-through keeps of some URLs, at once."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from oca.config import read
from oca.http.errors import RequestError
from oca.through.target import key_of
from wire.errors import OcaError, WireError


def key_of_url(url: str) -> str:
    """The key of a URL or path as an operator types it; raises WireError."""
    parts = urlsplit(url)
    query = parts.query.encode() if parts.query else None
    try:
        if not parts.path.startswith("/"):
            raise RequestError(400, "no path")
        return key_of(parts.path.encode(), query)
    except (RequestError, ValueError) as exc:
        raise WireError("URL", "", f"{url!r} is none: {exc}", hint="/path or http://…") from exc


def run_dir_of(config_file: str | None, store: str | None) -> Path:
    """The run folder of the box, or of the proxy that has this store; raises OcaError."""
    if config_file is not None:
        return Path(read(Path(config_file).read_bytes(), config_file).run)
    if store is None:
        raise WireError("purge", "", "say --config FILE or --store DIR")
    from oca.through.messages import RUN_FILE
    from oca.through.setup import FOLDER

    try:
        return Path((Path(store) / FOLDER / RUN_FILE).read_text())
    except OSError as exc:
        raise OcaError(f"{store} is no caching proxy's store: {exc.strerror}") from exc


@click.command("purge")
@click.argument("urls", nargs=-1, required=True, metavar="URL…")
@click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False),
              help="The appliance's configuration.")  # fmt: skip
@click.option("--store", type=click.Path(exists=True, file_okay=False),
              help="Instead: the store of a running `oca serve --upstream`.")  # fmt: skip
@click.option("--below", is_flag=True, help="All that begins so, not just these.")
def purge_urls(
    urls: tuple[str, ...], config_file: str | None, store: str | None, below: bool
) -> None:
    """Forget what pull-through keeps of these URLs (or paths), at once; the next request asks the
    upstream. What the plan stores is not touched: `fill purge` is for that. Says how many there
    were; exit 1 when no fetcher runs.

    \b
    Examples:
      oca purge --store /var/cache/oca http://any.name/films/7/seg-3.m4s
      oca purge --config /etc/oca/appliance.toml --below /a/77/
    """
    # Here, for every worker of `oca` imports the module of the commands.
    from oca.through.purging import purge

    keys = [key_of_url(url) for url in urls]
    click.echo(f"{purge(run_dir_of(config_file, store), keys, below=below)} purged")
