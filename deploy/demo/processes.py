"""Processes with names: started in groups of their own, killed, frozen, thawed, always ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

READY_PAUSE_S = 0.05
STOP_PATIENCE_S = 5.0


class ProcessError(Exception):
    """A process did not become ready, or ended by itself; the text has its last words."""


class Process:
    """One program in a process group of its own, its output in a log file."""

    def __init__(self, name: str, argv: Sequence[str], log: Path) -> None:
        """Starts nothing yet."""
        self.name, self.argv, self.log = name, list(argv), log
        self.popen: subprocess.Popen[bytes] | None = None
        self.frozen = False

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended (a frozen one runs)."""
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, which is its group's id as well; 0 before the first start."""
        return 0 if self.popen is None else self.popen.pid

    def start(self) -> None:
        """Start it, or start it again after its end."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.frozen = False

    def wait_ready(self, ready: Callable[[], bool], patience_s: float = 20.0) -> None:
        """Wait until `ready()`; raises ProcessError when it ends first or takes too long."""
        until_s = time.monotonic() + patience_s
        while not ready():
            if not self.running:
                raise ProcessError(f"{self.name} ended at once. {self.last_words()}")
            if time.monotonic() > until_s:
                raise ProcessError(
                    f"{self.name} is not ready after {patience_s:g} s. {self.last_words()}"
                )
            time.sleep(READY_PAUSE_S)

    def last_words(self) -> str:
        """The end of its log, for error messages."""
        tail = self.log.read_text(errors="replace")[-800:] if self.log.exists() else ""
        return f"The end of {self.log}:\n{tail}"

    def kill(self) -> None:
        """`kill -9` of the whole group: the box has died."""
        self._signal(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait()
        self.frozen = False

    def freeze(self) -> None:
        """SIGSTOP to the whole group: it accepts connections and says nothing."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT to the whole group."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def ask_to_stop(self) -> None:
        """SIGTERM, for an orderly end; a frozen one is thawed so that it can hear."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def end(self, patience_s: float) -> None:
        """Wait for the end, then end what is left of the group."""
        if self.popen is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(max(0.0, patience_s))
        self._signal(signal.SIGKILL)
        self.popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.popen is None:
            return
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            return


class Crew:
    """All processes of one run; leaving its `with` block ends every one of them.

    The file `pids` names the groups that are up, so that what a killed run left behind is ended
    by the next one (only if the process still carries this run's folder in its command line).
    """

    def __init__(self, folder: Path) -> None:
        """Logs and the list of process ids are kept in `folder`."""
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self._pids = folder / "pids"

    def __enter__(self) -> Crew:
        """End what an earlier run left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything, the newest first."""
        for process in self.processes.values():
            process.ask_to_stop()
        until_s = time.monotonic() + STOP_PATIENCE_S
        for process in reversed(self.processes.values()):
            process.end(until_s - time.monotonic())
        self._pids.unlink(missing_ok=True)

    def start(self, name: str, argv: Sequence[str]) -> Process:
        """Start a new process under `name`."""
        process = Process(name, argv, self.folder / f"{name}.log")
        process.log.unlink(missing_ok=True)
        self.processes[name] = process
        self.restart(name)
        return process

    def restart(self, name: str) -> None:
        """Start a dead process again."""
        self.processes[name].start()
        groups = {one.name: one.pid for one in self.processes.values() if one.running}
        self._pids.write_text(json.dumps(groups))

    def _end_leftovers(self) -> None:
        try:
            groups: Mapping[str, int] = json.loads(self._pids.read_text())
        except (OSError, ValueError):
            return
        for pid in groups.values():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if str(self.folder.parent).encode() in command:
                    os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        self._pids.unlink(missing_ok=True)
