"""Give way to viewers at the disk: another I/O class for a thread that works for itself."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}  # ioprio_set(2) has no wrapper in libc
_WHO_PROCESS = 1
_HEED = frozenset({"bfq", "mq-deadline"})  # mq-deadline since Linux 5.14
IDLE, LOW = 3 << 13, (2 << 13) | 7
"""Only when nobody else wants the disk; last among those who want it."""


def give_way(to: int) -> str:
    """Put the calling thread behind others, by IDLE or LOW; "" or why it could not be."""
    number = _SET.get(platform.machine())
    if number is None:
        return f"not known how on {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _WHO_PROCESS, 0, to):
        return os.strerror(ctypes.get_errno())
    return ""


def scheduler(path: Path) -> str:
    """The I/O scheduler of the block device under `path`; "" when there is none to be seen."""
    try:
        device = path.stat().st_dev
        place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
        queues = [place / "queue" / "scheduler", place.parent / "queue" / "scheduler"]
        text = next(queue.read_text() for queue in queues if queue.exists())
    except (OSError, StopIteration):
        return ""
    return text.partition("[")[2].partition("]")[0]


def heeds(name: str) -> bool:
    """Whether a scheduler knows the idle class at all; else only our own rate is a limit."""
    return name in _HEED
