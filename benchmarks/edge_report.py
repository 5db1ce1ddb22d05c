"""The results: a table for people, JSON for machines, Markdown and a plot to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.edge_claims import Judgement, Reading, Row, Verdict, median_of
from benchmarks.edge_run import Outcome

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("rate", "requests/s", "{:,.0f}"),
    ("server_idle", "server idle", "{:.0%}"),
    ("load_idle", "load idle", "{:.0%}"),
    ("cpu_s_per_gb", "server CPU s/GB", "{:.3f}"),
    ("p99_quiet_ms", "p99 quiet ms", "{:.2f}"),
    ("p99_ms", "p99 ms", "{:.2f}"),
    ("p99_ratio", "p99 ratio", "{:.2f}"),
    ("own_each_bytes", "bytes each (process)", "{:,.0f}"),
    ("memory_each_bytes", "bytes each (machine)", "{:,.0f}"),
    ("machine_each_bytes", "bytes each (machine, both ends)", "{:,.0f}"),
    ("queued_each_bytes", "queued each", "{:,.0f}"),
    ("cold_mbytes_per_s", "cold MB/s", "{:,.0f}"),
    ("cold_share", "cold", "{:.0%}"),
    ("errors", "errors", "{:,.0f}"),
)
_COLOURS = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.SKIPPED: "yellow"}


def cells(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of one scenario's table: medians, the rates with the extremes of the rounds;
    after the finalists who only ran in the heats."""
    every: dict[str, Sequence[Reading]] = {**outcome.heats, **outcome.readings}
    columns = [c for c in COLUMNS if any(c[0] in r for values in every.values() for r in values)]
    finalists = list(outcome.readings)
    rows = [_cells(name, outcome.readings[name], columns) for name in finalists]
    rows.extend(
        _cells(f"{name} (heats)", readings, columns)
        for name, readings in outcome.heats.items()
        if name not in finalists
    )
    return ["server", "rounds", *(head for _, head, _ in columns)], rows


def _cells(
    name: str, readings: Sequence[Reading], columns: Sequence[tuple[str, str, str]]
) -> list[str]:
    row = [name, str(len(readings))]
    for measure, _, form in columns:
        value = median_of(readings, measure)
        text = "" if value is None else form.format(value)
        if measure == "rate" and value is not None:
            rates = [reading["rate"] for reading in readings]
            text += f" [{form.format(min(rates))}–{form.format(max(rates))}]"
        row.append(text)
    return row


def judgement_text(judgement: Judgement) -> str:
    """One claim and how it came out, in a line."""
    text = f"{judgement.verdict.value}  {judgement.claim.text}"
    if judgement.estimate is not None:
        e = judgement.estimate
        text += f": {e.median:.3g} [{e.low:.3g}–{e.high:.3g}], {e.pairs} rounds"
    if judgement.against and judgement.against != judgement.claim.against:
        text += f", against {judgement.against}"
    if judgement.verdict is not Verdict.SKIPPED and not judgement.sure:
        text += "; the interval spans the limit"
    return text + (f" ({judgement.reason})" if judgement.reason else "")


def show(console: Console, outcome: Outcome, row: Row) -> None:
    """Print one scenario."""
    colour = _COLOURS[row.verdict]
    heads, rows = cells(outcome)
    table = Table(title=f"{outcome.scenario.title}: [{colour}]{row.verdict.value}[/]")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right")
    for line in rows:
        table.add_row(*line, style="bold" if line[0].startswith("oca") else None)
    console.print(table)
    for judgement in row.judgements:
        console.print(f"  [{_COLOURS[judgement.verdict]}]{judgement_text(judgement)}[/]")
    for name, reason in outcome.absent.items():
        console.print(f"  [yellow]{name} was not measured: {reason}[/]")
    console.print()


def markdown(facts: Mapping[str, object], results: Sequence[tuple[Outcome, Row]]) -> str:
    """The report as a page."""
    lines = [f"# Edge benchmark, {facts['date']}", ""]
    lines += [f"- {name}: {_flat(value)}" for name, value in facts.items() if name != "date"]
    lines += ["", "| row | verdict |", "| --- | --- |"]
    lines += [f"| {outcome.scenario.title} | {row.verdict.value} |" for outcome, row in results]
    for outcome, row in results:
        heads, rows = cells(outcome)
        lines += ["", f"## {outcome.scenario.title}: {row.verdict.value}", ""]
        lines += [f"- {judgement_text(judgement)}" for judgement in row.judgements]
        lines += [f"- {name} was not measured: {why}" for name, why in outcome.absent.items()]
        lines += ["", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
        lines += ["| " + " | ".join(line) + " |" for line in rows]
    return "\n".join(lines) + "\n"


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    return str(value)


def as_json(facts: Mapping[str, object], results: Sequence[tuple[Outcome, Row]]) -> str:
    """Everything that was read, round by round, and every judgement."""
    rows = []
    for outcome, row in results:
        judged = [
            {
                "claim": judgement.claim.text,
                "verdict": judgement.verdict.value,
                "against": judgement.against,
                "estimate": asdict(judgement.estimate) if judgement.estimate else None,
                "sure": judgement.sure,
                "reason": judgement.reason,
            }
            for judgement in row.judgements
        ]
        rows.append(
            {
                "scenario": outcome.scenario.name,
                "title": outcome.scenario.title,
                "verdict": row.verdict.value,
                "claims": judged,
                "rounds": outcome.readings,
                "heats": outcome.heats,
                "absent": outcome.absent,
            }
        )
    return json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n"


def save(
    folder: Path, stem: str, facts: Mapping[str, object], results: Sequence[tuple[Outcome, Row]]
) -> list[Path]:
    """Write `stem`.json, .md and (where matplotlib is there) .svg; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{stem}.json", folder / f"{stem}.md"]
    written[0].write_text(as_json(facts, results))
    written[1].write_text(markdown(facts, results))
    try:
        from benchmarks.edge_plot import plot
    except ImportError:
        return written
    plot(folder / f"{stem}.svg", facts, results)
    return [*written, folder / f"{stem}.svg"]
