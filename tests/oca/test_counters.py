"""The counters in shared mappings: what a worker wrote is what the agent reads, whatever died."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oca import counters
from oca.counters import Demand, Generation, open_metrics, read_metrics, read_tables
from oca.reasons import SLOT, SLOT_NAMES


def test_rows_add_up_and_can_be_taken_back(tmp_path: Path) -> None:
    """Bytes are cumulative per (asset, home site); a take-back lowers the same row."""
    demand = Demand(tmp_path, 0)
    demand.add((7, "isp-a"), 1000)
    demand.add((7, "isp-b"), 10)
    demand.add((7, "isp-a"), -400)
    (table,) = read_tables(tmp_path)
    assert table.rows == {(7, "isp-a"): 600, (7, "isp-b"): 10}
    assert not table.sealed


def test_full_table_is_sealed_and_never_changes_again(tmp_path: Path) -> None:
    """A third key opens the next table; late take-backs go there, below zero if they must."""
    demand = Demand(tmp_path, 3, rows=2)
    for asset in (1, 2, 3):
        demand.add((asset, "s"), 5)
    demand.add((1, "s"), -2)
    first, second = read_tables(tmp_path)
    assert first.sealed and first.rows == {(1, "s"): 5, (2, "s"): 5}
    assert not second.sealed and second.rows == {(3, "s"): 5, (1, "s"): -2}
    assert first.table_id != second.table_id


def test_worker_goes_on_where_its_killed_forerunner_stopped(tmp_path: Path) -> None:
    """After kill -9 the rows are there, and the next life adds to the same table."""
    code = (
        "import sys,time,pathlib; from oca.counters import Demand\n"
        "d=Demand(pathlib.Path(sys.argv[1]),0)\n"
        "d.add((9,'x'),123); print('ready',flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    Demand(tmp_path, 0).add((9, "x"), 1)
    (table,) = read_tables(tmp_path)
    assert table.rows == {(9, "x"): 124}


def test_a_table_left_open_by_a_death_in_between_is_sealed_by_the_next_life(
    tmp_path: Path,
) -> None:
    """Death between the new table and the sealing of the old one leaves no table open for ever."""
    demand = Demand(tmp_path, 0, rows=1)
    demand.add((1, "s"), 1)
    demand.add((2, "s"), 1)
    with (tmp_path / "demand-0-0.map").open("r+b") as file:
        file.seek(32)
        file.write(bytes(8))
    Demand(tmp_path, 0, rows=1).add((1, "s"), 50)
    assert [(t.number, t.sealed, t.rows) for t in read_tables(tmp_path)] == [
        (0, True, {(1, "s"): 1}),
        (1, True, {(2, "s"): 1}),
        (2, False, {(1, "s"): 50}),
    ]


def test_a_full_disk_loses_counts_but_serves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table can be made: nothing is raised, the bytes are told as uncounted."""
    demand = Demand(tmp_path, 0, rows=1)
    demand.add((1, "s"), 1)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(counters, "reserve", full)
        demand.add((2, "s"), 7)
        demand.add((1, "s"), 1)
    assert demand.uncounted_bytes == 7
    demand.add((2, "s"), 5)
    assert [t.rows for t in read_tables(tmp_path)] == [{(1, "s"): 2}, {(2, "s"): 5}]


def test_torn_files_are_passed_over(tmp_path: Path) -> None:
    """Rubbish in the run folder neither stops the agent nor is counted."""
    Demand(tmp_path, 0).add((1, "s"), 1)
    (tmp_path / "demand-1-0.map").write_bytes(b"rubbish")
    (tmp_path / "demand-2-0.map").write_bytes(b"")
    assert [t.worker for t in read_tables(tmp_path)] == [0]


def test_metrics_outlive_the_worker_but_open_connections_do_not(tmp_path: Path) -> None:
    """Counters go on, the gauge of open connections begins at zero."""
    slots = open_metrics(tmp_path, 0)
    slots[SLOT["oca_requests_total"]] = 41
    slots[SLOT["oca_connections_open"]] = 7
    again = open_metrics(tmp_path, 0)
    again[SLOT["oca_requests_total"]] += 1
    read = read_metrics(tmp_path / "metrics-0.map")
    assert read["oca_requests_total"] == 42
    assert read["oca_connections_open"] == 0
    assert set(read) == set(SLOT_NAMES)


def test_metrics_of_another_version_are_carried_over_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade that knows more slots keeps what the old one counted."""
    with monkeypatch.context() as patch:
        patch.setattr(counters, "SLOT_NAMES", SLOT_NAMES[:4])
        open_metrics(tmp_path, 0)[0] = 9
    assert open_metrics(tmp_path, 0)[0] == 9
    assert set(read_metrics(tmp_path / "metrics-0.map")) == set(SLOT_NAMES)


def test_generation_is_seen_by_another_process_at_once(tmp_path: Path) -> None:
    """The agent raises the word; a worker that mapped it earlier sees the new value."""
    mine = Generation(tmp_path)
    before = mine.value
    code = (
        "import sys,pathlib; from oca.counters import Generation\n"
        "Generation(pathlib.Path(sys.argv[1])).raise_word()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert mine.words[0] == before + 1


def test_adding_costs_less_than_a_microsecond_or_two(tmp_path: Path) -> None:
    """The hot path can afford it: 100,000 adds well under half a second."""
    demand = Demand(tmp_path, 0)
    start = time.perf_counter()
    for _ in range(100_000):
        demand.add((1, "s"), 4096)
    assert time.perf_counter() - start < 0.5
    assert (tmp_path / "demand-0-0.map").stat().st_size < 2_000_000
