"""Append to a file past the page cache: what is filled must neither push out what viewers ask for
nor hold a core in the kernel.

A buffered write of a megabyte allocates and copies 256 pages in one go, and their write-back comes
in bursts; who wakes up on that core meanwhile waits (milliseconds, measured on a virtual machine).
Here bytes are copied into a buffer that stays, by a thread that can be interrupted, and the disk
takes them from there. An adapter; where the file system refuses O_DIRECT it writes as ever.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections import deque
from contextlib import suppress

BLOCK_BYTES = 4096
"""Offsets, lengths and memory are multiples of it: no disk wants more (open(2), O_DIRECT)."""
BUFFER_BYTES = 1024 * 1024
"""One write: a disk's stripe, and a millisecond or two of its time."""
SPARE_MAX = 32
"""Buffers kept for the next files; fresh memory costs more than the copy into it."""

_spare: deque[mmap.mmap] = deque(maxlen=SPARE_MAX)


class DirectFile:
    """`fd` grows from `at`; what does not fill a block yet is in memory until `finish`.

    All calls but `release` raise OSError. One thread at a time.
    """

    def __init__(self, fd: int, at: int, *, direct: bool = True) -> None:
        """What stands in the block before `at` is read; not `direct`: everything at once."""
        self._fd = fd
        self._base = at - at % BLOCK_BYTES
        self._filled = at - self._base
        try:
            self._memory = _spare.pop()
        except IndexError:
            self._memory = mmap.mmap(-1, BUFFER_BYTES)
        self._view = memoryview(self._memory)
        self._view[: self._filled] = os.pread(fd, self._filled, self._base)
        self._direct = direct and self._set_direct(True)

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        view = memoryview(data)
        while view:
            piece = view[: BUFFER_BYTES - self._filled]
            self._view[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == BUFFER_BYTES:
                self._flush(BUFFER_BYTES)

    def back(self, at: int) -> None:
        """Go on from `at`, which is behind: a multiple of the block, or in the present one."""
        if at >= self._base:
            self._filled = at - self._base
        else:
            self._base, self._filled = at, 0

    def settle(self) -> None:
        """Whole blocks go to the disk; less than one stays in memory."""
        whole = self._filled if not self._direct else self._filled - self._filled % BLOCK_BYTES
        if whole:
            self._flush(whole)

    def finish(self) -> None:
        """All goes to the file, which is an ordinary one from now on; nothing is synced."""
        self.settle()
        if self._filled:
            self._set_direct(False)
            self._direct = False
            self._flush(self._filled)

    def release(self) -> None:
        """The memory is the next file's; no call after it."""
        self._view.release()
        _spare.append(self._memory)

    def _flush(self, count: int) -> None:
        """Write the first `count` bytes of the buffer; what is left moves to its front."""
        done = 0
        while done < count:
            try:
                done += os.pwrite(self._fd, self._view[done:count], self._base + done)
            except OSError as exc:
                if exc.errno != errno.EINVAL or not self._direct:
                    raise
                self._set_direct(False)  # it takes direct writes of another kind only
                self._direct = False
            if self._direct and done % BLOCK_BYTES:
                done -= done % BLOCK_BYTES  # a short write: the rest of its block once more
        left = self._filled - count
        self._view[:left] = self._view[count : self._filled]
        self._base, self._filled = self._base + count, left

    def _set_direct(self, wanted: bool) -> bool:
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
        with suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags)
            return True
        return False
