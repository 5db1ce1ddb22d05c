"""The `oca` command: what people type, and nothing that decides."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from oca.bgp.command import routes
from oca.cache.simulate import simulate, size
from oca.config import AccessLogKnobs, Config, Pacing, Tls, read, split_address
from oca.diskstatus import disks, scrub_status
from oca.fillstatus import fill_status
from oca.keyring import keygen, sign
from oca.purge import purge_urls
from oca.tokens import read_token_file
from wire import log
from wire.errors import OcaError
from wire.knobs import knobs_of

EXAMPLES = """
\b
Examples:
  oca serve --root /srv/video --listen 127.0.0.1:8080
  oca serve --root ~/hls --listen 0.0.0.0:8080 --workers 2 --admin 127.0.0.1:9480
  oca serve --root ~/hls --token-keys tokens.toml
  oca serve --config /etc/oca/appliance.toml
  oca serve --store /var/cache/oca --upstream http://origin.example --listen 0.0.0.0:8080
  curl -r 100-199 http://127.0.0.1:8080/film/seg-1.m4s
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oca-cdn", prog_name="oca")
def cli() -> None:
    """oca, the appliance: serves segments and byte ranges, and fills its disks at night."""


cli.add_command(simulate)
cli.add_command(fill_status)
cli.add_command(purge_urls)
cli.add_command(disks)
cli.add_command(scrub_status)
cli.add_command(sign)
cli.add_command(keygen)
cli.add_command(routes)


@cli.command(epilog=EXAMPLES)
@click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="Serve this folder as it is."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    help="Run a whole appliance: workers and agent.",
)
@click.option("--store", type=click.Path(file_okay=False), help="With --upstream: the cache's.")
@click.option("--upstream", metavar="URL", help="Run a caching proxy in front of this server.")
@click.option(
    "--dynamic-bytes",
    type=size,
    metavar="SIZE",
    help="Room of the cache, 16MiB or more: 500GiB. Default 10GiB.",
)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (default 127.0.0.1:8080).")
@click.option("--workers", type=click.IntRange(1, 512), help="Processes (default: one per core).")
@click.option("--admin", metavar="HOST:PORT", help="/metrics, /healthz and /readyz here.")
@click.option("--access-log", type=click.Path(dir_okay=False), help="JSON lines; default: none.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="PEM chain.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="Its PEM key.")
@click.option(
    "--one-in", type=click.IntRange(1), default=1, help="Log one answer in so many; default 1."
)
@click.option(
    "--pace-bps", type=click.IntRange(10_000), help="Bits/s of every answer; default: no bound."
)
@click.option("--pace-by-player", is_flag=True, help="Obey players' `rtp` (CMCD) and `Pace-Bps`.")
@click.option(
    "--token-keys",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve signed URIs only (RFC 9246); FILE says whose. See `oca sign`.",
)
def serve(
    root: str | None,
    config_file: str | None,
    store: str | None,
    upstream: str | None,
    dynamic_bytes: int | None,
    listen: str | None,
    workers: int | None,
    admin: str | None,
    access_log: str | None,
    one_in: int,
    tls_cert: str | None,
    tls_key: str | None,
    pace_bps: int | None,
    pace_by_player: bool,
    token_keys: str | None,
) -> None:
    """Serve files over HTTP/1.1: a plain folder (--root), an appliance's store (--config), or what
    another server has, kept for a while (--store and --upstream).

    With --root every regular file in the folder is served to everybody, read-only, by its path;
    with --token-keys only to those who bring a URI that one of these keys signed. Folders are
    answered 404 (there is no listing and no index page), and so are dot files and links that lead
    out of the folder. Byte ranges, conditional requests and CORS are right for HLS and DASH
    players. Port 0 takes any free port and prints it. SIGTERM finishes what is being sent.
    """
    if [root, config_file, upstream].count(None) != 2 or (upstream is None) != (store is None):
        raise click.UsageError("say --root DIR, or --config FILE, or --store DIR --upstream URL")
    log.configure("oca")
    extra = _of_answers(access_log, one_in, tls_cert, tls_key, pace_bps, pace_by_player)
    at, count = listen or "127.0.0.1:8080", workers or os.cpu_count() or 1
    if upstream is not None and store is not None:
        if token_keys is not None:
            raise click.UsageError("--token-keys is for --root")
        _serve_through(extra, at, count, admin or "", (Path(store), upstream, dynamic_bytes))
    elif root is not None:
        keys = None if token_keys is None else Path(token_keys)
        _serve_root(["--root", root, *extra], at, count, admin or "", keys)
    elif config_file is not None:
        if any((listen, workers, admin, token_keys, dynamic_bytes, *extra)):
            raise click.UsageError("with --config, say it in the file: listen, workers, admin, …")
        _serve_config(config_file)


def _of_answers(
    access_log: str | None,
    one_in: int,
    tls_cert: str | None,
    tls_key: str | None,
    pace_bps: int | None,
    pace_by_player: bool,
) -> list[str]:
    """What tells a worker how to answer, whatever it serves."""
    args = []
    if access_log is not None:
        args += ["--access-log", str(Path(access_log).absolute()), "--one-in", str(one_in)]
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key come together")
    if tls_cert is not None and tls_key is not None:
        args += ["--tls-cert", str(Path(tls_cert).absolute())]
        args += ["--tls-key", str(Path(tls_key).absolute())]
    if pace_bps:
        args += ["--pace-bps", str(pace_bps)]
    if pace_by_player:
        args += ["--pace-by-player"]
    return args


def _serve_root(
    args: list[str], listen: str, workers: int, admin: str, token_keys: Path | None
) -> None:
    from oca.crew import Crew
    from oca.settings import FolderSettings

    at = split_address(listen, "--listen")
    run_dir = Path(tempfile.mkdtemp(prefix="oca-"))
    try:
        settings = FolderSettings(run_dir, token_keys)
        settings.keep()
        crew = Crew(run_dir, at, workers, [*args, *settings.args])
        scheme = "https" if "--tls-cert" in args else "http"
        to_whom = "open to all" if token_keys is None else "signed URIs only"
        click.echo(
            f"oca serves {args[1]} at {scheme}://{crew.shown}/ ({workers} "
            f"worker{'s' if workers > 1 else ''}, read-only, {to_whom}); Ctrl-C stops"
        )
        crew.run(settings, split_address(admin, "--admin") if admin else None)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _serve_through(
    extra: list[str], listen: str, workers: int, admin: str, what: tuple[Path, str, int | None]
) -> None:
    from oca.crew import Crew
    from oca.settings import FolderSettings
    from oca.through.setup import prepare

    at = split_address(listen, "--listen")
    run_dir = Path(tempfile.mkdtemp(prefix="oca-"))
    try:
        args = prepare(run_dir, *what)
        crew = Crew(run_dir, at, workers, [*args, *extra])
        crew.add_fetcher(args)
        scheme = "https" if "--tls-cert" in extra else "http"
        click.echo(
            f"oca at {scheme}://{crew.shown}/ caches {what[1]} in {what[0]} ({workers} "
            f"worker{'s' if workers > 1 else ''}, open to all); Ctrl-C stops"
        )
        crew.run(FolderSettings(run_dir), split_address(admin, "--admin") if admin else None)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _serve_config(config_file: str) -> None:
    from oca.crew import Crew
    from oca.settings import FileSettings

    settings = FileSettings(Path(config_file))
    config = settings.config
    run_dir = Path(config.run)
    run_dir.mkdir(parents=True, exist_ok=True)
    settings.keep()
    at = split_address(config.listen, "listen")
    crew = Crew(run_dir, at, config.workers or os.cpu_count() or 1, settings.args)
    click.echo(f"oca {config.id} serves {', '.join(config.disk_paths)} at {crew.shown}")
    admin = split_address(config.admin, "admin") if config.admin else None
    if config.agent.key_file:
        crew.add_agent(settings.args)
        admin = None  # the agent has it
    if config.through.policy == "fetch":
        crew.add_fetcher(settings.args)
    crew.run(settings, admin)


def _config(path: str, name: str | None = None) -> Config:
    return read(Path(path).read_bytes(), name or path)


@cli.command("check-config")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="As FILE.")
@click.option("--quiet", "-q", is_flag=True, help="Say only what is wrong.")
def check_config(file: str | None, config: str | None, quiet: bool) -> None:
    """Read FILE and what it names as `serve --config` would; print settings and reasons.

    Exit 0 when it can be used; what is doubtful (an expired certificate, a missing file of routes)
    is said on stderr. Secrets (shared keys) are not printed.

    \b
    Example:  oca check-config -q /etc/oca/appliance.toml
    """
    name = file or config
    if name is None or (file and config):
        raise click.UsageError("say which file: FILE or --config FILE")
    _check_config(name, quiet)


def _check_config(file: str, quiet: bool) -> None:
    from oca.settings import checked, disk_doubts, doubts

    config = checked(Path(file).read_bytes(), file)
    for text in [*doubts(config, datetime.now(UTC)), *disk_doubts(config)]:
        click.echo(f"warning: {file}: {text}", err=True)
    if quiet:
        return
    shown = replace(
        config,
        token_keys=_shown(config.token_keys, "hs256:"),
        tokens=replace(config.tokens, client_keys=_shown(config.tokens.client_keys, "")),
    )
    for knob in knobs_of(shown):
        click.echo(f"{knob.name} = {knob.value!r}")
        click.echo(f"    {knob.why}")


def _shown(keys: Mapping[str, str], secret: str) -> dict[str, str]:
    """Keys by kid, of those that begin with `secret` the kind alone."""
    return {
        kid: text.partition(":")[0] + ":…" if text.startswith(secret) else text
        for kid, text in keys.items()
    }


@cli.command(hidden=True)
@click.option("--index", type=int, required=True)
@click.option("--listen-fd", type=int, required=True)
@click.option("--life-fd", type=int, required=True)
@click.option("--beat-fd", type=int, required=True)
@click.option("--run", "run_dir", required=True)
@click.option("--root")
@click.option("--through")
@click.option("--access-log", default="")
@click.option("--tls-cert", default="")
@click.option("--tls-key", default="")
@click.option("--one-in", type=int, default=1)
@click.option("--pace-bps", type=int, default=0)
@click.option("--pace-by-player", is_flag=True)
@click.option("--token-keys")
@click.option("--config", "config_file")
@click.option("--as", "name", help="What to call the configuration, and where its paths start.")
def worker(
    index: int,
    listen_fd: int,
    life_fd: int,
    beat_fd: int,
    run_dir: str,
    root: str | None,
    through: str | None,
    access_log: str,
    tls_cert: str,
    tls_key: str,
    one_in: int,
    pace_bps: int,
    pace_by_player: bool,
    token_keys: str | None,
    config_file: str | None,
    name: str | None,
) -> None:
    """One data-plane process; the supervisor starts it."""
    from oca.worker import Post, run_appliance, run_folder, run_through

    post = Post(index, listen_fd, life_fd, beat_fd, Path(run_dir))
    if config_file is not None:
        config = _config(config_file, name)
        log.configure(f"oca {config.id} worker {index}", config.log_level)
        run_appliance(config, post)
    elif through is not None:
        from oca.through.setup import prepared

        log.configure(f"oca worker {index}")
        access, tls = AccessLogKnobs(access_log, one_in), Tls(tls_cert, tls_key)
        run_through(*prepared(through), post, access, tls, Pacing(pace_bps, pace_by_player))
    elif root is not None:
        log.configure(f"oca worker {index}")
        rules = None
        if token_keys is not None:
            rules = read_token_file(Path(token_keys).read_bytes(), token_keys)
        access, tls = AccessLogKnobs(access_log, one_in), Tls(tls_cert, tls_key)
        run_folder(root, post, access, tls, Pacing(pace_bps, pace_by_player), rules)


@cli.command(hidden=True)
@click.option("--config", "config_file", required=True)
@click.option("--as", "name", help="What to call it, and where its paths start.")
@click.option("--life-fd", type=int)
def agent(config_file: str, name: str | None, life_fd: int | None) -> None:
    """The appliance's agent; the supervisor starts it."""
    from oca.agent.main import live

    config = _config(config_file, name)
    log.configure(f"oca {config.id} agent", config.log_level)
    live(config, life_fd)


@cli.command(hidden=True)
@click.option("--through")
@click.option("--config", "config_file")
@click.option("--as", "name", help="What to call it, and where its paths start.")
@click.option("--run", "run_dir", required=True)
@click.option("--life-fd", type=int)
def fetcher(
    through: str | None, config_file: str | None, name: str | None, run_dir: str, life_fd: int
) -> None:
    """What fetches what is not stored; the supervisor starts it."""
    from oca.through.fetcher import live
    from oca.through.setup import prepared, signer

    if through is not None:
        log.configure("oca fetcher")
        knobs, folder = prepared(through)
        live(knobs, folder, Path(run_dir), life_fd)
    elif config_file is not None:
        config = _config(config_file, name)
        log.configure(f"oca {config.id} fetcher", config.log_level)
        through_folder = config.through_folder
        live(config.through, through_folder, Path(run_dir), life_fd, signer(config))


def main() -> None:
    """Entry point: errors of ours, and what the system refuses a person, are one line, exit 1."""
    try:
        cli(standalone_mode=True)
    except OcaError as exc:
        click.echo(f"oca: {exc}", err=True)
        sys.exit(1)
    except OSError as exc:
        if sys.argv[1:2] in (["worker"], ["agent"], ["fetcher"]):
            raise  # nobody typed that: the log wants to know where
        what = f"{exc.filename}: {exc.strerror}" if exc.filename else exc
        click.echo(f"oca: {what}", err=True)
        sys.exit(1)
