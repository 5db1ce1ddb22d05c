"""The one thread that writes history: whatever waits goes into one transaction (group commit)."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fill.history import History, unusable
from wire.errors import UnavailableError
from wire.events import EventAck, EventBatch
from wire.log import get

T = TypeVar("T")
GROUP_MAX = 64  # batches in one fsync; more would only make the first of them wait

_log = get("history")


@dataclass(slots=True)
class _Post:
    batch: EventBatch
    future: Future[tuple[EventAck, bool]] = field(default_factory=Future)


@dataclass(slots=True)
class _Job:
    work: Callable[[History], Any]
    future: Future[Any] = field(default_factory=Future)


class HistoryWriter:
    """Owns the database connection; every call comes back when its data is on the disk."""

    def __init__(self, path: Path) -> None:
        """The database at `path`; the thread runs from `start` to `stop`."""
        self._path = path
        self._inbox: queue.SimpleQueue[_Post | _Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._ready: Future[None] = Future()

    def start(self) -> None:
        """Open the database; raises WireError if it cannot be used."""
        self._thread.start()
        self._ready.result()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        self._inbox.put(None)
        self._thread.join()

    async def store(self, batch: EventBatch) -> tuple[EventAck, bool]:
        """Store one batch; the acknowledgement, and whether it was new. Raises UnavailableError."""
        post = _Post(batch)
        self._inbox.put(post)
        return await asyncio.wrap_future(post.future)

    async def run(self, work: Callable[[History], T]) -> T:
        """Do `work` with the database in the writer's thread; raises what it raises."""
        job = _Job(work)
        self._inbox.put(job)
        result: T = await asyncio.wrap_future(job.future)
        return result

    def _run(self) -> None:
        try:
            history = History(self._path)
        except sqlite3.Error as exc:
            self._ready.set_exception(unusable(self._path, exc))
            return
        self._ready.set_result(None)
        while True:
            items = self._waiting()
            _store(history, [item for item in items if isinstance(item, _Post)])
            for item in items:
                if isinstance(item, _Job):
                    _do(history, item)
            if None in items:
                break
        history.close()

    def _waiting(self) -> list[_Post | _Job | None]:
        items = [self._inbox.get()]
        while len(items) < GROUP_MAX and not self._inbox.empty():
            items.append(self._inbox.get())
        return items


def _store(history: History, posts: list[_Post]) -> None:
    if not posts:
        return
    heard = [post.future.set_running_or_notify_cancel() for post in posts]  # False: caller is gone
    try:
        answers = history.store([post.batch for post in posts])
    except Exception as exc:  # whatever one batch does, the thread lives on for all others
        _log.error("history cannot be written", why=repr(exc))
        for post, listens in zip(posts, heard, strict=True):
            if listens:
                post.future.set_exception(UnavailableError("events cannot be stored now"))
        return
    for post, listens, answer in zip(posts, heard, answers, strict=True):
        if listens:
            post.future.set_result(answer)


def _do(history: History, job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        job.future.set_result(job.work(history))
    except Exception as exc:
        job.future.set_exception(exc)
