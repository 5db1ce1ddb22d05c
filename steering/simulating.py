"""The command `steering simulate`: both ways of shedding at once, each in a process of its own."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

import click
import numpy as np
from rich.table import Table

from steering.asking import console
from steering.simulate import OURS, SWITCHED, Mode, Run, Times
from steering.simulate_report import OVERSHOOT_MAX, SETTLE_TTLS_MAX, Outcome, outcomes
from steering.simulate_world import Scale, build

SEED = 1


def simulate(scale: Scale, times: Times, seed: int = SEED) -> list[Outcome]:
    """Run ours and the contrast side by side."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(run, mode, scale, times, seed) for mode in (OURS, SWITCHED)]
        return [outcome for job in jobs for outcome in job.result()]


def run(mode: Mode, scale: Scale, times: Times, seed: int) -> list[Outcome]:
    """One way of shedding, in this process."""
    world = build(scale, times.event_s, times.crowd_s, np.random.default_rng(seed))
    loads = Run(world, mode, times, np.random.default_rng(seed)).loads()
    return outcomes(mode.name, world, times, mode.policy.ttl_s, loads)


def as_json(scale: Scale, times: Times, found: list[Outcome]) -> str:
    """The same as the table, for programs."""
    return json.dumps(
        {
            "appliances": scale.boxes,
            "scale": asdict(scale),
            "times_s": asdict(times),
            "limits": {"overshoot": OVERSHOOT_MAX, "settle_ttls": SETTLE_TTLS_MAX},
            "outcomes": [outcome.as_dict() for outcome in found],
        },
        indent=2,
    )


def as_table(scale: Scale, found: list[Outcome]) -> Table:
    """For people."""
    title = f"{scale.boxes:,} appliances, 3 replicas; the worst of {scale.struck} sites struck"
    table = Table("shedding", "event", title=title)
    columns = "before", "after", "overshoot", "settled in", "turns", "a box", "fullest", "calm"
    for name in columns:
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            one.mode,
            one.event,
            f"{one.before:.2f}",
            f"{one.after:.2f}",
            f"{one.overshoot:.1%}",
            f"{one.settle_ttls:.1f} TTL",
            str(one.turns),
            f"{one.box_turns:.1f}",
            f"{one.peak_box:.2f}",
            "yes" if one.is_calm else "no",
        )
    return table


@click.command("simulate")
@click.option("--regions", default=50, show_default=True, help="Of 200 appliances each.")
@click.option("--struck", default=8, show_default=True, help="Regions in which things happen.")
@click.option("--seed", default=SEED, show_default=True, help="Of chance.")
@click.option("--json", "is_json", is_flag=True, help="For programs.")
def command(regions: int, struck: int, seed: int, is_json: bool) -> None:
    """Show that steering swings no crowd: a box is lost, a crowd arrives, a site comes back.

    10,000 appliances and 3 replicas, with the code that decides in production; beside it the same
    with thresholds that switch boxes on and off. Takes half a minute on two cores. Exit code 1
    when ours overshoots by more than 10 % or takes more than 3 TTLs to settle. Refuses a scale
    that cannot be.
    """
    if not 1 <= struck <= regions <= 50:
        raise click.UsageError("1 to 50 regions, and no more struck than there are")
    scale, times = Scale(regions, struck), Times()
    found = simulate(scale, times, seed)
    if is_json:
        click.echo(as_json(scale, times, found))
    else:
        console().print(as_table(scale, found))
    if not all(one.is_calm for one in found if one.mode == OURS.name):
        raise SystemExit(1)
