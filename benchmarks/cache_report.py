"""The report of the cache benchmark: claims first, then tables, and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cell = Mapping[str, Any]
BOUND = "PFOO-L bound"
OURS = "#d1495b"


@dataclass(frozen=True, slots=True)
class Claim:
    """What must hold, whether it did, and the figures."""

    text: str
    held: bool
    figures: str


def report(facts: Mapping[str, Any], cells: Sequence[Cell], claims: Sequence[Claim]) -> str:
    """Everything as Markdown."""
    machine = facts["hardware"]
    lines = [
        "# Cache policies",
        "",
        f"{facts['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}, Linux {machine['kernel']}, Python {machine['python']}. "
        f"Default policy: {facts['default']}. Made by `make bench-cache`.",
        "",
        "| claim | held | figures |",
        "| --- | --- | --- |",
        *(f"| {c.text} | {'yes' if c.held else '**no**'} | {c.figures} |" for c in claims),
        "",
    ]
    real = [cell for cell in cells if cell["trace"] == "real"]
    chunks = [cell for cell in cells if cell["trace"] == "real, chunks"]
    rest = [cell for cell in cells if not cell["trace"].startswith("real")]
    if real:
        lines += ["## cloudPhysicsIO: byte miss ratio (missed requests)", "", *_by_size(real), ""]
        lines += ["## Decisions per second of CPU time, millions", "", *_speed(real), ""]
    if chunks:
        title = f"## The same as chunks of {facts['chunk_bytes']} bytes"
        lines += [title, "", *_by_size(chunks), ""]
    lines += ["## Synthetic traces: byte miss ratio", "", *_by_trace(rest)]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    bar = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, bar, *rows)]


def _by_size(cells: Sequence[Cell]) -> list[str]:
    sizes = sorted({cell["capacity_bytes"] for cell in cells})
    of = {(cell["policy"], cell["capacity_bytes"]): cell for cell in cells}

    def shown(cell: Cell) -> str:
        missed = f" ({cell['missed']:,})" if cell["missed"] else ""
        return f"{cell['byte_miss_ratio']:.4f}{missed}"

    names = list(dict.fromkeys(cell["policy"] for cell in cells))
    names.sort(key=lambda name: (name != BOUND, of[name, sizes[-1]]["byte_miss_ratio"]))
    rows = [[name, *(shown(of[name, size]) for size in sizes)] for name in names]
    return _table(["policy", *(f"{size >> 20} MiB" for size in sizes)], rows)


def _speed(cells: Sequence[Cell]) -> list[str]:
    sizes = sorted({cell["capacity_bytes"] for cell in cells})
    of = {(cell["policy"], cell["capacity_bytes"]): cell["decisions_per_s"] / 1e6 for cell in cells}
    names = [name for name in dict.fromkeys(cell["policy"] for cell in cells) if name != BOUND]
    rows = [[name, *(f"{of[name, size]:.2f}" for size in sizes)] for name in names]
    return _table(["policy", *(f"{size >> 20} MiB" for size in sizes)], rows)


def _by_trace(cells: Sequence[Cell]) -> list[str]:
    names = list(dict.fromkeys(cell["policy"] for cell in cells))
    of = {(cell["trace"], cell["policy"]): cell["byte_miss_ratio"] for cell in cells}
    traces = dict.fromkeys(cell["trace"] for cell in cells)
    rows = []
    for trace in traces:
        best = min(of[trace, name] for name in names if name != BOUND)
        figures = [of[trace, name] for name in names]
        rows.append([trace, *(f"**{x:.3f}**" if x == best else f"{x:.3f}" for x in figures)])
    return _table(["trace, cache ÷ its bytes", *names], rows)


def plot(path: Path, facts: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """Byte misses ÷ LRU's for every trace: below 1 is better than LRU, left of all is the bound."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cache"  # the same run gives the same file
    import matplotlib.pyplot as plt

    of = {
        (f"{cell['trace']}, {cell['capacity_bytes'] >> 20} MiB", cell["policy"]): cell
        for cell in cells
    }
    traces = list(dict.fromkeys(trace for trace, _ in of))
    figure, axis = plt.subplots(figsize=(9, 0.24 * len(traces) + 1.5), layout="constrained")
    marks = {BOUND: "|k", "sieve": "s", "s3-fifo": "^", "lirs": "d", str(facts["default"]): "o"}
    for name, mark in marks.items():
        points = [
            (of[trace, name]["byte_miss_ratio"] / of[trace, "lru"]["byte_miss_ratio"], place)
            for place, trace in enumerate(reversed(traces))
            if (trace, name) in of
        ]
        colour = OURS if name == facts["default"] else None
        axis.plot(*zip(*points, strict=True), mark, color=colour, label=name, alpha=0.8)
    axis.axvline(1.0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(traces)), list(reversed(traces)), fontsize=7)
    axis.set_xlim(right=2.0)
    axis.set_xlabel("bytes missed ÷ bytes that LRU misses (left is better)")
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(fontsize=8, loc="lower right")
    machine = facts["hardware"]
    title = f"{facts['date']}, {machine['processor']}, Linux {machine['kernel']}"
    axis.set_title(title, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
