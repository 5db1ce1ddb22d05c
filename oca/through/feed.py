"""The body of one answer, chunk after chunk, as it is there: opened, growing, or waited for.

An adapter, for it hands out open files. It never has bytes in memory, and wants only a window ahead
of its client, so that a slow one costs a descriptor and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oca.outflow import Part
from oca.service import FeedError
from oca.through.channel import Channel
from oca.through.chunks import CHUNK_BYTES, chunk_at, count_of, start_of_chunk
from oca.through.messages import View, Want
from oca.through.shelf import ChunkFile
from oca.through.versions import HUGE

_NO_LIMIT = 2**62


class Feed:
    """What is left to send of one answer."""

    def __init__(
        self,
        channel: Channel,
        view: View,
        pieces: tuple[bytes | tuple[int, int], ...],
        ahead: int,
        *,
        chunked: bool = False,
    ) -> None:
        """`pieces` are those of a plan, spans being of the object; `chunked` frames them."""
        self._channel, self._version, self._ahead = channel, view.version, ahead
        self._pieces = list(pieces)
        self._open_end = view.size is None
        self._whole = view.whole
        self._chunked = chunked
        if self._open_end and self._pieces:
            self._pieces = [(0, _NO_LIMIT)]
        spans = [piece for piece in self._pieces if isinstance(piece, tuple)]
        end = max((offset + length for offset, length in spans), default=0)
        self._last = HUGE - 1 if self._open_end else count_of(end) - 1
        self.window: Want | None = None
        self._id = 0
        self._fault: FeedError | None = None
        self._counted = -1
        self._file: ChunkFile | None = None
        self._waits_for = -1
        self.on_ready: Callable[[], None] = lambda: None

    def begin(self, window: Want) -> None:
        """The fetcher knows already that these chunks are wanted."""
        self._id = window.id
        self._channel.adopt(self, window)

    # --- what the connection does ----------------------------------------------------------------

    def take(self) -> tuple[list[Part], ChunkFile | None] | None:
        """The next parts and the file of their spans; no parts: the end; None: `on_ready` is called
        when there is more. Raises FeedError."""
        parts: list[Part] = []
        while True:
            while self._pieces and isinstance(self._pieces[0], bytes):
                parts.append(self._pieces.pop(0))
            if not self._pieces:
                return parts, None
            file = self._reach()
            if file is None:
                return (parts, None) if parts else None
            before = len(parts)
            self._send_of(file, parts)
            if len(parts) > before:
                return parts, file

    def is_ready(self) -> bool:
        """Whether something can be taken now; else `on_ready` is called later. Raises FeedError."""
        return not self._pieces or isinstance(self._pieces[0], bytes) or self._reach() is not None

    def is_held(self) -> bool:
        """Whether all of it is there, as far as one can see without opening it."""
        shelf, version = self._channel.shelf, self._version
        return not self._open_end and all(
            shelf.holds((version, number), end - start_of_chunk(number), self._whole)
            for piece in self._pieces
            if isinstance(piece, tuple)
            for number, end in _chunks_of(*piece)
        )

    def close(self) -> None:
        """The answer is over, or its client gone."""
        self._pieces.clear()
        self.on_ready = _nothing
        self._stop_waiting()
        self._channel.leave(self)
        self._channel.passed(self, self._version, HUGE)
        if self._file is not None:
            self._file.release()
            self._file = None

    # --- what the channel tells ------------------------------------------------------------------

    def on_progress(self) -> None:
        """The chunk that it waits for has grown."""
        self._waits_for = -1
        self.on_ready()

    def on_gone(self, status: int, why: str) -> None:
        """What it wants cannot be had."""
        self._fault = FeedError(status, why)
        if self._waits_for >= 0:
            self._stop_waiting()
            self.on_ready()

    # --- chunks ----------------------------------------------------------------------------------

    @property
    def _position(self) -> int:
        piece = self._pieces[0]
        return piece[0] if isinstance(piece, tuple) else 0

    def _reach(self) -> ChunkFile | None:
        """The file in which the next byte is; None when it is waited for."""
        position = self._position
        number = chunk_at(position)
        key = (self._version, number)
        file = self._channel.shelf.get(key)
        if file is None and number == self._counted:
            file = self._file  # evicted while it is being read
        if file is not None:
            there = file.bytes > position - start_of_chunk(number)
            if there or (file.whole and file.last):
                self._moved(number, file)
                return file
            if file.whole:
                raise FeedError(502, "a chunk is too short")
        if self._fault is not None:
            raise self._fault
        self._want(number)
        self._waits_for = number
        self._channel.wait(key, self)
        return None

    def _send_of(self, file: ChunkFile, parts: list[Part]) -> None:
        """Append what can be sent of this file."""
        piece = self._pieces[0]
        if not isinstance(piece, tuple):
            raise RuntimeError("no span")
        offset, left = piece
        at = offset % CHUNK_BYTES
        count = min(file.bytes - at, left)
        if count > 0:
            if self._chunked:
                parts += [b"%x\r\n" % count, (at, count), b"\r\n"]
            else:
                parts.append((at, count))
        left -= count
        if left and not (self._open_end and file.last and file.whole):
            self._pieces[0] = (offset + count, left)
            return
        del self._pieces[0]
        if self._chunked:
            self._pieces.append(b"0\r\n\r\n")

    def _moved(self, number: int, file: ChunkFile) -> None:
        """Reading goes on at this chunk: count a hit, and move what is wanted."""
        if file is not self._file:
            file.hold()
            if self._file is not None:
                self._file.release()
            self._file = file
        if number != self._counted:
            self._counted = number
            self._channel.passed(self, self._version, number)
            if self.window is None:
                if file.stored:
                    self._channel.hit((self._version, number))
            elif number > self.window.high:
                self._channel.leave(self)
            elif number - self.window.low >= self._ahead // 2 and self.window.high < self._last:
                self._want(number, moving=True)

    def _want(self, number: int, *, moving: bool = False) -> None:
        window = self.window
        if not moving and window is not None and window.low <= number <= window.high:
            return
        if not self._id:
            self._id = self._channel.new_id()
        high = min(number + self._ahead - 1, self._last)
        self._channel.want(self, Want(self._id, self._version, number, high, self._last))

    def _stop_waiting(self) -> None:
        if self._waits_for >= 0:
            self._channel.stop_waiting((self._version, self._waits_for), self)
            self._waits_for = -1


def _chunks_of(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """(chunk, where the span ends in the object, at most at the chunk's end)."""
    end = offset + length
    for number in range(chunk_at(offset), chunk_at(end - 1) + 1):
        yield number, min(end, start_of_chunk(number + 1))


def _nothing() -> None:
    """Nobody listens any more."""
