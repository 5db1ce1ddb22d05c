"""Stored chunks are asked about once more when the kernel has written them: did the disk take them?

An adapter (files, a thread). A failed write-back leaves right bytes in the page cache and wrong
ones on the disk, and only an open descriptor hears of it (fsync(2)). Syncing every chunk as it
comes would cost the disk a commit each; after a while the kernel has written it anyway, and asking
costs next to nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

AFTER_S = 40.0
"""The kernel writes what is dirty for 30 s (vm.dirty_expire_centisecs), and looks every 5 s."""

OPEN_MAX = 1024
"""Descriptors kept for it; beyond them the oldest is asked early."""

Bad = Callable[[str, int, OSError], None]
"""Told (version, number, fault) of a chunk that the disk did not take."""


class Doubts:
    """Descriptors of stored chunks, oldest first."""

    def __init__(self, on_bad: Bad, after_s: float = AFTER_S) -> None:
        """`on_bad` is called on the running loop."""
        self._on_bad, self._after_s = on_bad, after_s
        self._open: deque[tuple[float, str, int, int]] = deque()
        self._thread = ThreadPoolExecutor(1, "doubts")
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, version: str, number: int, fd: int) -> None:
        """Takes over the descriptor."""
        self._open.append((self._loop.time() + self._after_s, version, number, fd))
        if len(self._open) > OPEN_MAX:
            self._ask(*self._open.popleft()[1:])
        if self._timer is None:
            self._timer = self._loop.call_later(self._after_s, self._look)

    def _look(self) -> None:
        self._timer = None
        while self._open and self._open[0][0] <= self._loop.time():
            self._ask(*self._open.popleft()[1:])
        if self._open:
            self._timer = self._loop.call_at(self._open[0][0], self._look)

    def _ask(self, version: str, number: int, fd: int) -> None:
        task = self._loop.run_in_executor(self._thread, _sync, fd)

        def heard(done: asyncio.Future[OSError | None]) -> None:
            fault = None if done.cancelled() else done.result()
            if fault is not None:
                self._on_bad(version, number, fault)

        task.add_done_callback(heard)

    def close(self) -> None:
        """Nothing more is asked."""
        if self._timer is not None:
            self._timer.cancel()
        while self._open:
            os.close(self._open.popleft()[3])
        self._thread.shutdown(wait=True)


def _sync(fd: int) -> OSError | None:
    try:
        os.fdatasync(fd)
    except OSError as exc:
        return exc
    finally:
        os.close(fd)
    return None
