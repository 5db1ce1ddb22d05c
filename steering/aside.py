"""A job in a process of its own, from pieces of bytes to one buffer, without holding up the loop.

Started by vfork (`subprocess` does so): uvloop forks, which for a replica of gigabytes copies page
tables for 0.1 s and costs a page fault for whatever is written to afterwards. The answer comes in
memory that both share (memfd), so nothing is copied either.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress


class TooLongError(Exception):
    """The job took longer than it may, and was killed."""


class _Job:
    """One process; `run` is a thread's."""

    def __init__(self, module: str, words: tuple[str, ...], limit_s: float) -> None:
        self._answer = os.memfd_create(f"oca-{words[0]}")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(self._answer), *words],
                stdin=subprocess.PIPE, pass_fds=(self._answer,),
            )  # fmt: skip
        except OSError:
            os.close(self._answer)
            raise
        self._is_late = False
        self._watch = threading.Timer(limit_s, self._too_late)
        self._watch.daemon = True

    def run(self, given: Iterable[bytes]) -> tuple[int, memoryview]:
        """Give it everything, wait for it; raises TooLongError."""
        self._watch.start()
        try:
            with suppress(BrokenPipeError), self._process as process:
                if process.stdin is not None:
                    for piece in given:
                        process.stdin.write(piece)
            code = self._process.wait()
            if self._is_late:
                raise TooLongError
            return code, self._made()
        finally:
            self._watch.cancel()
            os.close(self._answer)

    def _made(self) -> memoryview:
        size = os.fstat(self._answer).st_size
        if not size:
            return memoryview(b"")
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE  # here, so that no answer pays for first looks
        return memoryview(mmap.mmap(self._answer, size, flags=flags, prot=mmap.PROT_READ))

    def kill(self) -> None:
        """Nobody waits for it any more."""
        self._process.kill()

    def _too_late(self) -> None:
        self._is_late = True
        self.kill()


async def aside(
    module: str, words: tuple[str, ...], given: Iterable[bytes], limit_s: float
) -> tuple[int, memoryview]:
    """Run `python -m module FD WORDS…`, which reads `given` from stdin and writes to FD; returns
    its exit code and what it wrote. Raises TooLongError after `limit_s`, OSError."""
    job = _Job(module, words, limit_s)
    try:
        return await asyncio.to_thread(job.run, given)
    finally:
        job.kill()


def answer(fd: int, made: bytes) -> None:
    """In the job's own process: what it was asked for."""
    with open(fd, "wb") as file:
        file.write(made)
