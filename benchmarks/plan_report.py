"""The report of the planner's benchmark: claims first, then each size, and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "plan"  # the same run gives the same file

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)

from benchmarks.cache_report import Claim  # noqa: E402  (as above)

Size = Mapping[str, Any]
SECONDS_MAX, BYTES_MAX, FULL = 120.0, 4 * 10**9, 10_000_000
LP_GAP_MAX, KNAPSACK_GAP_MAX = 0.005, 0.02
UPSTREAM_MAX, MAKESPAN_MAX = 1.02, 1.1
STAGES = ("forecast", "placement", "schedule")
COLOURS = ("#7a8b99", "#d1495b", "#edae49")

HOW = (
    "The world is made from a seed (`benchmarks/plan_world.py`): a week of counts, disks of 55 % "
    "of what a site's clients ask for, full of what was placed for other demand the evening "
    "before. The bounds (`benchmarks/plan_bound.py`) and the checker (`benchmarks/plan_check.py`) "
    "share no code with the planner. The linear programme may cut assets; the aggregate knapsack "
    "takes all disks and windows of a site as one, and knows no links."
)


def claims(sizes: Sequence[Size]) -> list[Claim]:
    """What the benchmark is there to show."""
    full = [size for size in sizes if size["demands"] >= FULL]
    gaps = [gap for size in sizes for gap in size["lp_gaps"]]
    found = []
    for size in full:
        seconds, peak = size["seconds"]["all"], size["peak_bytes"]
        stages = ", ".join(f"{name} {size['seconds'][name]:.1f} s" for name in STAGES)
        found += [
            Claim(
                f"{size['demands'] / 1e6:.0f} M demands, {size['sites']} sites, {size['boxes']} "
                f"boxes: forecast + placement + schedule in ≤ {SECONDS_MAX:.0f} s on 2 cores",
                seconds <= SECONDS_MAX,
                f"{seconds:.1f} s ({stages})",
            ),
            Claim("in ≤ 4 GB", peak <= BYTES_MAX, f"{peak / 1e9:.2f} GB at the most"),
        ]
    faults = [fault for size in sizes for fault in size["faults"]]
    worst = max(size["knapsack_gap"] for size in sizes)
    upstream = max(size["upstream_ratio"] for size in sizes)
    makespan = max(size["makespan_ratio"] for size in sizes)
    late = sum(size["late"] for size in sizes)
    found += [
        Claim(
            "every plan can be carried out (independent checker)",
            not faults and not late,
            f"{len(sizes)} plans, {sum(size['rows'] for size in sizes):,} rows, "
            f"{sum(size['pieces'] for size in sizes):,} pieces of transfers; "
            f"{len(faults)} faults, {late} late" + "".join(f"; {fault}" for fault in faults[:3]),
        ),
        Claim(
            f"gap to the linear programme ≤ {LP_GAP_MAX:.1%}, site by site (HiGHS)",
            bool(gaps) and max(gaps) <= LP_GAP_MAX,
            f"{len(gaps)} sites: worst {max(gaps, default=1):.3%}, "
            f"mean {sum(gaps) / max(1, len(gaps)):.3%}",
        ),
        Claim(
            f"gap to the aggregate knapsack ≤ {KNAPSACK_GAP_MAX:.0%}",
            worst <= KNAPSACK_GAP_MAX,
            f"worst {worst:.3%}",
        ),
        Claim(
            f"bytes from outside sites ≤ {UPSTREAM_MAX} × the unique new bytes",
            upstream <= UPSTREAM_MAX,
            f"{upstream:.4f}",
        ),
        Claim(
            f"makespan ≤ {MAKESPAN_MAX} × its bound",
            makespan <= MAKESPAN_MAX,
            f"{makespan:.3f} at the worst",
        ),
    ]
    return found


def report(facts: Mapping[str, Any], sizes: Sequence[Size]) -> str:
    """Everything as Markdown."""
    machine = facts["hardware"]
    lines = [
        "# The planner",
        "",
        f"{facts['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}, Linux {machine['kernel']}, Python {machine['python']}. "
        "Made by `make bench-plan`.",
        "",
        "| claim | held | figures |",
        "| --- | --- | --- |",
        *(f"| {c.text} | {'yes' if c.held else '**no**'} | {c.figures} |" for c in claims(sizes)),
        "",
        "![growth](plan.svg)",
        "",
        "| demands | sites | boxes | forecast s | placement s | schedule s | all s | GB | "
        "plan rows | fetches | planned offload | knapsack gap | upstream | makespan |",
        "|" + " --: |" * 14,
        *(_line(size) for size in sizes),
        "",
        HOW,
        "",
        "Writing the tables (plan.parquet, schedule.parquet) and the checks are not in the times: "
        + "; ".join(
            f"{s['demands'] / 1e6:.1f} M: {s['seconds']['tables']:.1f} s and "
            f"{s['seconds']['check']:.1f} s"
            for s in sizes
        )
        + ".",
        "",
    ]
    return "\n".join(lines)


def _line(size: Size) -> str:
    seconds = size["seconds"]
    cells = (
        f"{size['demands']:,}",
        f"{size['sites']}",
        f"{size['boxes']:,}",
        *(f"{seconds[name]:.1f}" for name in (*STAGES, "all")),
        f"{size['peak_bytes'] / 1e9:.2f}",
        f"{size['rows']:,}",
        f"{size['fetches']:,}",
        f"{size['planned_offload']:.2%}",
        f"{size['knapsack_gap']:.3%}",
        f"{size['upstream_ratio']:.4f}",
        f"{size['makespan_ratio']:.3f}",
    )
    return "| " + " | ".join(cells) + " |"


def plot(path: Path, facts: Mapping[str, Any], sizes: Sequence[Size]) -> None:
    """Write the growth of time and memory as SVG."""
    shown = sorted(sizes, key=lambda size: size["demands"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    millions = [size["demands"] / 1e6 for size in shown]
    below = [0.0] * len(shown)
    for stage, colour in zip(STAGES, COLOURS, strict=True):
        above = [low + size["seconds"][stage] for low, size in zip(below, shown, strict=True)]
        left.fill_between(millions, below, above, color=colour, label=stage)
        below = above
    left.axhline(SECONDS_MAX, color="black", linewidth=0.8, linestyle=":")
    left.set_ylabel("seconds, 2 cores")
    left.legend(loc="upper left", fontsize=8)
    right.plot(millions, [size["peak_bytes"] / 1e9 for size in shown], "o-", color=COLOURS[1])
    right.axhline(BYTES_MAX / 1e9, color="black", linewidth=0.8, linestyle=":")
    right.set_ylabel("GB at the most (PSS)")
    for axis in (left, right):
        axis.set_xlabel("million (site, asset) demands")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    machine = facts["hardware"]
    figure.suptitle(f"fill: one night, {facts['date']}, {machine['processor']}", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
