"""Open cold files and read cold spans in threads, so that the loop never waits for a disk.

An adapter. What is opened is put on the shelf by the loop, whoever still wants it. A span is sent
to /dev/null, which waits for the disk and copies nothing: what counts is that it is in the page
cache afterwards, from where the loop sends it. So a thread never touches a viewer's socket, and a
connection that ends meanwhile leaves nothing behind but a read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from oca.opening import Cold, Landing

if TYPE_CHECKING:
    from oca.files import Entry

THREADS_MAX = 32
"""Reads at once: several disks with a queue each. A thread costs ~50 kB."""

Warm = Callable[[int, OSError | None], None]
"""Told the end of what was read, and why it could not be."""

Opened = Callable[[bool, BaseException | None], None]
"""Told whether there was anything, and what went wrong."""


class Disk:
    """The threads of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """`loop` is where answers are told."""
        self._loop = loop
        self._threads = ThreadPoolExecutor(THREADS_MAX, "disk")
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._opening: dict[bytes, list[Opened]] = {}

    def open(self, cold: Cold, tell: Opened) -> None:
        """Do its work in a thread, land it on the loop, then call `tell`; once for all who ask."""
        waiting = self._opening.get(cold.key)
        if waiting is not None:
            waiting.append(tell)
            return
        self._opening[cold.key] = [tell]
        task = self._threads.submit(copy_context().run, cold.work)
        task.add_done_callback(partial(self._opened, cold.key))

    def _opened(self, key: bytes, task: Future[Landing]) -> None:
        """In the thread still."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._land, key, task)

    def _land(self, key: bytes, task: Future[Landing]) -> None:
        fault = OSError("cancelled") if task.cancelled() else task.exception()
        found = fault is None and task.result()(self._loop.time())
        for tell in self._opening.pop(key):
            tell(found, fault)

    def warm(self, entry: Entry, offset: int, length: int, tell: Warm) -> None:
        """Read a span of a file, then call `tell` on the loop. The file stays open for it."""
        entry.users += 1
        task = self._threads.submit(self._read, entry.fd, offset, length)
        task.add_done_callback(partial(self._done, entry, (offset, length), tell))

    def _done(self, entry: Entry, span: tuple[int, int], tell: Warm, task: Future[None]) -> None:
        """In the thread still."""
        fault = OSError("cancelled") if task.cancelled() else task.exception()
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._tell, entry, span, fault, tell)

    def _read(self, fd: int, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            count = os.sendfile(self._null, fd, offset, end - offset)
            if not count:
                return  # shorter than it was: sending it will say so
            offset += count

    def _tell(
        self, entry: Entry, span: tuple[int, int], fault: BaseException | None, tell: Warm
    ) -> None:
        if fault is None:
            entry.note_read(*span, self._loop.time())
        elif not isinstance(fault, OSError):
            fault = OSError(f"{type(fault).__name__}: {fault}")
        entry.release()
        tell(span[0] + span[1], fault)

    def close(self) -> None:
        """Let the threads end; a read that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
