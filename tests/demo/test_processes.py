"""Groups of processes: killed whole, frozen, thawed, and never left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deploy.demo.processes import Crew, ProcessError

FAMILY = (
    "import os, sys, time\n"
    "child = os.fork()\n"
    "open(sys.argv[1] + str(os.getpid()), 'w').close()\n"
    "time.sleep(60)\n"
)


def members(folder: Path, count: int) -> list[int]:
    """The process ids that wrote their names into `folder`, once there are `count`."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        pids = [int(path.name[1:]) for path in folder.glob("p*")]
        if len(pids) == count:
            return pids
        time.sleep(0.02)
    raise AssertionError("the processes did not start")


def state(pid: int) -> str:
    """One letter: R, S, T (stopped), Z; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return ""


def start(crew: Crew, tmp_path: Path) -> list[int]:
    """A parent and its child in one group."""
    marks = tmp_path / "marks"
    marks.mkdir(exist_ok=True)
    crew.start("box", [sys.executable, "-c", FAMILY, str(marks / "p"), str(tmp_path)])
    return members(marks, 2)


def gone(pids: list[int]) -> bool:
    """Whether all of them have ended, within a moment."""
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        if all(state(pid) in ("", "Z") for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_a_kill_takes_the_whole_group(tmp_path: Path) -> None:
    """A box has a supervisor, workers and an agent; all die at once."""
    with Crew(tmp_path / "logs") as crew:
        pids = start(crew, tmp_path)
        crew.processes["box"].kill()
        assert gone(pids)


def test_a_frozen_group_stands_still_and_goes_on(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT reach every member."""
    with Crew(tmp_path / "logs") as crew:
        pids = start(crew, tmp_path)
        crew.processes["box"].freeze()
        time.sleep(0.1)
        assert {state(pid) for pid in pids} == {"T"}
        crew.processes["box"].thaw()
        time.sleep(0.1)
        assert {state(pid) for pid in pids} <= {"S", "R"}


def test_nothing_is_left_behind_even_frozen(tmp_path: Path) -> None:
    """However the block ends."""
    with pytest.raises(KeyboardInterrupt), Crew(tmp_path / "logs") as crew:
        pids = start(crew, tmp_path)
        crew.processes["box"].freeze()
        raise KeyboardInterrupt
    assert gone(pids)


def test_the_next_run_ends_what_a_killed_run_left(tmp_path: Path) -> None:
    """The story itself may be killed with -9: its children are known by their ids."""
    crew = Crew(tmp_path / "logs")
    crew.__enter__()
    pids = start(crew, tmp_path)
    with Crew(tmp_path / "logs"):
        crew.processes["box"].popen.wait(5)  # type: ignore[union-attr]
        assert gone(pids)


def test_a_process_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Not after a long wait."""
    with Crew(tmp_path / "logs") as crew:
        bad = crew.start("bad", [sys.executable, "-c", "raise SystemExit('port taken')"])
        with pytest.raises(ProcessError, match="port taken"):
            bad.wait_ready(lambda: False)
