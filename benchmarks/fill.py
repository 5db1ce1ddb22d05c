"""How fast, how frugally and how politely an appliance fills itself, beside curl where it applies.

`make bench-fill` runs an origin, `fill serve` and boxes as real processes on loopback, says what
must hold, and writes JSON and Markdown to benchmarks/results/. Exits 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cache_report import Claim
from benchmarks.fill_report import report
from benchmarks.fill_rig import ORIGIN, Rig, cores, make_titles
from benchmarks.load import h2load
from benchmarks.measure import hardware, quietness, tree_of
from deploy.demo.processes import Crew
from oca.agent.manners import give_way

REPO = Path(__file__).resolve().parents[1]
RESULTS = REPO / "benchmarks" / "results"
MIB = 1 << 20
SPEED_TITLES = [[64 * MIB] * 4] * 4
SITE_TITLES = [[4 * MIB] * 2] * 60
RATE_BPS = 250_000_000
RATE_TITLES = [[64 * MIB] * 4] * 8
"""Enough for the minute over which the rate has to hold."""
HOT = [64 * 1024] * 32
HOT_CLIENTS, HOT_RATE_EACH, HOT_S = 16, 40, 6.0
SPEED_MIN, SITE_MAX, P99_MAX, RATE_OFF_MAX = 0.9, 1.05, 1.3, 0.03
SITE_BOXES = 5
SETTLE_S = 1.0

Cell = dict[str, Any]


def curl_script(url: str, out: Path, proof: str) -> str:
    """The same work by curl: pull, write, SHA-256, fsync."""
    return (
        f"curl -sfN -H 'Authorization: {proof}' '{url}' | tee '{out}' | sha256sum && sync '{out}'"
    )


def curl_bps(rig: Rig, at_once: int) -> float:
    """Bits per second of curls side by side; raises CalledProcessError, ValueError."""
    out = rig.folder / "curl"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    proof, urls = rig.proof("b0"), rig.urls()
    lines = [curl_script(url, out / str(n), proof) for n, (url, _sha) in enumerate(urls)]
    begin_s = time.monotonic()
    done = subprocess.run(
        ["xargs", "-P", str(at_once), "-d", "\n", "-n1", "sh", "-c"],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    took_s = time.monotonic() - begin_s
    if sorted(line.split()[0] for line in done.stdout.splitlines()) != sorted(s for _, s in urls):
        raise ValueError("curl got other bytes than the catalogue says")
    shutil.rmtree(out)
    return rig.bytes * 8 / took_s


def speed(folder: Path, media: Path, rounds: int) -> Cell:
    """One box against curl, alone and eight at once, in turn; bits per second."""
    make_titles(media, SPEED_TITLES)
    ours: list[float] = []
    theirs: dict[int, list[float]] = {1: [], 8: []}
    with Crew(folder) as crew:
        rig = Rig(folder, media, crew)
        rig.start()
        for _ in range(rounds):
            rig.begin(["b0"])
            rig.await_full(["b0"], 120)
            time.sleep(0.2)
            ours.append(rig.bytes * 8 / rig.fill_seconds("b0"))
            rig.end("b0")
            for at_once, found in theirs.items():
                found.append(curl_bps(rig, at_once))
    curls = {f"curl_{n}_bps": statistics.median(found) for n, found in theirs.items()}
    best = max(curls.values())
    ratios = [a / max(b, c) for a, b, c in zip(ours, theirs[1], theirs[8], strict=True)]
    return {"fill_bps": statistics.median(ours), **curls, "ratio": statistics.median(ratios),
            "bytes": rig.bytes, "rounds": rounds, "best_curl_bps": best}  # fmt: skip


def one_copy(folder: Path, media: Path) -> Cell:
    """Five boxes that start together: bytes from outside over the unique bytes."""
    make_titles(media, SITE_TITLES)
    with Crew(folder) as crew:
        rig = Rig(folder, media, crew, boxes=SITE_BOXES)
        rig.start()
        rig.begin(rig.names)
        begin_s = time.monotonic()
        rig.await_full(rig.names, 240)
        took_s = time.monotonic() - begin_s
        time.sleep(SETTLE_S)
        return {"boxes": SITE_BOXES, "unique_bytes": rig.bytes, "seconds": took_s,
                "outside_bytes": rig.outside_bytes(),
                "ratio": rig.outside_bytes() / rig.bytes}  # fmt: skip


def rate(folder: Path, media: Path) -> Cell:
    """A limit over a minute, as the origin's counters and the box's own clock see it."""
    make_titles(media, RATE_TITLES)
    with Crew(folder) as crew:
        rig = Rig(folder, media, crew, settings={"rate_bps": RATE_BPS})
        rig.start()
        rig.begin(["b0"])
        samples: list[tuple[float, int]] = []
        while len(samples) < 2 or samples[-1][0] - samples[0][0] < 61:
            if rig.outside_bytes():
                samples.append((time.monotonic(), rig.outside_bytes()))
            time.sleep(0.5)
            if samples and samples[-1][1] >= rig.bytes:
                break
    (first_s, first), (last_s, last) = samples[0], samples[-1]
    mean_bps = (last - first) * 8 / (last_s - first_s)
    tens = [(b - a) * 8 / (t - s) for (s, a), (t, b) in zip(samples, samples[20:], strict=False)]
    return {"limit_bps": RATE_BPS, "seconds": last_s - first_s, "mean_bps": mean_bps,
            "off": mean_bps / RATE_BPS - 1, "ten_s_bps": [min(tens), max(tens)]}  # fmt: skip


def courtesy(folder: Path, media: Path, fill_bps: float, rounds: int) -> Cell:
    """p99 of hot files with the fill frozen and running, in turn; open loop, processes pinned.

    Raises TimeoutError when the hot files do not come.
    """
    cap_bps = int(fill_bps / 4)
    need = int(cap_bps / 8 * (HOT_S + 8) * (rounds + 1) / (64 * MIB)) + 8
    make_titles(media, [HOT, *([64 * MIB] * 4 for _ in range(need // 4 + 1))], alike=True)
    serving, other = cores()
    with Crew(folder) as crew:
        rig = Rig(folder, media, crew, worker_cores=str(serving),
                  settings={"rate_bps": cap_bps, "cores": [other]})  # fmt: skip
        rig.start()
        hot = [asset for asset in rig.assets if asset.files[0].bytes == HOT[0]]
        for elsewhere in (ORIGIN, "fill"):
            stand_back(rig.crew.processes[elsewhere].pid, other)
        rig.begin(["b0"])
        until_s = time.monotonic() + 30
        while not (rig.store("b0") / "a" / str(hot[0].id)).exists():
            if time.monotonic() > until_s:
                raise TimeoutError("the hot asset did not come")
            time.sleep(0.05)
        requests = folder / "hot.txt"
        requests.write_text("".join(path + "\n" for path in rig.player_paths(hot)))
        agent = rig.agent_of("b0")
        load(rig, requests, other)
        pairs = [pair(rig, requests, other, agent) for _ in range(rounds)]
        left = rig.status("b0")["left"]
    alone, beside = ([p[n]["p99_ms"] for p in pairs] for n in (0, 1))
    return {"cap_bps": cap_bps, "rounds": rounds, "alone_p99_ms": alone, "beside_p99_ms": beside,
            "alone_ms": statistics.median(alone), "beside_ms": statistics.median(beside),
            "ratio": statistics.median(b / a for a, b in zip(alone, beside, strict=True)),
            "fill_bps": [p[1]["fill_bps"] for p in pairs], "left_at_end": left,
            "errors": sum(p[n]["errors"] for p in pairs for n in (0, 1))}  # fmt: skip


def stand_back(pid: int, core: int) -> None:
    """What in life is another machine: to a core, and out of the way of whoever wakes up."""
    for one in tree_of(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            os.sched_setaffinity(int(thread.name), [core])
            give_way(int(thread.name), 19)


def load(rig: Rig, requests: Path, core: int) -> dict[str, Any]:
    """Viewers, and how fast the box filled meanwhile."""
    before, begin_s = rig.outside_bytes(), time.monotonic()
    url = f"http://{rig.host('b0')}:{rig.port}"
    seen = h2load(
        url, requests, clients=HOT_CLIENTS, rate_each=HOT_RATE_EACH, seconds=HOT_S, cores={core},
        first=True,
    )  # fmt: skip
    took_s = time.monotonic() - begin_s
    return {**asdict(seen), "fill_bps": (rig.outside_bytes() - before) * 8 / took_s}


def pair(rig: Rig, requests: Path, core: int, agent: int) -> tuple[Cell, Cell]:
    """The agent frozen, then thawed."""
    os.kill(agent, signal.SIGSTOP)
    try:
        time.sleep(SETTLE_S)
        alone = load(rig, requests, core)
    finally:
        os.kill(agent, signal.SIGCONT)
    time.sleep(SETTLE_S)
    return alone, load(rig, requests, core)


def claims(cells: Mapping[str, Cell]) -> list[Claim]:
    """What must hold, of what was measured."""
    found = []
    if "speed" in cells:
        cell = cells["speed"]
        text = f"fill reaches ≥ {SPEED_MIN} × curl with the same hash and fsync"
        figures = (
            f"{cell['ratio']:.2f} (fill {cell['fill_bps'] / 8e6:.0f} MB/s, "
            f"curl {cell['curl_1_bps'] / 8e6:.0f} alone, {cell['curl_8_bps'] / 8e6:.0f} × 8)"
        )
        found.append(Claim(text, cell["ratio"] >= SPEED_MIN, figures))
    if "one_copy" in cells:
        cell = cells["one_copy"]
        text = f"{SITE_BOXES} boxes that start together pull ≤ {SITE_MAX} × the unique bytes"
        found.append(Claim(text, cell["ratio"] <= SITE_MAX, f"{cell['ratio']:.3f}"))
    if "rate" in cells:
        cell = cells["rate"]
        text = f"a rate limit holds within {RATE_OFF_MAX:.0%} over a minute"
        low, high = (bps / cell["limit_bps"] - 1 for bps in cell["ten_s_bps"])
        figures = f"{cell['off']:+.2%} (ten seconds: {low:+.1%} … {high:+.1%})"
        found.append(Claim(text, abs(cell["off"]) <= RATE_OFF_MAX, figures))
    if "courtesy" in cells:
        cell = cells["courtesy"]
        text = f"hot p99 ≤ {P99_MAX} × while filling at a quarter of the maximum"
        figures = (
            f"{cell['ratio']:.2f} ({cell['alone_ms']:.2f} → {cell['beside_ms']:.2f} ms, median of "
            f"{cell['rounds']}, fill {statistics.median(cell['fill_bps']) / 8e6:.0f} MB/s)"
        )
        found.append(Claim(text, cell["ratio"] <= P99_MAX and not cell["errors"], figures))
    return found


def measure(work: Path, wanted: Sequence[str], rounds: int) -> dict[str, Cell]:
    """The parts that were asked for, one after the other; raises SystemExit, ValueError."""
    cells: dict[str, Cell] = {}
    for name in wanted:
        folder, media = work / name, work / f"{name}-media"
        print(f"{name} …", flush=True)
        if name == "speed":
            cells[name] = speed(folder, media, rounds)
        elif name == "one_copy":
            cells[name] = one_copy(folder, media)
        elif name == "rate":
            cells[name] = rate(folder, media)
        else:
            known = {**earlier(hardware()), **cells}
            if "speed" not in known:
                raise SystemExit("measure `speed` first: courtesy is at a quarter of it")
            cells[name] = courtesy(folder, media, known["speed"]["fill_bps"], rounds)
        print(json.dumps(cells[name]), flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(media, ignore_errors=True)
    return cells


def earlier(machine: Any) -> dict[str, Cell]:
    """What was measured before on this very machine: parts can be measured one by one."""
    try:
        whole = json.loads((RESULTS / "fill.json").read_text())
    except (OSError, ValueError):
        return {}
    found: dict[str, Cell] = whole["cells"] if whole["hardware"] == machine else {}
    return found


PARTS = ("speed", "one_copy", "rate", "courtesy")


def main() -> int:
    """Everything, or the parts named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", help="Folder on the disk to measure (default: a temporary one).")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes are ended
    work = Path(tempfile.mkdtemp(prefix="oca-bench-fill-", dir=options.work))
    try:
        idle = quietness(2.0)
        cells = measure(work, options.parts or PARTS, options.rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    facts = {"date": time.strftime("%Y-%m-%d"), "hardware": hardware(), "idle": idle}
    cells = {**earlier(facts["hardware"]), **cells}
    stated = claims(cells)
    text = report(facts, cells, stated)
    RESULTS.mkdir(exist_ok=True)
    whole = {**facts, "cells": cells, "claims": [asdict(claim) for claim in stated]}
    (RESULTS / "fill.json").write_text(json.dumps(whole, indent=1) + "\n")
    (RESULTS / "fill.md").write_text(text)
    print(text)
    return 0 if all(claim.held for claim in stated) else 1


if __name__ == "__main__":
    sys.exit(main())
