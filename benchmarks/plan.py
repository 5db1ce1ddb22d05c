"""Ten million demands, 500 sites, 2,000 boxes: how long is a night's planning, how good is it?

    python -m benchmarks.plan [--quick]            everything, into benchmarks/results/plan.*
    python -m benchmarks.plan --one SITES ASKED    one size, printed as JSON
    python -m benchmarks.plan --report FILE        the report of such lines, measured one by one

Each size runs in a process of its own, so that its memory is its own. Exit status 1 if a claim does
not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measure import hardware
from benchmarks.plan_report import claims, plot, report

RESULTS = Path(__file__).parent / "results"
SIZES = ((50, 20_000), (125, 20_000), (250, 20_000), (375, 20_000), (500, 20_000))
SMALL = (24, 3_000)  # its sites' linear programmes are solved
QUICK = ((24, 2_000),)
SOLVED = 12


def main() -> int:
    """Run, report; 0 if every claim held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small size only, nothing written")
    parser.add_argument("--one", nargs=2, type=int, metavar=("SITES", "ASKED"))
    parser.add_argument("--report", type=Path, metavar="FILE", help="lines that --one printed")
    parser.add_argument("--bounds", type=int, default=0, help="sites to solve exactly, with --one")
    args = parser.parse_args()
    if args.one:
        from benchmarks.plan_run import one_night

        print(json.dumps(one_night(*args.one, bounds=args.bounds)))
        return 0
    sizes = _read(args.report) if args.report else _measure(args.quick)
    sizes.sort(key=lambda size: int(size["demands"]))
    for claim in claims(sizes):
        print(f"{'held' if claim.held else 'NOT HELD'}: {claim.text}: {claim.figures}")
    if not args.quick:
        facts = {"date": date.today().isoformat(), "hardware": hardware()}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "plan.json").write_text(json.dumps({**facts, "sizes": sizes}, indent=1) + "\n")
        (RESULTS / "plan.md").write_text(report(facts, sizes))
        plot(RESULTS / "plan.svg", facts, [size for size in sizes if not size["lp_gaps"]])
    return 0 if all(claim.held for claim in claims(sizes)) else 1


def _measure(quick: bool) -> list[dict[str, Any]]:
    if quick:
        return [_run(*size, SOLVED) for size in QUICK]
    return [*(_run(*size, 0) for size in SIZES), _run(*SMALL, SOLVED)]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def _run(sites: int, asked: int, bounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.plan", "--one", str(sites), str(asked)]
    print(f"{sites} sites × {asked} assets …", file=sys.stderr, flush=True)
    done = subprocess.run(
        [*command, "--bounds", str(bounds)], check=True, stdout=subprocess.PIPE, text=True
    )
    size: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(size), file=sys.stderr, flush=True)
    return size


if __name__ == "__main__":
    raise SystemExit(main())
