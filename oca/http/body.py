"""Drain a request body we do not want, strictly and within bounds (RFC 9112 §6–7).

A file server has no use for a body, but must know where it ends, or the next request would be read
out of it. Bytes are taken as they come; nothing is kept but a position. Pure.
"""

from __future__ import annotations

import re

from oca.http.errors import RequestError

BODY_BYTES_MAX = 64 * 1024  # enough to be polite to a stray POST; more is refused with 413
CHUNK_LINE_BYTES_MAX = 1024
TRAILER_BYTES_MAX = 4 * 1024
FRAMED_BYTES_MAX = 2 * BODY_BYTES_MAX  # chunk sizes and extensions count as well

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")
# what may become such a line, and the CRLF, with more bytes
_SIZE_BEGUN = re.compile(rb"([0-9A-Fa-f]{1,16}(?:[\t ]*|[\t ]*;[\t -~\x80-\xff]*)\r?)?")
_END_BEGUN = re.compile(rb"\r?")
_TRAILER_BEGUN = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[\t -~\x80-\xff]*\r?)?|\r)?")


class Sized:
    """A body of Content-Length bytes."""

    def __init__(self, length: int) -> None:
        """Raises RequestError 413 when `length` (bytes) is more than we drain."""
        if length > BODY_BYTES_MAX:
            raise RequestError(413, "request body too large")
        self._left = length

    def feed(self, data: bytes) -> int | None:
        """Take from `data`; the number of bytes that were the body's last, None when not all."""
        if len(data) >= self._left:
            return self._left
        self._left -= len(data)
        return None


class Chunked:
    """A chunked body, with its trailer section."""

    def __init__(self) -> None:
        """Begin before the first chunk-size line."""
        self._state = self._size
        self._line = b""
        self._left = 0
        self._body = self._framed = self._trailer = 0

    def feed(self, data: bytes) -> int | None:
        """Take from `data`; how many bytes of it ended the body, None when it goes on.

        Raises RequestError: 400 for bad framing, 413 for too much of it.
        """
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            cut = data.find(b"\n", at)
            self._line += data[at : cut + 1] if cut >= 0 else data[at:]
            if len(self._line) > CHUNK_LINE_BYTES_MAX:
                raise RequestError(413, "chunk line too long")
            if cut < 0:
                if not self._begun().fullmatch(self._line):
                    raise RequestError(400, "bad chunk")
                return None
            at = cut + 1
            if self._end_of_line():
                return at
        return None

    def _begun(self) -> re.Pattern[bytes]:
        """What an unfinished line may be: what cannot become right is refused at once."""
        if self._state == self._size:
            return _SIZE_BEGUN
        return _END_BEGUN if self._state == self._after else _TRAILER_BEGUN

    def _end_of_line(self) -> bool:
        line, self._line = self._line, b""
        self._framed += len(line)
        if not line.endswith(b"\r\n"):
            raise RequestError(400, "bare LF in chunked body")
        if self._framed + self._body > FRAMED_BYTES_MAX:
            raise RequestError(413, "too much framing")
        return self._state(line[:-2])

    def _size(self, line: bytes) -> bool:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise RequestError(400, "bad chunk size")
        size = int(match.group(1), 16)
        self._body += size
        if self._body > BODY_BYTES_MAX:
            raise RequestError(413, "request body too large")
        self._left = size
        self._state = self._after if size else self._trailers
        return False

    def _after(self, line: bytes) -> bool:
        if line:
            raise RequestError(400, "chunk longer than its size")
        self._state = self._size
        return False

    def _trailers(self, line: bytes) -> bool:
        if not line:
            return True
        self._trailer += len(line)
        if self._trailer > TRAILER_BYTES_MAX:
            raise RequestError(431, "trailers too large")
        if not _TRAILER.fullmatch(line):
            raise RequestError(400, "bad trailer")
        return False
