"""One record for each decision, off the way to the answer: a bounded queue, written beside it.

An adapter. The way to an answer costs an append to a queue; lines are made in slices between
answers, and written by a thread. What is beyond `per_s`, and what the disk does not take, is left
out and counted: answers never wait for their records.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from steering.config import Records
from steering.decide import Decision, Snapshot
from steering.decisions import State, record_of
from steering.policy import Policy, as_dict
from wire.codec import encode
from wire.fleet import Site
from wire.log import get

EVERY_S = 0.2  # how late a record is on the disk
SLICE = 16  # records made at once: ~0.5 ms, which an answer may wait
BATCH_BYTES = 256 * 1024  # written at once
_log = get("records")

Count = Callable[[str, int], None]
"""(what became of them, how many)."""
Context = Callable[[], tuple[int, tuple[Site, ...]]]
"""The generation that runs, and its sites."""
_Waiting = tuple[float, int, str, Decision, Snapshot, Sequence[str]]


class AccessLog:
    """The records of one replica; rotated by size."""

    def __init__(self, file: Path, knobs: Records, context: Context, count: Count) -> None:
        """`file` is opened anew for each batch, so it may be moved away at any time."""
        self._file, self._knobs, self._context, self._count = file, knobs, context, count
        self._queue: deque[_Waiting] = deque()
        self._second = self._room = self._n = self._left_out = 0
        self._told: tuple[Policy, tuple[Site, ...]] | None = None
        self._lock = asyncio.Lock()

    def put(
        self, surface: str, decision: Decision, snapshot: Snapshot, order: Sequence[str] = ()
    ) -> None:
        """Take the record of a decision that was made from `snapshot`; never waits."""
        self._n += 1
        now_s = time.time()
        if int(now_s) != self._second:
            self._second, self._room = int(now_s), self._knobs.per_s
        if self._room <= 0 or len(self._queue) >= self._knobs.queue:
            self._left_out += 1
            return
        self._room -= 1
        self._queue.append((now_s, self._n, surface, decision, snapshot, order))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits; a disk that refuses is said, and what it was for is counted."""
        async with self._lock:
            left_out, self._left_out = self._left_out, 0
            if left_out:
                self._count("left_out", left_out)
            while self._queue:
                lines, made = await self._lines()
                try:
                    await asyncio.to_thread(self._append, b"".join(lines))
                    self._count("written", made)
                except OSError as exc:
                    self._told = None
                    self._count("failed", made)
                    _log.error("records are not written", file=str(self._file), why=str(exc))

    async def _lines(self) -> tuple[list[bytes], int]:
        """The next lines, up to a batch, and how many records are among them."""
        lines: list[bytes] = []
        made = size = 0
        if self._is_new_file():
            self._told = None
        while self._queue and size < BATCH_BYTES:
            at_s, n, surface, decision, snapshot, order = self._queue.popleft()
            generation, sites = self._context()
            if self._told is None or self._told != (snapshot.policy, sites):
                self._told = (snapshot.policy, sites)
                policy = as_dict(snapshot.policy)
                state = State(at_s=at_s, generation=generation, policy=policy, sites=sites)
                lines.append(encode(state) + b"\n")
            record = record_of(decision, snapshot, at_s=at_s, n=n, surface=surface, order=order)
            lines.append(encode(record) + b"\n")
            size += len(lines[-1])
            made += 1
            if made % SLICE == 0:
                await asyncio.sleep(0)
        return lines, made

    def _is_new_file(self) -> bool:
        try:
            return self._file.stat().st_size >= self._knobs.file_bytes
        except OSError:
            return True

    def _append(self, data: bytes) -> None:
        if self._file.exists() and self._file.stat().st_size >= self._knobs.file_bytes:
            self._rotate()
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        with open(fd, "ab") as stream:
            stream.write(data)

    def _rotate(self) -> None:
        """FILE → FILE.1 → FILE.2 …; the oldest goes."""
        names = [self._file, *(Path(f"{self._file}.{n}") for n in range(1, self._knobs.files))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.rename(older)
        if len(names) == 1:
            self._file.unlink()
