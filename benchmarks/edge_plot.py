"""One picture of a run: for each scenario what was compared, every round a dot, medians as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "edge"  # the same run gives the same file

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)

from benchmarks.edge_claims import Reading, Row, median_of  # noqa: E402  (as above)
from benchmarks.edge_run import Outcome  # noqa: E402  (as above)

OURS, THEIRS = "#d1495b", "#7a8b99"
PANELS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "idle": (("p99_ms", "p99, ms"), ("own_each_bytes", "bytes per idle connection")),
    "storm": (("p99_ratio", "p99 in the storm ÷ without"), ("cold_mbytes_per_s", "cold MB/s")),
    "slow": (("memory_each_bytes", "bytes per slow reader"), ("p99_ratio", "others' p99 ratio")),
    "two-4k": (("rate", "requests/s"), ("p99_ms", "p99, ms")),
    "two-1m": (("rate", "requests/s"), ("p99_ms", "p99, ms")),
}
RATES = (("rate", "requests/s"), ("cpu_s_per_gb", "server CPU s/GB"))


def plot(path: Path, facts: Mapping[str, object], results: Sequence[tuple[Outcome, Row]]) -> None:
    """Write the picture as SVG."""
    shown = [(outcome, row) for outcome, row in results if outcome.readings]
    if not shown:
        return
    figure, grid = plt.subplots(
        len(shown), 2, figsize=(11, 2.4 * len(shown)), squeeze=False, layout="constrained"
    )
    for (outcome, row), axes in zip(shown, grid, strict=True):
        panels = PANELS.get(outcome.scenario.name, RATES)
        for axis, (measure, label) in zip(axes, panels, strict=True):
            _panel(axis, outcome.readings, measure, label)
        axes[0].set_title(f"{outcome.scenario.title}: {row.verdict.value}", loc="left", fontsize=9)
    figure.suptitle(
        f"edge benchmark, {facts['date']}, {facts['state']}, {_machine(facts)}", fontsize=9
    )
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panel(axis: Any, readings: Mapping[str, Sequence[Reading]], measure: str, label: str) -> None:
    names = [name for name, rounds in readings.items() if median_of(rounds, measure) is not None]
    for place, name in enumerate(reversed(names)):
        values = [reading[measure] for reading in readings[name]]
        colour = OURS if name.startswith("oca") else THEIRS
        axis.barh(place, median_of(readings[name], measure), color=colour, alpha=0.6)
        axis.plot(values, [place] * len(values), ".", color="black", markersize=3)
    axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlim(left=0)
    axis.set_xlabel(label, fontsize=7)


def _machine(facts: Mapping[str, object]) -> str:
    hardware = facts.get("hardware")
    if not isinstance(hardware, Mapping):
        return ""
    return f"{hardware['processor']}, {hardware['cores']} cores, Linux {hardware['kernel']}"
