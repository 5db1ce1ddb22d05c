"""The report of the fill benchmark: claims first, then how each figure came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cache_report import Claim

HOW = {
    "speed": "One box pulls from one worker of an origin; curl pulls the same files from the same "
    "worker, `| tee FILE | sha256sum && sync FILE`, alone and eight at once; rounds in turn, the "
    "ratio is to the faster of the two.",
    "one_copy": "Five boxes of one site start at the same moment, empty; the origin counts what it "
    "sends to boxes.",
    "rate": "By the origin's counters, from the first byte on, over a minute.",
    "courtesy": "The worker has a core, all else the other: agent, origin, fill, and h2load (open "
    "loop), which stands for other machines and goes before the rest (SCHED_FIFO); hot 64 KiB "
    "files; rounds in turn with the agent stopped (SIGSTOP) and running.",
}


def report(
    facts: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]], claims: Sequence[Claim]
) -> str:
    """Everything as Markdown."""
    machine = facts["hardware"]
    lines = [
        "# Fill",
        "",
        f"{facts['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}, Linux {machine['kernel']}, Python {machine['python']}; everything "
        "on this one machine, over loopback and one disk. Made by `make bench-fill`.",
        "",
        "| claim | held | figures |",
        "| --- | --- | --- |",
        *(f"| {c.text} | {'yes' if c.held else '**no**'} | {c.figures} |" for c in claims),
        "",
    ]
    for name in cells:
        lines += [f"**{name}.** {HOW[name]}", ""]
    return "\n".join(lines)
