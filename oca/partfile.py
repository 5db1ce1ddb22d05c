"""A file on its way in: appended to, checked while it grows, and given its name when it is whole.

xxh3-128 over each chunk finds wrong bytes early, so that only the chunk is fetched again; SHA-256
over the whole is what fill trusts. Past the page cache, so that the last block (4 KiB) of a file
that is cut off is fetched again. All calls block. They may come from several threads, one call
after another; `close` ends the last one, also one that nobody waits for any more.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import xxhash

from oca.directfile import DirectFile
from wire.catalogue import CHUNK_BYTES, File
from wire.errors import OcaError

READ_BYTES = 1024 * 1024
DISK_FAULTS = frozenset(
    {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EUCLEAN}
    | {errno.EBADMSG, errno.EREMOTEIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT}
)
"""The disk is at fault, not what is asked of it (errno(3); ext4 and XFS: EUCLEAN, EBADMSG)."""


_KINDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "readonly",
    errno.ENODEV: "gone",
    errno.ENXIO: "gone",
    errno.ENOMEDIUM: "gone",
    errno.ENOTCONN: "gone",
}


class StoreError(OcaError):
    """A disk refused. `errno` is the system's number: ENOSPC (full), EIO (broken), …"""

    def __init__(self, detail: str, number: int, path: Path | None = None) -> None:
        """`detail` names the path; `number` is an errno; `path` leads to the disk."""
        self.errno, self.path = number, path
        super().__init__(detail)

    @property
    def is_disk(self) -> bool:
        """Whether the disk itself is at fault, and not that it is full."""
        return self.errno in DISK_FAULTS

    @property
    def kind(self) -> str:
        """In a word, for metrics: full, io, readonly, gone or other."""
        return _KINDS.get(self.errno, "io" if self.is_disk else "other")


class WrongBytes(OcaError):
    """What came is not what the catalogue says; what is wrong has been cut off again."""


@contextmanager
def blame(path: Path) -> Iterator[None]:
    """Raises StoreError naming `path` where an OSError comes out."""
    try:
        yield
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror or exc}", exc.errno or 0, path) from exc


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


class PartFile:
    """`path` grows; `seal` renames it to `final`. `offset` is what is there and believed so far."""

    def __init__(self, path: Path, final: Path, file: File) -> None:
        """Nothing is opened yet: `resume` does that."""
        self.path, self.final, self.file = path, final, file
        self._fd = -1
        self._out: DirectFile | None = None
        self._closed = False
        self._lock = threading.Lock()  # held while a call is at work, on the disk perhaps
        self._guard = threading.Lock()  # of _closed and _busy; never held for long
        self._busy = False
        self._reset()

    def resume(self) -> int:
        """Open the file, check again what an earlier life left, and return where to go on.

        Raises StoreError.
        """
        with self._held(), blame(self.path):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._reset()
            try:
                while data := os.pread(self._fd, READ_BYTES, self.offset):
                    self._check_room_for(data)
                    self._digest(data)
            except WrongBytes:
                pass
            os.ftruncate(self._fd, self.offset)
            self._out = DirectFile(self._fd, self.offset)
        return self.offset

    def write(self, pieces: Iterable[bytes]) -> None:
        """Append; raises WrongBytes (and falls back to the last good chunk) or StoreError."""
        with self._held():
            out = self._opened()
            for data in pieces:
                self._check_room_for(data)
                with blame(self.path):
                    out.write(data)
                self._digest(data)
            with blame(self.path):
                out.settle()

    def restart(self) -> None:
        """Forget all that came; raises StoreError."""
        with self._held():
            self._restart()

    def seal(self) -> None:
        """Verify size and SHA-256, sync, give the file its name.

        Raises WrongBytes (and begins again from nothing) or StoreError.
        """
        with self._held():
            out = self._opened()
            if self.offset != self.file.bytes or self._sha.hexdigest() != self.file.sha256:
                self._restart()
                raise WrongBytes(f"{self.file.name}: SHA-256 is not the catalogue's")
            with blame(self.path):
                out.finish()
                os.ftruncate(self._fd, self.offset)
                self._sync()
                self.path.rename(self.final)

    def _sync(self) -> None:
        """Raises OSError, and then nothing that was written may be believed: the kernel reports
        a failed write-back once and forgets it, so a second fsync would succeed (fsync(2))."""
        try:
            os.fsync(self._fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._reset()
            raise

    def close(self) -> None:
        """Let go of the descriptor; what was written stays for the next `resume`. Never waits: when
        a call is at work, on a disk that hangs perhaps, that one lets go when it ends."""
        with self._guard:
            self._closed = True
            if not self._busy:
                self._let_go()

    def _let_go(self) -> None:
        if self._out is not None:
            self._out.release()
            self._out = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One call at a time, and none after `close`: its descriptor may be another file's."""
        with self._lock:
            with self._guard:
                if self._closed:
                    raise StoreError(f"{self.path}: closed", errno.EBADF)
                self._busy = True
            try:
                yield
            finally:
                with self._guard:
                    self._busy = False
                    if self._closed:
                        self._let_go()

    def _opened(self) -> DirectFile:
        if self._out is None:
            raise StoreError(f"{self.path}: not open", errno.EBADF)
        return self._out

    def _restart(self) -> None:
        self._reset()
        with blame(self.path):
            os.ftruncate(self._fd, 0)

    def _reset(self) -> None:
        self.offset = self._good_offset = 0
        if self._out is not None:
            self._out.back(0)
        self._sha = hashlib.sha256()
        self._good_sha = self._sha.copy()
        self._chunk: _Hash = xxhash.xxh3_128()

    def _check_room_for(self, data: bytes) -> None:
        if self.offset + len(data) > self.file.bytes:
            self._fall_back()
            raise WrongBytes(f"{self.file.name}: more bytes than the catalogue says")

    def _digest(self, data: bytes) -> None:
        """Take `data` at `offset` into the hashes; raises WrongBytes at a chunk that is wrong."""
        view = memoryview(data)
        while view:
            piece = view[: CHUNK_BYTES - self.offset % CHUNK_BYTES]
            self._sha.update(piece)
            self._chunk.update(piece)
            self.offset += len(piece)
            view = view[len(piece) :]
            if self.offset % CHUNK_BYTES == 0 or self.offset == self.file.bytes:
                self._end_chunk()

    def _end_chunk(self) -> None:
        number = (self.offset - 1) // CHUNK_BYTES
        chunks = self.file.chunks
        if number < len(chunks) and self._chunk.hexdigest() != chunks[number]:
            self._fall_back()
            raise WrongBytes(f"{self.file.name}: chunk {number} is not the catalogue's")
        self._good_offset, self._good_sha = self.offset, self._sha.copy()
        self._chunk = xxhash.xxh3_128()

    def _fall_back(self) -> None:
        """Back to the end of the last good chunk. The tail is overwritten, or cut on resume."""
        self.offset, self._sha = self._good_offset, self._good_sha.copy()
        self._chunk = xxhash.xxh3_128()
        if self._out is not None:
            self._out.back(self.offset)
