"""Threads that wait for disks, and can be renewed when a disk hangs with some of them in it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Pool(Executor):
    """An executor that may be swapped under its users."""

    def __init__(self, threads: int, initializer: Callable[[], object] | None = None) -> None:
        """`threads` at most, beside those that hang; each one begins with `initializer`."""
        self._threads, self._initializer = threads, initializer
        self._now = self._fresh()

    def _fresh(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "disk", self._initializer)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run in one of the present threads."""
        return self._now.submit(fn, *args, **kwargs)

    def renew(self) -> None:
        """Fresh threads from now on; the old ones end with what they are at, if that ends."""
        old, self._now = self._now, self._fresh()
        old.shutdown(wait=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more."""
        self._now.shutdown(wait, cancel_futures=cancel_futures)
