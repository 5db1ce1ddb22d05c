"""Who asked for what, as JSON lines: put into a bounded queue, written by a thread.

No answer waits for the log's disk: what the queue cannot hold is counted and dropped. Workers share
one file; each batch is one append to a freshly opened file, so logrotate needs to tell nobody.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from wire.log import get
from wire.token import split_path

ENTRIES_MAX = 16_384  # ~4 MB when full of long URLs; at 30,000 answers/s half a second
FLUSH_S = 0.25
BATCH = 256  # lines made in one go: ~1 ms in which the loop may have to wait for the interpreter
REQUEST_CHARS_MAX = 1024

Note = tuple[float, str, bytes, int]
"""An answer as it begins: monotonic time, client's address, request line, status."""

_log = get("access")
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """One line. `bytes` of body are those that the kernel took; `whole` says if that was all.
    `request` has neither token nor query."""

    at: str
    client: str
    request: str
    status: int
    bytes: int
    whole: bool
    ms: float


class AccessLog:
    """One worker's end of the log."""

    def __init__(
        self, path: str, one_in: int, on_dropped: Callable[[int], None] = lambda _n: None
    ) -> None:
        """Append to `path` every `one_in`-th answer; `on_dropped` is told, by the writing thread,
        how many could not be kept."""
        self._path, self._one_in, self._on_dropped = path, one_in, on_dropped
        self._countdown = one_in
        self._queue: deque[tuple[Note, int, bool, float]] = deque()
        self._dropped = 0
        self._trouble = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="access log", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is there, and end."""
        self._done.set()
        self._thread.join()

    def is_due(self) -> bool:
        """Whether this answer is one that is logged."""
        self._countdown -= 1
        if self._countdown:
            return False
        self._countdown = self._one_in
        return True

    def add(self, note: Note, body_bytes: int, whole: bool) -> None:
        """An answer ended."""
        if len(self._queue) >= ENTRIES_MAX:
            self._dropped += 1
        else:
            self._queue.append((note, body_bytes, whole, time.monotonic()))

    def _write_on(self) -> None:
        while not self._done.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        dropped, self._dropped = self._dropped, 0  # one lost in between is one too few, no harm
        past_s = time.time() - time.monotonic()
        while self._queue:
            taken = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            lines = b"".join(_encode(line_of(*entry, past_s)) + b"\n" for entry in taken)
            if not self._append(lines):
                dropped += len(taken)
        if dropped:
            self._on_dropped(dropped)

    def _append(self, lines: bytes) -> bool:
        """One write at the end of the file; False (and one line in the log) when it cannot be."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                written = os.write(fd, lines)
            finally:
                os.close(fd)
        except OSError as exc:
            trouble = f"{self._path}: {exc.strerror}"
        else:
            trouble = "" if written == len(lines) else f"{self._path}: the disk is full"
        if trouble and trouble != self._trouble:
            _log.error("access log cannot be written", why=trouble)
        self._trouble = trouble
        return not trouble


def line_of(note: Note, body_bytes: int, whole: bool, end_s: float, past_s: float) -> Line:
    """A line of the log; `past_s` is what to add to monotonic time for Unix time."""
    begin_s, client, request, status = note
    at = datetime.fromtimestamp(begin_s + past_s, UTC).isoformat(timespec="milliseconds")
    ms = round(1000 * (end_s - begin_s), 3)
    return Line(at, client, _without_secrets(request), status, body_bytes, whole, ms)


def _without_secrets(request: bytes) -> str:
    """Method and path of a request line; what could not be read as one is not shown at all."""
    words = request.decode("latin-1").split(" ")
    if len(words) != 3:
        return ""
    path = split_path(words[1].partition("?")[0])[0]
    return f"{words[0]} {path}"[:REQUEST_CHARS_MAX]
