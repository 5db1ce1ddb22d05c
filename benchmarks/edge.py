"""Which server delivers byte ranges best? `make bench-edge`: oca and its peers in one run.

    python -m benchmarks.edge [--only 4k --only storm] [--peers nginx,h2o] [--rounds 9]

Writes benchmarks/results/edge-DATE.{json,md,svg}. A run is never repeated until it pleases: what
was read is what is written, with its noise, and a machine that was not alone is said to be so.
"""

from __future__ import annotations

import datetime
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks.edge_claims import Row, judge_row
from benchmarks.edge_peers import OCA, PEERS, Launcher, Peer, PeerError, install
from benchmarks.edge_report import save, show
from benchmarks.edge_run import TUNED_NOTSENT_LOWAT, Course, Outcome
from benchmarks.edge_scenarios import SCENARIOS, Desk, Scenario
from benchmarks.edge_tree import ASSETS_MIN, Paths, make_paths, make_tree
from benchmarks.measure import (
    NOTSENT_LOWAT,
    hardware,
    notsent_lowat_guard,
    quietness,
)

ROUNDS_MIN = 9
QUIET_MIN = 0.95
"""Idle share of both cores before the start, below which the run is called contended."""

WIDTH_MIN = 140
"""Columns of a table that nothing is cut off in."""

TOOLS = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux", "ss": "iproute2"}


@click.command(help=__doc__)
@click.option("--work", type=click.Path(path_type=Path), default=Path("var/bench"))
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path(__file__).parent / "results"
)
@click.option("--rounds", type=int, default=ROUNDS_MIN, show_default=True)
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Of each reading.")
@click.option("--only", multiple=True, type=click.Choice([s.name for s in SCENARIOS]))
@click.option("--peers", default="", help="Names or families, by comma; default: all.")
@click.option("--assets", type=int, default=ASSETS_MIN, show_default=True)
@click.option("--install", "may_install", is_flag=True, help="Missing peers, from Debian.")
@click.option("--note", default="", help="A remark that goes into the results.")
def main(
    work: Path,
    results: Path,
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    peers: str,
    assets: int,
    may_install: bool,
    note: str,
) -> None:
    """The benchmark, from the tree of files to the report."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # servers end as well
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    wanted = chosen_peers(peers)
    _look_for_programs(console, wanted, may_install)
    facts = _facts(wanted, {"rounds": rounds, "seconds": seconds, "assets": assets}, note)
    console.print(f"cores before the start: {facts['idle before']}; {facts['state']}")
    console.print(f"files: {work} (made once, about 6 MB for each asset and 1 GiB)")
    tree = make_tree(work.resolve(), assets)
    paths = make_paths(tree)
    _make_certificate(tree.work / "tls")
    course = _course(Desk(tree, paths, seconds), paths, rounds, wanted, console)
    done: list[tuple[Outcome, Row]] = []
    stem = f"edge-{facts['date']}" + "".join(f"-{name}" for name in only)
    with notsent_lowat_guard() as before:
        course.default_lowat = before
        for scenario in _chosen_scenarios(only):
            done.append(_one(course, scenario))
            show(console, *done[-1])
            save(results, stem, facts, done)
    for path in save(results, stem, facts, done):
        console.print(f"written: {path}")


def chosen_peers(text: str) -> tuple[Peer, ...]:
    """The peers named, by name or family; all for an empty text. Raises click.BadParameter."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    found = tuple(p for p in PEERS if not names or p.name in names or p.family in names)
    unknown = names - {p.name for p in found} - {p.family for p in found}
    if unknown:
        raise click.BadParameter(f"no such peer: {', '.join(sorted(unknown))}")
    return found


def _chosen_scenarios(only: Sequence[str]) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if not only or scenario.name in only]


def _one(course: Course, scenario: Scenario) -> tuple[Outcome, Row]:
    outcome = course.run(scenario)
    return outcome, judge_row(scenario.name, outcome.readings, outcome.absent)


def _course(
    desk: Desk, paths: Paths, rounds: int, peers: tuple[Peer, ...], console: Console
) -> Course:
    launcher = Launcher(desk.tree.work, desk.tree.root, paths.public_key)
    may = _may_set_lowat()
    if not may:
        console.print("[yellow]not root: tcp_notsent_lowat stays as it is for the tuned too[/]")
    return Course(
        desk,
        launcher,
        rounds,
        peers,
        NOTSENT_LOWAT.read_text().strip(),
        may,
        lambda text: console.print(text, style="dim", highlight=False, soft_wrap=True),
    )


def _may_set_lowat() -> bool:
    try:
        value = NOTSENT_LOWAT.read_text().strip()
        NOTSENT_LOWAT.write_text(value)
    except OSError:
        return False
    return True


def _look_for_programs(console: Console, peers: Sequence[Peer], may_install: bool) -> None:
    """Install what is missing if allowed, else say how; raises SystemExit without wrk and such."""
    missing = [peer for peer in peers if peer.path is None]
    tools = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if may_install and (missing or tools):
        try:
            install(missing)
        except PeerError as exc:
            sys.exit(str(exc))
        return
    packages = sorted({peer.package for peer in missing} | tools)
    if packages:
        console.print(
            f"[yellow]missing: {' '.join(packages)}. "
            "`make bench-edge ARGS=--install` installs them from Debian (as root)[/]"
        )
    if tools:
        sys.exit("there is no load without these tools")


def _facts(peers: Sequence[Peer], options: Mapping[str, object], note: str) -> dict[str, object]:
    idle = quietness(2.0)
    state = "alone" if min(idle.values()) >= QUIET_MIN else "CONTENDED: figures mean little"
    families = {peer.family: peer for peer in (OCA, *peers)}
    facts: dict[str, object] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": {name: peer.version_text() for name, peer in families.items()},
        "options": dict(options),
        "idle before": idle,
        "state": state,
        "tcp_notsent_lowat": f"{TUNED_NOTSENT_LOWAT} for the tuned, the kernel's for the shipped",
        "files": "hot ones are locked in the page cache (mlock), the same for all servers",
        "sockets": "oca sets TCP_NOTSENT_LOWAT itself: see oca/server.py",
        "intervals": "95 % bootstrap of the median of paired ratios",
        "cpu": "server core's busy seconds (softirq included, stolen not) per 10^9 bytes sent",
    }
    if note:
        facts["note"] = note
    if int(str(options["rounds"])) < ROUNDS_MIN:
        facts["rounds"] = f"only {options['rounds']}: a try, not a result"
    return facts


def _make_certificate(folder: Path) -> None:
    """A self-signed P-256 certificate for the TLS row."""
    if (folder / "cert.pem").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "365"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
