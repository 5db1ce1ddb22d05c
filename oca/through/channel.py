"""A worker's end of the socket to the fetcher: questions, wanted chunks, and what becomes of them.

An adapter on oca.poller's loop. When the fetcher dies, everything that is still open is asked of
the next one: questions and windows are state, not a dialogue.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import msgspec

from oca.poller import READ, WRITE, Poller
from oca.through.messages import (
    BATCH_MAX,
    MESSAGE_BYTES_MAX,
    Ask,
    Begun,
    Done,
    Dropped,
    Evicted,
    Failed,
    Found,
    FromFetcher,
    FromWorker,
    Gone,
    Grown,
    Hits,
    Leave,
    Lost,
    Want,
    heard_by_worker,
    pack,
)
from oca.through.region import ChunkKey
from oca.through.shelf import ChunkShelf
from wire.log import get

RETRY_S = 0.05
"""How soon a fetcher that is away is looked for again."""

HITS_S = 0.25  # how long hits are gathered for the policy
TURN_MAX = 64  # messages taken in one go
FDS_MAX = 4
OPENERS = 4  # threads that open what the kernel does not know
_log = get("through")


class Asker(Protocol):
    """Who waits for a version."""

    ask: Ask

    def on_answer(self, answer: Found | Failed) -> None:
        """The fetcher said."""


class Reader(Protocol):
    """Who waits for chunks; `window` is what it wants, if anything."""

    window: Want | None

    def on_progress(self) -> None:
        """The chunk it waits for has grown, or may be opened."""

    def on_gone(self, status: int, why: str) -> None:
        """What it wants cannot be had."""


class Channel:
    """One worker's."""

    def __init__(
        self, path: str, poller: Poller, loop: asyncio.AbstractEventLoop, shelf: ChunkShelf
    ) -> None:
        """`path` is the fetcher's socket, which need not be there yet."""
        self._path, self._poller, self._loop, self.shelf = path, poller, loop, shelf
        self._sock: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._askers: dict[int, Asker] = {}
        self._readers: dict[int, Reader] = {}
        self._waiting: dict[ChunkKey, set[Reader]] = {}
        self._loose: dict[ChunkKey, set[Reader]] = {}
        self._hits: list[ChunkKey] = []
        self._threads = ThreadPoolExecutor(OPENERS, "chunks")
        self._next_id = 0
        self.on_dropped: Callable[[list[str]], None] = lambda _keys: None
        self._connect()
        self._loop.call_later(HITS_S, self._report)

    @property
    def now_s(self) -> float:
        """The loop's present moment (monotonic)."""
        return self._poller.now_s

    def new_id(self) -> int:
        """For a question or a reader."""
        self._next_id += 1
        return self._next_id

    # --- what askers and readers do --------------------------------------------------------------

    def ask(self, asker: Asker) -> None:
        """Ask; `asker` is told once, unless it is given up before."""
        self._askers[asker.ask.id] = asker
        self._send(asker.ask)

    def give_up(self, number: int) -> None:
        """The answer is not waited for any more."""
        if self._askers.pop(number, None) is not None:
            self._send(Leave(number))

    def want(self, reader: Reader, window: Want) -> None:
        """A reader's new window."""
        reader.window = window
        self._readers[window.id] = reader
        self._send(window)

    def adopt(self, reader: Reader, window: Want) -> None:
        """A reader whose first window the fetcher has already."""
        reader.window = window
        self._readers[window.id] = reader

    def leave_stream(self, number: int) -> None:
        """What was begun for this question is of no use."""
        self._send(Leave(number))

    def leave(self, reader: Reader) -> None:
        """A reader wants nothing now."""
        if reader.window is not None:
            self._readers.pop(reader.window.id, None)
            self._send(Leave(reader.window.id))
            reader.window = None

    def wait(self, key: ChunkKey, reader: Reader) -> None:
        """Tell the reader when this chunk grows."""
        self._waiting.setdefault(key, set()).add(reader)

    def stop_waiting(self, key: ChunkKey, reader: Reader) -> None:
        """It need not be told any more."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.discard(reader)
            if not waiting:
                del self._waiting[key]

    def passed(self, reader: Reader, version: str, number: int) -> None:
        """The reader is done with all chunks below `number`; those in no store may go."""
        for key in [key for key, holders in self._loose.items() if reader in holders]:
            if key[0] == version and key[1] < number:
                self._loose[key].discard(reader)
                if not self._loose[key]:
                    del self._loose[key]
                    self.shelf.drop(key)

    def hit(self, key: ChunkKey) -> None:
        """A stored chunk was served; told in batches."""
        if len(self._hits) < 16 * BATCH_MAX:
            self._hits.append(key)

    def lost(self, key: ChunkKey) -> None:
        """A chunk said to be stored could not be opened."""
        self._send(Lost(*key))

    # --- the socket ------------------------------------------------------------------------------

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        folder, name = os.path.split(self._path)
        try:
            place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:  # by descriptor, for a socket's path has at most 107 bytes
                sock.connect(f"/proc/self/fd/{place}/{name}")
            finally:
                os.close(place)
        except OSError:
            sock.close()
            self._loop.call_later(RETRY_S, self._connect)
            return
        self._sock = sock
        self._poller.watch(sock.fileno(), self._on_event)
        for asker in self._askers.values():
            self._send(asker.ask)
        for reader in self._readers.values():
            if reader.window is not None:
                self._send(reader.window)

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._poller.unwatch(sock.fileno())
        sock.close()
        self._queue.clear()
        self.shelf.drop_growing()
        self._loop.call_later(RETRY_S, self._connect)

    def _send(self, message: FromWorker) -> None:
        if self._sock is None:
            return
        raw = pack(message)
        if self._queue or not self._try(raw):
            self._queue.append(raw)
            if len(self._queue) == 1 and self._sock is not None:
                self._poller.change(self._sock.fileno(), READ | WRITE)

    def _try(self, raw: bytes) -> bool:
        if self._sock is None:
            return True
        try:
            self._sock.send(raw)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._loop.call_soon(self._disconnect)
        return True

    def _report(self) -> None:
        hits, self._hits = self._hits, []
        for at in range(0, len(hits), BATCH_MAX):
            self._send(Hits(hits[at : at + BATCH_MAX]))
        self._loop.call_later(HITS_S, self._report)

    def _on_event(self, event: int) -> None:
        try:
            if event & WRITE:
                self._flush()
            if event & ~WRITE:
                self._receive()
        except Exception:
            _log.exception("fault")
            self._disconnect()

    def _flush(self) -> None:
        while self._queue and self._try(self._queue[0]):
            self._queue.popleft()
        if not self._queue and self._sock is not None:
            self._poller.change(self._sock.fileno(), READ)

    def _receive(self) -> None:
        for _ in range(TURN_MAX):
            if self._sock is None:
                return
            try:
                raw, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_BYTES_MAX + 4096, FDS_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                raw, fds = b"", []
            if not raw:
                self._disconnect()
                return
            try:
                self._hear(heard_by_worker(raw), fds)
            except msgspec.DecodeError as exc:
                _log.error("the fetcher says what nobody understands", why=str(exc))

    # --- what the fetcher says -------------------------------------------------------------------

    def _hear(self, message: FromFetcher, fds: list[int]) -> None:
        match message:
            case Grown():
                self._on_grown(message)
            case Begun():
                if fds:
                    self.shelf.begin((message.version, message.number), fds[0], message.bytes)
                    self._wake((message.version, message.number))
            case Done():
                self._on_done(message)
            case Found() | Failed():
                asker = self._askers.pop(message.id, None)
                if asker is not None:
                    asker.on_answer(message)
                elif isinstance(message, Found) and message.begun:
                    self._send(Leave(message.id))
            case Gone():
                reader = self._readers.pop(message.id, None)
                if reader is not None:
                    reader.window = None
                    reader.on_gone(message.status, message.why)
            case Evicted():
                for key in message.chunks:
                    self.shelf.drop(key)
            case Dropped():
                self.on_dropped(message.keys)

    def _on_grown(self, message: Grown) -> None:
        key = (message.version, message.number)
        file = self.shelf.growing(key)
        if file is not None and not file.whole:
            file.grow(message.bytes)
            self._wake(key)

    def _on_done(self, message: Done) -> None:
        """Whole: those who wait read it to its end; unstored, it goes with the last of them."""
        key = (message.version, message.number)
        file = self.shelf.growing(key)
        if file is not None:
            file.grow(message.bytes)
            file.whole, file.last, file.stored = True, message.end, message.stored
        elif message.stored and self.shelf.get(key) is None:
            self._open(key)
            return
        if not message.stored:
            holders = {reader for reader in self._readers.values() if _covers(reader, key)}
            if holders:
                self._loose[key] = holders
        self._wake(key)
        if not message.stored and key not in self._loose:
            self.shelf.drop(key)

    def _open(self, key: ChunkKey) -> None:
        """Have a thread open a stored chunk that somebody wants."""
        task = self._threads.submit(self.shelf.open, key, wait=True)

        def land() -> None:
            try:
                self.shelf.land(key, *task.result())
            except OSError:
                self.lost(key)
            else:
                self._wake(key)

        def tell(_task: Future[tuple[int, int]]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(land)

        task.add_done_callback(tell)

    def _wake(self, key: ChunkKey) -> None:
        for reader in list(self._waiting.pop(key, ())):
            reader.on_progress()


def _covers(reader: Reader, key: ChunkKey) -> bool:
    window = reader.window
    return window is not None and window.version == key[0] and window.low <= key[1] <= window.high
