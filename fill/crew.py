"""Sites are worked on by several processes: forked, so that what they share is not copied."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from wire.errors import UnavailableError

FEW = 8  # below so many tasks a fork costs more than it saves
CHUNK_MAX = 8

_job: tuple[Callable[[Any, Any], Any], Any] | None = None

Told = Callable[[str, int, int], None]
"""told(what, done, of): how far a piece of work has come."""


class Crew:
    """Workers for `fill.planner.plan_night`."""

    def __init__(self, processes: int | None = None, told: Told | None = None) -> None:
        """`processes`: as many as cores unless said; `told` hears of each finished task."""
        self._processes = processes or len(os.sched_getaffinity(0))
        self._told = told

    def spread(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        tasks: Sequence[Any],
        what: str,
    ) -> Iterator[Any]:
        """function(shared, task) for each task, in their order; raises what a task raises, and
        UnavailableError when a worker process was killed."""
        found = self._alone if len(tasks) < FEW or self._processes < 2 else self._together
        for done, result in enumerate(found(function, shared, tasks), 1):
            if self._told:
                self._told(what, done, len(tasks))
            yield result

    def _alone(
        self, function: Callable[[Any, Any], Any], shared: Any, tasks: Sequence[Any]
    ) -> Iterator[Any]:
        return (function(shared, task) for task in tasks)

    def _together(
        self, function: Callable[[Any, Any], Any], shared: Any, tasks: Sequence[Any]
    ) -> Iterator[Any]:
        global _job  # a forked child finds it there; an argument would be copied with each task
        _job = (function, shared)
        gc.freeze()  # the collector of a child leaves shared pages alone
        chunk = max(1, min(CHUNK_MAX, len(tasks) // (4 * self._processes)))
        pool = ProcessPoolExecutor(self._processes, mp_context=multiprocessing.get_context("fork"))
        try:
            yield from pool.map(_work, tasks, chunksize=chunk)
        except BrokenProcessPool as exc:
            raise UnavailableError("a worker process was killed: is there memory enough?") from exc
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            gc.unfreeze()
            _job = None


def _deaf() -> None:
    """Ctrl-C is the parent's to hear: it tells the workers to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(task: Any) -> Any:
    if _job is None:
        raise RuntimeError("this is no worker process")
    function, shared = _job
    return function(shared, task)
