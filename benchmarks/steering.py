"""`make bench-steering`: what steering promises of its speed, memory and behaviour under load.

A world of full size (benchmarks.steering_world) on two cores: the replica has one, the load the
other. Whatever is compared is measured in turns, round by round; medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cache_report import Claim
from benchmarks.load import h2load, pinned, wrk
from benchmarks.measure import free_port, hardware, tree_of
from benchmarks.stats import paired_ratio
from benchmarks.steering_restart import restarts
from benchmarks.steering_rig import CACHE, pems
from benchmarks.steering_world import ASSETS

RESULTS = Path(__file__).with_name("results")
SERVER, LOAD = {0}, {1}
READY_S_MAX = 180.0
CONNECTIONS, CLIENTS = 64, 64
BEATS, BEATS_PER_S = 10_000, 1_000.0
GB = 1e9
Cells = dict[str, Any]


@dataclass
class Server:
    """A process of the rig."""

    process: subprocess.Popen[str]
    url: str
    port: int

    @property
    def resident_bytes(self) -> int:
        """Its resident memory now."""
        return self._status("VmRSS")

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time that it had so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        return 0


@contextmanager
def server(mode: str, *options: str) -> Iterator[Server]:
    """The rig in one of its modes, on the server's core, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.steering_rig", mode, "--port", str(port), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        running = Server(process, f"http://127.0.0.1:{port}", port)
        try:
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _until_it_answers(running: Server) -> None:
    end_s = time.monotonic() + READY_S_MAX
    while time.monotonic() < end_s and running.process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(running.url + "/v1/steer?asset=1", timeout=5).read()
            # Only now: worlds are made on all cores, and measured on one.
            for thread in Path(f"/proc/{running.process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), SERVER)
            return
        time.sleep(0.2)
    raise RuntimeError("the rig does not answer")


def questions(folder: Path) -> Path:
    """A file of requests, an asset each, none twice in a row."""
    file = folder / "requests"
    rng = random.Random(2)
    file.write_text("".join(f"/v1/steer?asset={rng.randrange(ASSETS)}\n" for _ in range(20_000)))
    return file


def core(rounds: int) -> Cells:
    """Decisions in process."""
    command = [sys.executable, "-m", "benchmarks.steering_core", "--rounds", str(rounds)]
    done = subprocess.run(pinned(SERVER, command), capture_output=True, text=True, check=True)
    found: Cells = json.loads(done.stdout.splitlines()[-1])
    return found


def http(folder: Path, rounds: int, seconds: float) -> Cells:
    """Answers over HTTP beside an empty handler; all three servers are there all the time."""
    rates: dict[str, list[float]] = {"empty": [], "answers": [], "fresh": []}
    asked, errors = questions(folder), 0
    with server("empty") as empty, server("answers") as answers, server("fresh") as fresh:
        every = {"empty": empty, "answers": answers, "fresh": fresh}
        for one in every.values():
            _until_it_answers(one)
        memory = answers.resident_bytes
        for number in range(rounds + 1):
            for mode, one in every.items():
                seen = wrk(one.url, asked, connections=CONNECTIONS, seconds=seconds, cores=LOAD)
                errors += seen.errors
                if number:  # the first round warms up
                    rates[mode].append(seen.requests / seen.seconds)
        opened = _open(answers, asked, statistics.median(rates["answers"]), rounds)
        beats = _beats(answers)
        resident = max(memory, answers.resident_bytes)
    return {"rates": rates, "errors": errors, "open": opened, "beats": beats, "bytes": resident}


def _open(one: Server, asked: Path, rate: float, rounds: int) -> Cells:
    each = max(1, round(0.7 * rate / CLIENTS))
    found = [
        h2load(one.url, asked, clients=CLIENTS, rate_each=each, seconds=5, cores=LOAD)
        for _ in range(rounds)
    ]
    return {
        "rate": each * CLIENTS,
        "p50_ms": [seen.p50_ms for seen in found],
        "p99_ms": [seen.p99_ms for seen in found],
        "worst_ms": [seen.worst_ms for seen in found],
        "errors": sum(seen.errors for seen in found),
    }


def swap(folder: Path, rounds: int, seconds: float) -> Cells:
    """Windows in turn: with a table built and swapped in the middle, and without."""
    asked = questions(folder)
    p99_ms: dict[str, list[float]] = {"without": [], "with": []}
    with server("answers") as one:
        _until_it_answers(one)
        top = wrk(one.url, asked, connections=CONNECTIONS, seconds=seconds, cores=LOAD)
        each = max(1, round(0.7 * top.requests / top.seconds / CLIENTS))
        for _ in range(rounds):
            for name, found in p99_ms.items():
                timer = threading.Timer(1.0, _build, [one])
                if name == "with":
                    timer.start()
                seen = h2load(
                    one.url, asked, clients=CLIENTS, rate_each=each, seconds=10, cores=LOAD
                )
                found.append(seen.p99_ms)
                if name == "with":
                    _swapped(one)
    return p99_ms


def _build(one: Server) -> None:
    """Ask for a table; the process that builds it belongs on the other core, as anywhere but here
    the kernel would put it."""
    one.process.send_signal(signal.SIGUSR1)
    end_s = time.monotonic() + 1
    while time.monotonic() < end_s:
        for pid in tree_of(one.process.pid)[1:]:
            with suppress(OSError):
                os.sched_setaffinity(pid, LOAD)
        time.sleep(0.02)


def _swapped(one: Server) -> None:
    assert one.process.stdout is not None
    said = one.process.stdout.readline().strip()
    if said != "swapped None":
        raise RuntimeError(f"no table was built: {said}")


def _beats(one: Server) -> Cells:
    """Every box's heartbeat in ten seconds: what the replica's core pays."""
    keys = pems()
    shares, good = [], 0
    for seq in range(2, 5):
        command = [sys.executable, "-m", "benchmarks.steering_beats", "--port", str(one.port)]
        command += ["--seq", str(seq), "--count", str(BEATS), "--rate", str(BEATS_PER_S)]
        with subprocess.Popen(
            pinned(LOAD, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as sender:
            assert sender.stdin is not None and sender.stdout is not None
            print(json.dumps(keys), file=sender.stdin, flush=True)
            sender.stdout.readline()
            before_s = one.cpu_s
            print(file=sender.stdin, flush=True)
            said = json.loads(sender.stdout.readline())
        shares.append((one.cpu_s - before_s) / said["seconds"])
        good += said["good"]
    return {"cpu_share": shares, "good": good, "sent": 3 * BEATS}


def planned_memory() -> int:
    """Resident bytes of a replica whose boxes hold what a plan gives them."""
    with server("answers", "--held", "planned") as one:
        _until_it_answers(one)
        return one.resident_bytes


def claims(cells: Cells) -> list[Claim]:
    """What must hold, and whether it did."""
    rng = random.Random(3)
    rates, found = cells["http"]["rates"], []

    def at_least(text: str, value: float, limit: float, more: str = "") -> None:
        found.append(Claim(text, value >= limit, f"{value:,.4g}{more}"))

    def at_most(text: str, value: float, limit: float, more: str = "") -> None:
        found.append(Claim(text, value <= limit, f"{value:,.4g}{more}"))

    median, core_cells, web = statistics.median, cells["core"], cells["http"]
    at_least("decisions ≥ 40,000/s in process", median(core_cells["decide"]), 40_000)
    at_least("with a token of the bucket ≥ 25,000/s", median(core_cells["token"]), 25_000)
    at_least("with a fresh signature each ≥ 8,000/s", median(core_cells["fresh"]), 8_000)
    for mode, text, limit in (
        ("answers", "over HTTP ≥ 0.6 × an empty aiohttp handler", 0.6),
        ("fresh", "with a fresh signature each ≥ 0.3 ×", 0.3),
    ):
        ratio = paired_ratio(rates[mode], rates["empty"], rng)
        assert ratio is not None
        pair = f" ({median(rates[mode]):,.0f}/s of {median(rates['empty']):,.0f}/s)"
        at_least(text, ratio.median, limit, f" [{ratio.low:.3f}–{ratio.high:.3f}]{pair}")
    opened = web["open"]
    at_most("p99 ≤ 10 ms at 70 % of saturation, open loop", median(opened["p99_ms"]), 10,
            f" ms at {opened['rate']:,}/s, {opened['errors']} errors")  # fmt: skip
    swap = paired_ratio(cells["swap"]["with"], cells["swap"]["without"], rng)
    assert swap is not None
    calm_ms, swapped_ms = (median(cells["swap"][name]) for name in ("without", "with"))
    more = f" × ({calm_ms:.2f} → {swapped_ms:.2f} ms)"
    at_most("a full swap under load moves p99 by ≤ 30 %", swap.median, 1.3, more)
    independent, planned = web["bytes"] / GB, cells["planned"] / GB
    at_most("resident ≤ 3 GB, an independent 40 % in each box", independent, 3.0, " GB")
    at_most("resident ≤ 1.2 GB, boxes hold what a plan gives", planned, 1.2, " GB")
    beats, verify_us = web["beats"], core_cells["curve_us"]["verify"]
    share = median(beats["cpu_share"])
    signature = verify_us * BEATS_PER_S / 1e6
    at_most("10,000 heartbeats in 10 s ≤ 0.4 of a core", share, 0.4,
            f", signature checks {signature:.3f} of a core ({signature / share:.0%} of it); "
            f"{beats['good']:,} of {beats['sent']:,} taken")  # fmt: skip
    at_most("a restart answers within 2 s", median(cells["restart"]["first_answer_s"]), 2.0, " s")
    return found


def report(facts: Cells, cells: Cells, made: Sequence[Claim]) -> str:
    """The page."""
    machine = facts["hardware"]
    lines = [
        "# Steering", "",
        f"{facts['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"Linux {machine['kernel']}, Python {machine['python']}. Made by `make bench-steering`: "
        f"{cells['core']['prefixes']:,} prefixes, 10,000 appliances (exchanges of 48, embedded "
        "sites of 8), 1,000,000 assets in ladders of 20; medians. The replica has one core, "
        "wrk, h2load and the heartbeats' sender the other. Access records are kept, "
        "up to 1,000 a second.", "",
        "| claim | held | figure |", "| --- | --- | --- |",
        *(f"| {c.text} | {'yes' if c.held else '**no**'} | {c.figures} |" for c in made), "",
        "**What is counted.** A decision locates a random address of a random prefix, ranks, "
        "filters and chooses three of 36 boxes on average, each holding 40 % of all assets. An "
        "answer adds the token (RFC 9246) and JSON with signed URLs. Over HTTP every request asks "
        "for another asset, from one address that has an embedded site (8 boxes) and an exchange "
        "(48), over 64 connections, three servers in turn. The swap: 1.06 million "
        "announcements, built in another process while requests come at 70 % of saturation. "
        "A plan gives whole ladders, so a box's bitmap is runs.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=list(STAGES), action="append", help="these stages alone")
    asked = parser.parse_args()
    kept = CACHE / "cells.json"
    cells: Cells = json.loads(kept.read_text()) if asked.only and kept.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only or STAGES:
            cells[name] = STAGES[name](Path(folder), asked.rounds, asked.seconds)
            print(name, json.dumps(cells[name]), flush=True)
            CACHE.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(cells))
    if cells.keys() >= STAGES.keys():
        _save(cells)


def _save(cells: Cells) -> None:
    facts = {"date": time.strftime("%Y-%m-%d"), "hardware": hardware()}
    made = claims(cells)
    RESULTS.mkdir(exist_ok=True)
    page = report(facts, cells, made)
    (RESULTS / "steering.md").write_text(page)
    held = [{"claim": c.text, "held": c.held, "figures": c.figures} for c in made]
    everything = {"facts": facts, "claims": held, "cells": cells}
    (RESULTS / "steering.json").write_text(json.dumps(everything, indent=1) + "\n")
    print(page)


STAGES: dict[str, Callable[[Path, int, float], Any]] = {
    "core": lambda _, rounds, __: core(rounds),
    "http": http,
    "swap": swap,
    "planned": lambda *_: planned_memory(),
    "restart": lambda folder, *_: restarts(folder, 3),
}
"""What is measured, in this order; each may run by itself, and the report comes from all."""


if __name__ == "__main__":
    main()
